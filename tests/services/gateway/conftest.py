"""Real gateways; every gateway has a topic and a control database of its own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.local.broker import Broker
from tests.services.gateway.harness import Gateway, make_gateway


@pytest.fixture
def start(tmp_path: Path, broker: Broker) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway with the given settings; it ends with the test."""
    running: list[Gateway] = []

    def start_gateway(on: Broker = broker, **overrides: object) -> Gateway:
        gateway = make_gateway(tmp_path, on, **overrides)
        running.append(gateway)
        gateway.start()
        return gateway

    try:
        yield start_gateway
    finally:
        for gateway in running:
            gateway.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Gateway]:
    """One gateway with default settings for the tests of a module that leave it as it is."""
    shared = make_gateway(tmp_path_factory.mktemp("gateway"), broker)
    try:
        shared.start()
        yield shared
    finally:
        shared.close()
