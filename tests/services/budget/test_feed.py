"""Events to those who watch: each once, in order, and from where they were left."""

import asyncio
import json

import pytest

from services.budget.feed import EventFeed
from services.shared.answers import Refused


def body(name: str, org: str = "acme") -> bytes:
    return json.dumps({"event_id": name, "org": org, "kind": "threshold", "time": "1"}).encode()


async def some(feed: EventFeed, after: str, count: int) -> list[str]:
    found = []
    async for event in feed.watch("acme", after):
        found.append(event.event_id)
        if len(found) == count:
            break
    return found


def test_a_watcher_gets_what_comes_of_its_own_organisation_and_each_once():
    async def play():
        feed = EventFeed(10)
        feed.tell([body("before")])
        watching = asyncio.create_task(some(feed, "", 2))
        await asyncio.sleep(0)
        feed.tell([body("a"), body("x", "other"), body("a"), body("b")])
        assert await watching == ["a", "b"]

    asyncio.run(play())


def test_a_watcher_goes_on_after_the_last_event_that_it_has():
    async def play():
        feed = EventFeed(10)
        feed.tell([body("a"), body("b"), body("c")])
        assert await some(feed, "a", 2) == ["b", "c"]
        assert await some(feed, "forgotten", 3) == ["a", "b", "c"]

    asyncio.run(play())


def test_a_watcher_that_is_too_slow_is_cut_off_rather_than_kept_in_memory():
    async def play():
        feed = EventFeed(10)
        watching = feed.watch("acme", "")
        first = asyncio.ensure_future(anext(watching))
        await asyncio.sleep(0)
        feed.tell([body(f"e{n}") for n in range(2_000)])
        assert (await first).event_id == "e0"
        with pytest.raises(Refused):
            async for _ in watching:
                pass

    asyncio.run(play())


def test_watchers_beyond_the_limit_are_refused():
    async def play():
        feed = EventFeed(1)
        watching = asyncio.ensure_future(some(feed, "", 1))
        await asyncio.sleep(0)
        with pytest.raises(Refused):
            await anext(feed.watch("acme", ""))
        feed.tell([body("a")])
        assert await watching == ["a"]

    asyncio.run(play())
