from collections.abc import Iterator

import pytest

from cli.local.broker import Broker
from tests.services.gateway.harness import running_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests, each with topics of its own."""
    with running_broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker
