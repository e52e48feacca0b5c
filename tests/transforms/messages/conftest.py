from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from schemas.arrow import RAW
from schemas.limits import LIMITS, Limits
from transforms.messages import Messages, messages
from transforms.otlp.decode import decode

NOW = 1_795_420_000 * 10**9


@dataclass(frozen=True)
class Said:
    """What one span said: hashes and bodies, in order."""

    input_hashes: list[str]
    output_hashes: list[str]
    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    tools: list[dict[str, Any]]  # definitions, of the message that the span's tool_definitions_hash names
    flags: set[str]
    kept: set[str]  # names of the attributes that stay attributes


@dataclass(frozen=True)
class Span:
    """A span to be sent: attributes as text, events as (name, attributes)."""

    attributes: dict[str, str]
    events: tuple[tuple[str, dict[str, str]], ...] = ()
    org: str = "acme"


def _request(span: Span, number: int) -> bytes:
    request = ExportTraceServiceRequest()
    sent = (
        request.resource_spans.add()
        .scope_spans.add()
        .spans.add(
            trace_id=bytes(15) + b"\1",
            span_id=(number + 1).to_bytes(8, "big"),
            start_time_unix_nano=NOW,
            end_time_unix_nano=NOW + 1,
        )
    )
    for key, value in span.attributes.items():
        sent.attributes.add(key=key).value.string_value = value
    for name, attributes in span.events:
        event = sent.events.add(name=name, time_unix_nano=NOW)
        for key, value in attributes.items():
            event.attributes.add(key=key).value.string_value = value
    return request.SerializeToString()


def _raw(spans: list[Span], redact: bool) -> pa.Table:
    rows = [
        {
            "topic": "spans.raw",
            "partition": 0,
            "offset": number,
            "org": span.org,
            "team": "",
            "key_id": "k",
            "signal": "traces",
            "redact": redact,
            "received_at": NOW,
            "body": _request(span, number),
        }
        for number, span in enumerate(spans)
    ]
    return pa.Table.from_pylist(rows, schema=RAW)


@pytest.fixture(scope="session")
def read() -> Callable[..., Messages]:
    """Messages of spans, as the product reads them."""

    def read(spans: list[Span], dialect: str = "gen_ai", redact: bool = False, limits: Limits = LIMITS) -> Messages:
        decoded = decode(_raw(spans, redact), LIMITS)
        return messages(decoded, pl.DataFrame({"dialect": [dialect] * len(spans)}), limits)

    return read


@pytest.fixture(scope="session")
def say() -> Callable[..., list[Said]]:
    """What each span said, with the bodies in place of the hashes."""

    def say(
        spans: list[Span | dict[str, str]],
        dialect: str = "gen_ai",
        redact: bool = False,
        limits: Limits = LIMITS,
    ) -> list[Said]:
        sent = [span if isinstance(span, Span) else Span(span) for span in spans]
        decoded = decode(_raw(sent, redact), LIMITS)
        found = messages(decoded, pl.DataFrame({"dialect": [dialect] * len(sent)}), limits)
        bodies = {row["hash"]: orjson.loads(row["body"]) for row in found.bodies.to_pylist()}
        flags: dict[int, set[str]] = {}
        for row in found.flags.to_dicts():
            flags.setdefault(row["span"], set()).add(row["flag"])
        attributes = decoded.attributes
        kept: dict[int, set[str]] = {}
        for owner, code, consumed in zip(attributes.owner, attributes.code, found.consumed, strict=True):
            if not consumed:
                kept.setdefault(int(owner), set()).add(attributes.keys[code])
        return [
            Said(
                inputs_of,
                outputs_of,
                [bodies[item] for item in inputs_of],
                [bodies[item] for item in outputs_of],
                bodies[tools_of]["parts"] if tools_of else [],
                flags.get(row, set()),
                kept.get(row, set()),
            )
            for row, (inputs_of, outputs_of, tools_of) in enumerate(
                zip(
                    found.input_hashes.to_list(),
                    found.output_hashes.to_list(),
                    found.tool_definitions_hash,
                    strict=True,
                )
            )
        ]

    return say


@pytest.fixture(scope="session")
def span() -> type[Span]:
    return Span
