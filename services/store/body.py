"""The body of a request, inflated as it comes."""

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

from services.store.encoding import inflater
from services.store.protocol import StoreError
from services.store.statements import Insert, NotAnInsert, Unfinished, split_insert

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_HEAD_BYTES = 2**20  # within which the statement of an INSERT has to end
_STATEMENT_BYTES = 16 * 2**20  # of any other statement


class ClientGone(Exception):
    """The client closed the connection before the request was whole."""


class Body:
    """Plain bytes of the statement and its data: what the URL said, a line end, then the body of the request."""

    def __init__(self, receive: Receive, encoding: str, query: str) -> None:
        self._parts = self._read(receive, encoding, query.encode())
        self.head = b""  # read, not yet taken
        self.complete = False

    async def _read(self, receive: Receive, encoding: str, query: bytes) -> AsyncIterator[bytes]:
        inflate = inflater(encoding)
        if query:
            yield query.rstrip() + b"\n"
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            for part in inflate.feed(message.get("body", b"")):
                yield part
            more = message.get("more_body", False)
        inflate.finish()

    async def _more(self) -> None:
        """Takes the next part to the head."""
        try:
            self.head += await anext(self._parts)
        except StopAsyncIteration:
            self.complete = True

    async def insert(self) -> Insert | None:
        """The INSERT with rows that the body begins with; None for any other statement.

        Raises StoreError: 62 for an INSERT that does not end in its first MiB, 271 for a broken encoding.
        """
        while True:
            try:
                found = split_insert(self.head, self.complete)
            except NotAnInsert:
                return None
            except Unfinished:
                if len(self.head) > _HEAD_BYTES:
                    message = f"no VALUES or FORMAT in the first {_HEAD_BYTES} bytes of the INSERT"
                    raise StoreError(62, "SYNTAX_ERROR", message) from None
                await self._more()
            except UnicodeDecodeError as error:
                raise StoreError(36, "BAD_ARGUMENTS", "the statement is not UTF-8") from error
            else:
                self.head = self.head[found.data_start :]
                return found

    async def statement(self) -> bytes:
        """All of it, when it is no INSERT with rows. Raises StoreError (229) above the limit."""
        while not self.complete:
            if len(self.head) > _STATEMENT_BYTES:
                raise StoreError(229, "QUERY_IS_TOO_LARGE", f"the statement is larger than {_STATEMENT_BYTES} bytes")
            await self._more()
        return self.head

    async def rows(self, step_bytes: int) -> AsyncIterator[bytes]:
        """The data after an INSERT, in pieces of about `step_bytes`."""
        while not self.complete:
            await self._more()
            if len(self.head) >= step_bytes:
                yield self.head
                self.head = b""
        if self.head:
            yield self.head
            self.head = b""
