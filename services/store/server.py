"""The store's front: ClickHouse's HTTP protocol as an ASGI application over the engine."""

import asyncio
import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST

from services.store.body import Body, ClientGone, Receive
from services.store.encoding import Deflate, deflater
from services.store.engine import Answer, Connection, Engine, Stream
from services.store.lanes import Lane, Lanes
from services.store.metrics import Metrics, Statement, kind_of
from services.store.protocol import Call, StoreError, Summary, content_type, exception_block, parse_call
from services.store.sessions import Sessions
from services.store.statements import Insert, names_a_file, output_format, several, streams

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

log = logging.getLogger("spanmill.store")

_PIECE_BYTES = 2**20


class Truncated(Exception):
    """An answer that had begun ends with an error: the connection must break, so that nobody takes it as whole."""


class Store:
    """The ASGI application."""

    def __init__(self, engine: Engine, password: str, lanes: Lanes) -> None:
        self._engine = engine
        self._password = password
        self._sessions = Sessions(engine.connect)
        self._inserts = Lane(lanes.inserts, lanes.waiting)
        self._others = Lane(lanes.others, lanes.waiting)
        # One more than can run, so that a KILL always finds a thread.
        self._threads = ThreadPoolExecutor(lanes.inserts + lanes.others + 1, "statement")
        self._metrics = Metrics(Path(engine.folder))

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            refuse_browsers(headers)
            if scope["path"] in ("/ping", "/replicas_status"):
                await _answer(send, 200, [], b"Ok.\n")
            elif scope["path"] == "/metrics":
                await _answer(send, 200, [(b"content-type", CONTENT_TYPE_LATEST.encode())], self._metrics.page())
            elif scope["path"] != "/" or scope["method"] not in ("GET", "POST"):
                await _answer(send, 404, [], f"There is no handle {scope['path']}\n".encode())
            else:
                call = parse_call(scope["method"], scope["query_string"], headers)
                self._authenticate(call)
                with self._metrics.timed() as statement:
                    body = Body(receive, call.body_encoding, call.query)
                    await self._serve(call, statement, body, receive, send)
        except StoreError as error:
            await _answer(send, error.status, _error_headers(error), error.text.encode() + b"\n")
        except ClientGone:
            log.info("a client went away before its request was whole")

    def _authenticate(self, call: Call) -> None:
        if self._password and not hmac.compare_digest(call.password.encode(), self._password.encode()):
            raise StoreError(516, "AUTHENTICATION_FAILED", f"{call.user}: authentication failed: password is incorrect")

    async def _serve(self, call: Call, statement: Statement, body: Body, receive: Receive, send: Send) -> None:
        insert = await body.insert()
        if insert is not None:
            statement.kind = "insert"
            async with self._inserts.turn():
                summary = await self._insert(call, insert, body)
            await _answer(send, 200, self._headers(call, "", summary), b"")
            return
        sql = await body.statement()
        statement.kind = kind_of(sql)
        if not sql.strip():
            await _answer(send, 200, [], b"Ok.\n")
            return
        async with self._others.turn():
            if await self._run(several, sql):
                raise StoreError(62, "SYNTAX_ERROR", "multi-statements are not allowed")
            if await self._run(names_a_file, sql):
                raise StoreError(48, "NOT_IMPLEMENTED", "INFILE and OUTFILE are for clients, not for servers")
            await self._query(call, sql, receive, send)

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    @asynccontextmanager
    async def _connection(self, call: Call, sql: bytes) -> AsyncIterator[Connection]:
        lent: AbstractContextManager[Connection] = self._sessions.lend(call, sql)
        connection = await self._run(lent.__enter__)
        try:
            yield connection
        finally:
            await asyncio.shield(self._run(lent.__exit__, None, None, None))

    async def _insert(self, call: Call, insert: Insert, body: Body) -> Summary:
        """Spools the rows as they come, and inserts them when the client has sent them to their end."""
        if call.read_only:
            raise StoreError(164, "READONLY", "cannot execute an INSERT in readonly mode; use POST")
        async with self._connection(call, insert.into.encode()) as connection:
            with closing(self._engine.spool()) as spool:
                await self._spool(body, spool)
                format_name = insert.format or _input_format(call)
                return await self._run(connection.insert, insert, format_name, spool)

    async def _spool(self, body: Body, spool: IO[bytes]) -> None:
        try:
            async for rows in body.rows(_PIECE_BYTES):
                await self._run(spool.write, rows)
            await self._run(spool.seek, 0)
        except OSError as error:
            raise StoreError(243, "NOT_ENOUGH_SPACE", f"the rows cannot be spooled: {error}") from error

    async def _query(self, call: Call, sql: bytes, receive: Receive, send: Send) -> None:
        format_name = await self._run(output_format, sql) or call.format
        try:
            text = sql.decode()
        except UnicodeDecodeError as error:
            raise StoreError(36, "BAD_ARGUMENTS", "the statement is not UTF-8") from error
        async with self._connection(call, sql) as connection:
            if not call.wait_end and await self._run(streams, sql, format_name):
                stream = await self._run(connection.stream, text, format_name)
                try:
                    await self._send_stream(call, format_name, stream, receive, send)
                finally:
                    await asyncio.shield(self._run(stream.close))
            else:
                answer = await self._watched(call, receive, self._run(connection.query, text, format_name))
                await self._send_whole(call, format_name, answer, send)

    async def _watched(self, call: Call, receive: Receive, work: Awaitable[T]) -> T:
        """The work's result; when the client goes away first, the statement is killed."""
        done = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                await self._run(self._engine.kill, call.query_id)
                await asyncio.wait({done})
            return done.result()
        finally:
            gone.cancel()

    def _headers(self, call: Call, format_name: str, summary: Summary) -> Headers:
        return [
            (b"content-type", content_type(format_name).encode() if format_name else b"text/plain; charset=UTF-8"),
            (b"x-clickhouse-server-display-name", b"spanmill"),
            (b"x-clickhouse-query-id", call.query_id.encode("latin-1", "replace")),
            (b"x-clickhouse-format", format_name.encode()),
            (b"x-clickhouse-timezone", self._engine.timezone.encode()),
            (b"x-clickhouse-summary", summary.header().encode()),
        ]

    async def _send_whole(self, call: Call, format_name: str, answer: Answer, send: Send) -> None:
        headers = self._headers(call, format_name, answer.summary)
        packed = deflater(call.answer_encodings)
        if packed is None:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        out = _Out(send, headers, packed)
        for start in range(0, len(answer.body), _PIECE_BYTES):
            await out.write(bytes(answer.body[start : start + _PIECE_BYTES]))
        await out.end()

    async def _send_stream(self, call: Call, format_name: str, stream: Stream, receive: Receive, send: Send) -> None:
        """An error before the first part is an error response; a later one breaks the answer off."""
        part = await self._watched(call, receive, self._run(stream.fetch))
        tag = secrets.token_hex(8)
        headers = [*self._headers(call, format_name, Summary()), (b"x-clickhouse-exception-tag", tag.encode())]
        out = _Out(send, headers, deflater(call.answer_encodings))
        while part is not None:
            await out.write(part)
            try:
                part = await self._watched(call, receive, self._run(stream.fetch))
            except StoreError as error:
                log.warning("an answer was broken off: %s", error.text)
                await out.write(exception_block(error, tag))
                await out.flush()
                raise Truncated(error.text) from error
        await out.end()

    async def close(self) -> None:
        """After the last request: gives the folder back."""
        self._threads.shutdown()
        self._sessions.close()
        self._engine.close()


