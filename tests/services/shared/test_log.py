import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cli.kafka import Brokers
from cli.local.broker import Broker
from cli.topics import bring
from schemas.topics import Topic
from services.shared.answers import Refusal, Refused
from services.shared.log import Log
from tests.services.gateway.harness import read_topic

HEADERS = {"org": b"local"}


def run(broker: Broker, topic: str, use: Callable[[Log], Awaitable[None]], **settings: int) -> None:
    """Open a log on `topic`, use it, close it."""

    async def steps() -> None:
        log = Log(broker.address, topic, settings.get("most_bytes", 2**20), 2**20, 5)
        try:
            await use(log)
        finally:
            await log.close(5)

    asyncio.run(steps())


async def up(log: Log) -> None:
    async with asyncio.timeout(30):
        while not log.up:
            await asyncio.sleep(0.01)


def test_all_records_of_one_append_are_confirmed_with_their_headers(broker: Broker) -> None:
    bring(Brokers(broker.address), Topic("log.append", 2))

    async def use(log: Log) -> None:
        await up(log)
        await log.append([(b"good", HEADERS), (b"bad", {**HEADERS, "bad": b"why"})])

    run(broker, "log.append", use)
    found = {record.body: record.headers for record in read_topic(broker.address, "log.append")}
    assert found == {b"good": {"org": "local"}, b"bad": {"org": "local", "bad": "why"}}


def test_a_record_larger_than_the_topic_takes_is_too_large(broker: Broker) -> None:
    bring(Brokers(broker.address), Topic("log.large", 1))

    async def use(log: Log) -> None:
        await up(log)
        incompressible = bytes(x * x % 251 for x in range(2 * 2**20))
        with pytest.raises(Refused) as caught:
            await log.append([(incompressible, HEADERS)])
        assert caught.value.refusal is Refusal.TOO_LARGE

    run(broker, "log.large", use)


def test_a_producer_that_failed_for_good_is_replaced(broker: Broker) -> None:
    bring(Brokers(broker.address), Topic("log.fatal", 1))

    async def use(log: Log) -> None:
        await up(log)
        await log.append([(b"before", HEADERS)])
        broken = log._producer
        log._fatal = True
        async with asyncio.timeout(30):
            while log._producer is broken:
                await asyncio.sleep(0.01)
        await log.append([(b"after", HEADERS)])

    run(broker, "log.fatal", use)
    assert [record.body for record in read_topic(broker.address, "log.fatal")] == [b"before", b"after"]


def test_the_log_is_down_until_its_topic_is_there(broker: Broker) -> None:
    async def use(log: Log) -> None:
        with pytest.raises(Refused) as caught:
            await log.append([(b"x", HEADERS)])
        assert caught.value.refusal is Refusal.UNAVAILABLE
        await asyncio.to_thread(bring, Brokers(broker.address), Topic("log.absent", 1))
        await up(log)
        await log.append([(b"x", HEADERS)])

    run(broker, "log.absent", use)
