"""`python -m services.store`: the embedded store, one process on one data folder."""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import uvicorn

from services.store.engine import Engine, FolderUnusable, Memory
from services.store.server import Lanes, Store

PASSWORD = "SPANMILL_STORE_PASSWORD"


class _Server(uvicorn.Server):
    """Stops on SIGTERM and SIGINT after the running requests, and then exits with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.store", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the data")
    parser.add_argument("--host", default="127.0.0.1", help=f"beyond loopback, {PASSWORD} must be set")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one")
    parser.add_argument("--memory-mb", type=int, default=2048, help="most the engine may take")
    return parser.parse_args(argv)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def main(argv: list[str]) -> int:
    """Runs until SIGTERM. Returns 0, or 2 with a line on stderr for what it cannot start with."""
    arguments = _arguments(argv)
    password = os.environ.pop(PASSWORD, "")
    if not password and not is_loopback(arguments.host):
        print(f"store: refusing to listen on {arguments.host} without {PASSWORD}", file=sys.stderr)
        return 2
    try:
        address = socket.create_server((arguments.host, arguments.port))
        # Inherited by what it accepts: an answer in two writes must not wait for the client's delayed ACK.
        address.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        engine = Engine(arguments.data, Memory(arguments.memory_mb * 2**20))
    except (FolderUnusable, OSError) as error:
        print(f"store: {error}", file=sys.stderr)
        return 2
    asyncio.run(_serve(Store(engine, password, Lanes()), address, arguments.host))
    return 0


async def _serve(store: Store, address: socket.socket, host: str) -> None:
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s", level=logging.INFO)
    # uvicorn says nothing that an operator of the store could use, and logs every broken-off answer as a crash.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        store, lifespan="off", log_config=None, access_log=False, server_header=False, timeout_keep_alive=75
    )
    print(f"ready http={host}:{address.getsockname()[1]}", flush=True)
    await _Server(config).serve(sockets=[address])
    await store.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
