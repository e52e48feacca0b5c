"""Real brokers."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local.broker import Broker
from tests.services.gateway.harness import new_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests; one that stops it takes `own_broker`."""
    broker = new_broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        broker.wait_ready(180)
        yield broker
    finally:
        broker.kill()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may stop, pause and kill."""
    broker = new_broker(tmp_path)
    try:
        broker.start()
        broker.wait_ready(180)
        yield broker
    finally:
        if broker.alive:
            os.kill(broker.pid, signal.SIGCONT)
        broker.kill()
