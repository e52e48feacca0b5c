"""What processes that serve HTTP and gRPC on one event loop have in common."""

import contextlib
import resource
import socket
from collections.abc import Iterator

import uvicorn
from prometheus_client import CollectorRegistry, start_http_server

from services.shared.addresses import CannotListen, netloc

_BACKLOG = 1024


class Server(uvicorn.Server):
    """uvicorn without its signal handlers, which would end the process before gRPC and the log are done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(f"cannot listen on {netloc(host, port)}: {error.strerror}") from error


def serve_metrics(registry: CollectorRegistry, host: str, port: int | None) -> None:
    """A listener of its own for `registry`, for a scraper elsewhere, whom the network alone tells from tenants;
    none where `port` is None. It lives as long as the process. Raises CannotListen."""
    if port is None:
        return
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        raise CannotListen(f"cannot listen on {netloc(host, port)}: {error.strerror}") from error


def raise_file_limit() -> None:
    """Every connection is a file; the usual soft limit of 1,024 is below our own bounds."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
