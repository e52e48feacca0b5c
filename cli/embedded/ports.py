"""Ports on loopback."""

import socket

from cli.exits import Exit, Failure


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
