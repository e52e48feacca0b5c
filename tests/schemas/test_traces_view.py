"""The view `traces` against the same rules written in Python."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.migrate import migrate
from pipelines.sinks import StoreSink
from pipelines.store import connect_creating
from schemas.arrow import TABLES, TRACES, to_ipc
from schemas.migrations import CLICKHOUSE
from tests.store_process import running_store
from tests.transforms.billing.test_captures_billed import ACROSS_TRACES, captured_skeletons, ledger
from transforms.columns import pc

START = datetime(2026, 3, 1, tzinfo=UTC)
TREE = [field.name for field in TRACES if pa.types.is_list(field.type)][3:]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, StoreSink]]:
    folder = tmp_path_factory.mktemp("store") / "data"
    with running_store(folder) as process, connect_creating(process.settings) as client:
        migrate(client, CLICKHOUSE, time.time_ns())
        sink = StoreSink(process.settings)
        yield client, sink
        sink.close()


@st.composite
def _fragment(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(st.lists(st.sampled_from([f"{n:016x}" for n in range(8)]), min_size=1, max_size=6, unique=True))
    n = len(ids)
    numbers = st.lists(st.integers(0, 10**6), min_size=n, max_size=n)
    words = st.lists(st.sampled_from(["ok", "error", "x"]), min_size=n, max_size=n)
    flags = st.lists(st.booleans(), min_size=n, max_size=n)
    tree: dict[str, Any] = {"span_ids": ids, "parent_indexes": [draw(st.integers(-1, i - 1)) for i in range(n)]}
    for name in TREE:
        if name not in tree:
            tree[name] = draw(flags if name == "span_billed" else words if _text(name) else numbers)
    tree["span_ttfts_ns"] = [ttft - 1 for ttft in tree["span_ttfts_ns"]]
    loose = ("orphan_count", "cache_read_tokens", "unpriced_count", "duration_ns", "depth")
    return {
        **tree,
        **{name: draw(st.integers(0, 100)) for name in loose},
        "start_time": START + timedelta(seconds=draw(st.integers(0, 100))),
        "version": draw(st.integers(1, 9)),
        "state": draw(st.sampled_from(["final", "provisional"])),
        "session_id": draw(st.sampled_from(["", "s1", "s2"])),
        "models": draw(st.lists(st.sampled_from(["m1", "m2"]), unique=True)),
        "error_count": tree["statuses"].count("error"),
        "span_count": n,
        "call_count": sum(tree["span_billed"]),
        "cost_nano": sum(tree["self_cost_nano"]),
        "input_tokens": sum(tree["self_input_tokens"]),
    }


def _text(name: str) -> bool:
    return TRACES.field(name).type.value_type == pa.string()


def _united(fragments: list[dict[str, Any]]) -> dict[str, Any]:
    """One trace out of its fragments, by the rules at the top of the view's migration."""
    ordered = sorted(fragments, key=lambda f: (-f["span_count"], -f["version"], f["fragment"]))
    start = min(f["start_time"] for f in fragments)
    taken = [(f, i) for at, f in enumerate(ordered) for i, span in enumerate(f["span_ids"])
             if all(span not in before["span_ids"] for before in ordered[:at])]  # fmt: skip
    ids = [f["span_ids"][i] for f, i in taken]
    adding = [f for f in ordered if any(f is one for one, _ in taken)]
    covered, disjoint = len(ids) == ordered[0]["span_count"], len(ids) == sum(f["span_count"] for f in fragments)

    def loose(name: str) -> int:
        values = [f[name] for f in ordered]
        return values[0] if covered else sum(values) if disjoint else max(values)

    def parent(fragment: dict[str, Any], index: int) -> int:
        return -1 if index < 0 else ids.index(fragment["span_ids"][index])

    def offset(fragment: dict[str, Any], value: int) -> int:
        return value + int((fragment["start_time"] - start).total_seconds()) * 10**9

    tree = {name: [f[name][i] for f, i in taken] for name in TREE}
    tree["parent_indexes"] = [parent(f, f["parent_indexes"][i]) for f, i in taken]
    tree["start_offsets_ns"] = [offset(f, f["start_offsets_ns"][i]) for f, i in taken]
    end = max(offset(f, 0) + f["duration_ns"] for f in fragments)
    return {
        **tree,
        **{name: loose(name) for name in ("orphan_count", "cache_read_tokens", "unpriced_count")},
        "start_time": start,
        "duration_ns": end,
        "depth": max(f["depth"] for f in fragments),
        "state": "provisional" if any(f["state"] == "provisional" for f in adding) else "final",
        "session_id": next((f["session_id"] for f in ordered if f["session_id"]), ""),
        "models": list(dict.fromkeys(model for f in adding for model in f["models"])),
        "span_count": len(ids),
        "error_count": tree["statuses"].count("error"),
        "call_count": sum(tree["span_billed"]),
        "cost_nano": sum(tree["self_cost_nano"]),
        "input_tokens": sum(tree["self_input_tokens"]),
        "fragments": len(adding),
    }


