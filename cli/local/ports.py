"""Ports on loopback."""

import json
import socket
from pathlib import Path

from cli.exits import Exit, Failure
from pipelines.ports import free_port


class KeptPorts:
    """Ports of a data folder, the same at every start: a job that goes on has them in its settings."""

    def __init__(self, data: Path) -> None:
        self._file = data / "ports.json"
        self._ports: dict[str, int] = json.loads(self._file.read_text()) if self._file.exists() else {}

    def get(self, name: str, asked: int = 0) -> int:
        """`asked`, else the port that `name` had before, else a free one, which it has from now on."""
        port = asked or self._ports.get(name) or free_port()
        self._ports[name] = port
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(self._ports, indent=1))
        part.replace(self._file)
        return port


def is_free(host: str, port: int) -> bool:
    """Whether one could listen on `port` now."""
    try:
        require_free(host, port, "", "")
    except Failure:
        return False
    return True


def require_free(host: str, port: int, what: str, option: str) -> None:
    """Raises Failure when somebody listens on `port` already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(
                f"{what} cannot listen on {host}:{port}: {error.strerror}",
                f"stop what listens there, or choose another port with {option}",
                Exit.REFUSED,
            ) from error