def refuse_browsers(headers: MutableMapping[str, str]) -> None:
    """Raises StoreError (497): a page from elsewhere must not reach a store that trusts its machine."""
    if "origin" in headers or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise StoreError(497, "ACCESS_DENIED", "requests of web pages are refused")


def _input_format(call: Call) -> str:
    return call.format if call.format != "TabSeparated" else "Values"


def _error_headers(error: StoreError) -> Headers:
    headers = [
        (b"content-type", b"text/plain; charset=UTF-8"),
        (b"x-clickhouse-exception-code", str(error.code).encode()),
    ]
    return [*headers, (b"retry-after", b"1")] if error.status == 503 else headers


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _Out:
    """The body of a 200, compressed when asked for; its head goes out with the first part."""

    def __init__(self, send: Send, headers: Headers, packed: tuple[str, Deflate] | None) -> None:
        self._send = send
        self._packer = packed[1] if packed else None
        self._headers = [*headers, (b"content-encoding", packed[0].encode())] if packed else headers
        self._begun = False

    async def _put(self, data: bytes, more: bool) -> None:
        if not self._begun:
            self._begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def write(self, part: bytes) -> None:
        if self._packer is not None:
            self._packer.compress(part)
            part = bytes(self._packer.flush())
        if part:
            await self._put(part, True)

    async def flush(self) -> None:
        if self._packer is not None:
            await self._put(bytes(self._packer.flush()), True)

    async def end(self) -> None:
        await self._put(bytes(self._packer.finish()) if self._packer else b"", False)