def _write(sink: StoreSink, org: str, traces: list[list[dict[str, Any]]]) -> None:
    rows = []
    for number, fragments in enumerate(traces):
        for fragment in fragments:
            row = {name: fragment.get(name, _default(TRACES.field(name).type)) for name in TRACES.names}
            rows.append({**row, "org": org, "trace_id": f"{number:032x}", "day": START.date()})
    sink.write("traces", to_ipc(pa.Table.from_pylist(rows, TRACES)))


def _default(kind: pa.DataType) -> Any:
    return [] if pa.types.is_list(kind) else "" if kind == pa.string() else None if kind == pa.int64() else 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.lists(_fragment(), min_size=1, max_size=3), min_size=1, max_size=12))
def test_a_trace_is_the_union_of_its_fragments(store: tuple[Client, StoreSink], traces: list[list[dict[str, Any]]]):
    client, sink = store
    org = f"org{time.monotonic_ns()}"
    for fragments in traces:
        for number, fragment in enumerate(fragments):
            fragment["fragment"] = f"f{number}"
    _write(sink, org, traces)
    _write(sink, org, traces)
    expected = [_united(fragments) for fragments in traces]
    columns = list(expected[0])
    found = client.query(
        f"SELECT {', '.join(columns)} FROM traces WHERE org = {{o:String}} ORDER BY trace_id",
        parameters={"o": org},
        tz_mode="aware",
    )
    rows = [dict(zip(columns, row, strict=True)) for row in found.result_rows]
    assert rows == expected


def test_the_first_token_of_a_united_trace_is_that_of_its_first_billed_call(store: tuple[Client, StoreSink]):
    client, sink = store
    late = {"start_time": START + timedelta(seconds=1), "span_ids": ["a", "b"], "span_count": 2, "fragment": "1"}
    early = {"start_time": START, "span_ids": ["c"], "span_count": 1, "fragment": "2"}
    late |= {"span_billed": [True, True], "span_ttfts_ns": [7, -1], "start_offsets_ns": [500, 0]}
    early |= {"span_billed": [False], "span_ttfts_ns": [3], "start_offsets_ns": [0]}
    _write(sink, "first-token", [[late, early], [{**early, "ttft_ns": 42}]])
    sql = "SELECT ttft_ns FROM traces WHERE org = 'first-token' ORDER BY trace_id"
    assert client.query(sql).result_rows == [(10**9 + 507,), (42,)]


def test_the_root_is_that_of_the_fragment_that_has_one(store: tuple[Client, StoreSink]):
    client, sink = store
    rootless = {"span_ids": ["a", "b"], "span_count": 2, "fragment": "1", "root_name": "", "start_time": START}
    rooted = {"span_ids": ["c"], "span_count": 1, "fragment": "2", "root_span_id": "c", "root_name": "agent"}
    _write(sink, "rooted", [[rootless, {**rooted, "start_time": START}]])
    sql = "SELECT root_span_id, root_name FROM traces WHERE org = 'rooted'"
    assert client.query(sql).result_rows == [("c", "agent")]


