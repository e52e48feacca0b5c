"""Free ports on loopback."""

import random
import socket

# Below the range that Linux takes the ports of outgoing connections from: those come and go at any moment.
_RANGE = range(15_000, 32_768)
_given: set[int] = set()


def free_port() -> int:
    """A port that nobody listens on now, and that this process was not given before.

    Raises OSError when there is none.
    """
    for port in random.sample(_RANGE, len(_RANGE)):
        if port not in _given and _can_listen(port):
            _given.add(port)
            return port
    raise OSError(f"no port of {_RANGE.start} to {_RANGE.stop - 1} is free on 127.0.0.1")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
