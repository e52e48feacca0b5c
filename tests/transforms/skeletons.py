"""Skeleton rows for the tests of the folds."""

from datetime import date
from hashlib import blake2b
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from schemas.arrow import SKELETONS
from transforms.traces.blocks import ENDED

SECOND = 10**9
START = 1_700_000_000 * SECOND


def trace_id(number: int) -> str:
    return f"{number + 1:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def skeleton(span: int, parent: int = 0, size: int = 0, **columns: Any) -> dict[str, Any]:
    """One sighting of a span with `size` attributes: ids are small numbers, parent 0 for a root.

    Its version follows its content, as it does for a span that was decoded.
    """
    row = dict.fromkeys(SKELETONS.names, "") | {
        "org": "acme", "team": "blue", "key_id": "k1", "trace_id": trace_id(0), "span_id": span_id(span),
        "parent_span_id": span_id(parent) if parent else "", "name": f"span {span}", "kind": "chain",
        "start_time": START + span, "duration_ns": 100, "status": "ok", "service": "shop", "dialect": "otel",
        "day": date(2023, 11, 14), "billable": False, "token_source": None, "cost_nano": None, "ttft_ns": None,
        "cost_status": "none", "price_id": None,
    }  # fmt: skip
    row |= {name: None for name in SKELETONS.names if name.endswith("_tokens")} | columns
    if "version" not in columns:
        content = repr(sorted((name, str(value)) for name, value in row.items() if name != "version"))
        digest = blake2b(content.encode(), digest_size=5).digest()
        row["version"] = ENDED + (size << 40) + int.from_bytes(digest, "big")
    return row


def call(span: int, parent: int = 0, **columns: Any) -> dict[str, Any]:
    """One sighting of a billable span: 10 tokens in, 5 out, for 100 nano-dollars."""
    priced = {"cost_nano": 100, "cost_status": "priced", "price_id": "p1"}
    usage = {"input_tokens": 10, "output_tokens": 5, "token_source": "reported"}
    answer = {"kind": "llm", "provider": "openai", "request_model": "gpt-4o", "operation": "chat"}
    facts: dict[str, Any] = {"billable": True} | answer | usage | priced | columns
    return skeleton(span, parent, **facts)


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SKELETONS)


def frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))


@st.composite
def sightings(draw: st.DrawFn, spans: int = 8, traces: int = 2) -> dict[str, Any]:
    """A random sighting among few ids, so that duplicates, orphans, loops and richer sightings are common."""
    parent = draw(st.integers(0, spans))
    columns: dict[str, Any] = {
        "trace_id": trace_id(draw(st.integers(0, traces - 1))),
        "org": draw(st.sampled_from(["acme", "acme", "globex"])),
        "start_time": START + draw(st.integers(0, 5)),
        "duration_ns": draw(st.integers(0, 5)),
        "status": draw(st.sampled_from(["ok", "error"])),
        "session_id": draw(st.sampled_from(["", "s1", "s2"])),
        "size": draw(st.integers(0, 2)),
    }
    if draw(st.booleans()):
        return skeleton(draw(st.integers(1, spans)), parent, **columns)
    columns["response_id"] = draw(st.sampled_from(["", "", "r1", "r2"]))
    columns["scope"] = draw(st.sampled_from(["", "outer", "inner"]))
    if draw(st.booleans()):
        return call(draw(st.integers(1, spans)), parent, **columns, cache_read_tokens=draw(st.sampled_from([None, 3])))
    columns |= {"input_tokens": None, "output_tokens": None, "cost_nano": None, "cost_status": "no_usage"}
    return call(draw(st.integers(1, spans)), parent, **columns)


@st.composite
def families(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Spans of one trace, each sighted once: mostly calls, many with one response id; the first may close a loop."""
    rows, spans = [], draw(st.integers(2, 6))
    for span in range(1, spans + 1):
        parent, start = draw(st.integers(0, spans if span == 1 else span - 1)), START + draw(st.integers(0, 2))
        if draw(st.integers(0, 3)) == 0:
            rows.append(skeleton(span, parent, start_time=start))
            continue
        columns: dict[str, Any] = {"response_id": draw(st.sampled_from(["", "r1", "r1"]))}
        columns["scope"] = draw(st.sampled_from(["outer", "inner"]))
        if draw(st.integers(0, 3)) == 0:
            columns |= {"input_tokens": None, "output_tokens": None, "cost_nano": None}
        columns["cache_read_tokens"] = draw(st.sampled_from([None, 3]))
        rows.append(call(span, parent, start_time=start, **columns))
    return rows


@st.composite
def layers(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Spans of one trace, each sighted once: a few calls as several instrumentations see them, few with an id."""
    rows, spans = [], draw(st.integers(2, 7))
    for span in range(1, spans + 1):
        start = draw(st.integers(0, 4))
        columns: dict[str, Any] = {
            "scope": draw(st.sampled_from(["a", "b", "c"])),
            "start_time": START + 100 * start,
            "duration_ns": 100 * draw(st.integers(0, 5 - start)),
            "response_id": draw(st.sampled_from(["", "", "", "r1", "r2"])),
            "cache_read_tokens": draw(st.sampled_from([None, None, 3])),
            "input_tokens": draw(st.sampled_from([10, 10, 10, 11])),
            "request_model": draw(st.sampled_from(["gpt-4o", "gpt-4o", "o1"])),
            "response_model": draw(st.sampled_from(["", "gpt-4o"])),
        }
        rows.append(call(span, draw(st.integers(0, span - 1)), **columns))
    return rows