def test_spans_of_one_moment_have_one_first_token_in_one_fragment_or_two(store: tuple[Client, StoreSink]):
    client, sink = store
    both = {"start_time": START, "span_ids": ["b", "a"], "span_count": 2, "fragment": "1", "span_billed": [True, True]}
    both |= {"start_offsets_ns": [0, 0], "span_ttfts_ns": [3, 7]}
    lost = {"start_time": START, "span_ids": ["b"], "span_count": 1, "fragment": "2", "span_billed": [True]}
    _write(sink, "one-moment", [[both, lost | {"start_offsets_ns": [0], "span_ttfts_ns": [3]}]])
    assert client.query("SELECT ttft_ns FROM traces WHERE org = 'one-moment'").result_rows == [(7,)]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_a_lost_attempt_of_the_job_wrote_changes_no_trace(store: tuple[Client, StoreSink], seed: int):
    """It began each trace with some of its spans, under another name, and judged its calls by those alone."""
    client, sink = store
    draw = Random(seed)
    rows = captured_skeletons()
    lost = ledger(draw.sample(rows, len(rows) // 2), seed)
    whole = ledger(rows, seed)
    for org, runs in ((f"quiet{seed}", [whole]), (f"lost{seed}", [lost, whole])):
        for run in runs:
            for name, found in [*run.traces.out, *run.calls.out]:
                if name in TABLES:
                    at = found.schema.get_field_index("org")
                    named = pc.binary_join_element_wise(org, found["org"], "/")
                    sink.write(name, to_ipc(found.set_column(at, found.schema.field(at), named.cast(pa.string()))))
    quiet, disturbed = (
        client.query(
            "SELECT * EXCEPT (org, version, day) FROM traces WHERE startsWith(org, {org:String})"
            " ORDER BY traces.org, trace_id",
            parameters={"org": f"{org}/"},
        )
        for org in (f"quiet{seed}", f"lost{seed}")
    )
    assert quiet.row_count > 140
    names = quiet.column_names
    different = [
        (wanted[names.index("trace_id")], name, got[at], wanted[at])
        for got, wanted in zip(disturbed.result_rows, quiet.result_rows, strict=True)
        for at, name in enumerate(names)
        if got[at] != wanted[at]
    ]
    assert different == []


@pytest.fixture(scope="module")
def captures(store: tuple[Client, StoreSink]) -> Client:
    """What the folds say of all captures, each in an organisation of its own."""
    client, sink = store
    run = ledger(captured_skeletons(), 1)
    for name, rows in [*run.traces.out, *run.calls.out]:
        if name in TABLES:
            sink.write(name, to_ipc(rows))
    return client


def test_the_totals_of_the_traces_are_those_of_the_ledger(captures: Client):
    """Also where several traces saw a call: it is in the totals of the one that bills it."""
    names = [
        "input_tokens",
        "output_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
        "cost_nano",
    ]
    sums = ", ".join(f"ifNull(sum({name}), 0) AS {name}" for name in names)
    ledger, traces = (
        captures.query(f"SELECT org, {sums} FROM {view} WHERE org IN (SELECT org FROM usage) GROUP BY org ORDER BY org")
        for view in ("usage", "traces")
    )
    assert len(ledger.result_rows) > 140
    assert traces.result_rows == ledger.result_rows


def test_a_trace_says_which_of_its_calls_another_one_bills(captures: Client):
    rows = captures.query(
        "SELECT org, call_count, cost_nano, cost_status, billed_elsewhere, span_ids, span_billed FROM traces"
        " WHERE notEmpty(billed_elsewhere) AND NOT match(org, '^(quiet|lost)') ORDER BY org, start_time"
    ).result_rows
    assert {row[0] for row in rows} == ACROSS_TRACES
    for _, calls, cost, status, elsewhere, spans, billed in rows:
        assert set(elsewhere) == {span for span, own in zip(spans, billed, strict=True) if own}
        assert (calls, cost, status) == (0, 0, "none")
