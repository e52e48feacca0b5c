from collections.abc import Iterator

import pytest

from cli.local.broker import Broker
from tests.services.gateway.harness import new_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests, each with topics of its own."""
    broker = new_broker(tmp_path_factory.mktemp("broker"))
    try:
        broker.start()
        broker.wait_ready(60)
        yield broker
    finally:
        broker.kill()
