import socket

import pytest

from pipelines import ports


def test_no_port_is_given_twice_nor_while_somebody_listens_on_it(monkeypatch):
    monkeypatch.setattr(ports, "_RANGE", range(14_000, 14_004))
    monkeypatch.setattr(ports, "_given", set())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.free_port()))
        taken.listen()
        monkeypatch.setattr(ports, "_given", set())
        given = {ports.free_port() for _ in range(3)}
        assert given == {14_000, 14_001, 14_002, 14_003} - {taken.getsockname()[1]}
        with pytest.raises(OSError, match="no port of 14000 to 14003"):
            ports.free_port()
