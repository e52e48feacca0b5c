import asyncio

import pytest

from services.store.lanes import Lane
from services.store.protocol import StoreError


def test_statements_wait_their_turn_and_too_many_are_turned_away():
    async def scenario() -> None:
        lane, leave, running = Lane(width=2, waiting=1), asyncio.Event(), 0

        async def statement() -> None:
            nonlocal running
            async with lane.turn():
                running += 1
                await leave.wait()
                running -= 1

        tasks = [asyncio.create_task(statement()) for _ in range(3)]
        await asyncio.sleep(0)
        assert running == 2
        with pytest.raises(StoreError) as refusal:
            async with lane.turn():
                pass
        assert refusal.value.code == 202
        leave.set()
        await asyncio.gather(*tasks)
        async with lane.turn():
            assert running == 0

    asyncio.run(scenario())
