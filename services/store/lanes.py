"""How many statements run at once, and how many may wait."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.store.protocol import StoreError


@dataclass(frozen=True)
class Lanes:
    """How many statements run at once, apart for INSERTs so that neither kind starves the other, and may wait."""

    inserts: int = 2
    others: int = 4
    waiting: int = 64


class Lane:
    """Lets so many in at once, lets so many more wait, and turns the rest away."""

    def __init__(self, width: int, waiting: int) -> None:
        self._running = asyncio.Semaphore(width)
        self._most = width + waiting
        self._present = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Raises StoreError (202) when too many wait already."""
        if self._present >= self._most:
            raise StoreError(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"{self._present} statements run or wait")
        self._present += 1
        try:
            async with self._running:
                yield
        finally:
            self._present -= 1
