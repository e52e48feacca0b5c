"""Real brokers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local.broker import Broker
from tests.services.gateway.harness import running_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests; one that stops it takes `own_broker`."""
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that the test may stop, pause and kill."""
    with running_broker(tmp_path) as broker:
        yield broker
