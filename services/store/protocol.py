"""The ClickHouse HTTP protocol: what a request says, and how an answer or an error is put into a response.

Source: ClickHouse documentation, "HTTP Interface"; status codes as in its exceptionCodeToHTTPStatus.cpp.
"""

import base64
import binascii
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

_ERROR = re.compile(r"Code: (?P<code>\d+)\. (?P<message>.*)", re.DOTALL)
_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")

# Parameters that are part of the protocol, and settings that mean nothing without the real server's front.
_PROTOCOL = {
    "query",
    "database",
    "default_format",
    "user",
    "password",
    "query_id",
    "quota_key",
    "session_id",
    "session_timeout",
    "session_check",
    "stacktrace",
    "buffer_size",
    "wait_end_of_query",
    "compress",
    "decompress",
    "role",
    "client_protocol_version",
    "enable_http_compression",
    "http_zlib_compression_level",
    "send_progress_in_http_headers",
    "http_headers_progress_interval_ms",
    "cancel_http_readonly_queries_on_client_close",
    "add_http_cors_header",
    "async_insert",
    "wait_for_async_insert",
    "async_insert_busy_timeout_ms",
}

_BAD_REQUEST = {6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321}
_BAD_REQUEST |= {376, 427, 441, 675, 676}
_NOT_FOUND = {46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511}
_STATUS = {
    **dict.fromkeys(_BAD_REQUEST, 400),
    **dict.fromkeys(_NOT_FOUND, 404),
    **dict.fromkeys({192, 193, 497, 512, 516}, 403),
    **dict.fromkeys({76, 202, 209, 439}, 503),
    48: 501,
    159: 408,
    194: 401,
    229: 413,
    381: 411,
    779: 415,
}

_TEXT, _JSON = "text/plain; charset=UTF-8", "application/json; charset=UTF-8"
_CONTENT_TYPES = {
    **dict.fromkeys(("TabSeparated", "TSV", "TSVRaw", "TabSeparatedRaw"), "text/tab-separated-values; charset=UTF-8"),
    **dict.fromkeys(("CSV", "CSVWithNames"), "text/csv; charset=UTF-8"),
    **dict.fromkeys(("JSON", "JSONCompact"), _JSON),
    **dict.fromkeys(("JSONEachRow", "JSONLines", "NDJSON"), "application/x-ndjson; charset=UTF-8"),
    **dict.fromkeys(("Pretty", "PrettyCompact", "Values", "Vertical"), _TEXT),
    "ArrowStream": "application/vnd.apache.arrow.stream",
}


class StoreError(Exception):
    """An answer that is an error: ClickHouse's code, its name, and the text for a person."""

    def __init__(self, code: int, name: str, message: str, version: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.text = f"Code: {code}. DB::Exception: {message} ({name})" + (f" (version {version})" if version else "")

    @property
    def status(self) -> int:
        return _STATUS.get(self.code, 500)


class EngineError(StoreError):
    """What the engine raised, with the code out of its text (1002, UNKNOWN_EXCEPTION, when there is none)."""

    def __init__(self, raised: str) -> None:
        found = _ERROR.search(raised)
        super().__init__(int(found["code"]) if found else 1002, "UNKNOWN_EXCEPTION", raised)
        if found:
            self.text = found[0]


@dataclass(frozen=True)
class Call:
    """What one request asks for beside its body."""

    query: str  # the beginning of the statement; the body continues it
    user: str
    password: str
    database: str
    format: str  # of the answer, where the statement names none
    settings: Mapping[str, str]
    params: Mapping[str, str]  # of the statement, {name:Type}
    query_id: str
    session_id: str
    session_timeout: float  # seconds
    session_must_exist: bool
    wait_end: bool  # the status must tell how the whole query ended
    read_only: bool  # a GET may not change anything
    body_encoding: str
    answer_encodings: tuple[str, ...]  # that the client takes, its first choice first; () for plain bytes


def parse_call(method: str, query_string: bytes, headers: Mapping[str, str]) -> Call:
    """Reads URL parameters and headers (names in lower case).

    Raises StoreError (36, 344) for what cannot be read or is not spoken here.
    """
    try:
        given = dict(parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict"))
        session_timeout = float(given.get("session_timeout", 60))
    except ValueError as error:
        raise StoreError(36, "BAD_ARGUMENTS", f"the URL parameters cannot be read: {error}") from error
    if given.get("compress") == "1" or given.get("decompress") == "1":
        message = "compress=1 and decompress=1 (ClickHouse's own frames) are not spoken; use Content-Encoding"
        raise StoreError(344, "SUPPORT_IS_DISABLED", message)
    if headers.get("content-type", "").startswith("multipart/form-data"):
        raise StoreError(344, "SUPPORT_IS_DISABLED", "external data in multipart/form-data is not spoken")
    user, password = _credentials(given, headers)
    settings = {k: v for k, v in given.items() if k not in _PROTOCOL and not k.startswith("param_")}
    if bad := [name for name in settings if not _SETTING.match(name)]:
        raise StoreError(115, "UNKNOWN_SETTING", f"{bad[0]!r} is not the name of a setting")
    return Call(
        query=given.get("query", ""),
        user=user,
        password=password,
        database=given.get("database") or headers.get("x-clickhouse-database", ""),
        format=headers.get("x-clickhouse-format") or given.get("default_format", "TabSeparated"),
        settings=settings,
        params={k.removeprefix("param_"): v for k, v in given.items() if k.startswith("param_")},
        query_id=given.get("query_id") or headers.get("x-clickhouse-query-id") or str(uuid.uuid4()),
        session_id=given.get("session_id", ""),
        session_timeout=min(max(session_timeout, 1.0), 3600.0),
        session_must_exist=given.get("session_check") == "1",
        wait_end=given.get("wait_end_of_query") == "1",
        read_only=method == "GET",
        body_encoding=headers.get("content-encoding", "identity").strip().lower(),
        answer_encodings=_accepted(headers) if given.get("enable_http_compression") == "1" else (),
    )


def _accepted(headers: Mapping[str, str]) -> tuple[str, ...]:
    offered = [part.split(";")[0].strip().lower() for part in headers.get("accept-encoding", "").split(",")]
    return tuple(name for name in offered if name)


def _credentials(given: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password from the headers, HTTP Basic or the URL, in this order of preference."""
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise StoreError(516, "AUTHENTICATION_FAILED", "the Authorization header cannot be read") from error
        return user, password
    return given.get("user", "default"), given.get("password", "")


def content_type(format_name: str) -> str:
    """MIME type of an answer in this format."""
    return _CONTENT_TYPES.get(format_name, "application/octet-stream")


@dataclass(frozen=True)
class Summary:
    """What a statement read and wrote: the X-ClickHouse-Summary header."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    elapsed_ns: int = 0

    def header(self) -> str:
        values: dict[str, Any] = {**self.__dict__, "total_rows_to_read": 0, "result_rows": self.written_rows}
        values["result_bytes"] = self.written_bytes
        return json.dumps({name: str(value) for name, value in values.items()}, separators=(",", ":"))


def exception_block(error: StoreError, tag: str) -> bytes:
    """How an error is written into an answer that has begun (ClickHouse 25.11 and later)."""
    message = error.text.encode() + b"\n"
    mark = tag.encode()
    return b"\r\n__exception__\r\n%b\r\n%b%d %b\r\n__exception__\r\n" % (mark, message, len(message), mark)
