import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.migrate import migrate
from pipelines.sinks import StoreSink
from pipelines.store import connect_creating
from schemas.arrow import HISTOGRAM, NS, TABLES, to_ipc
from schemas.migrations import CLICKHOUSE
from tests.store_process import StoreProcess, running_store

TEXT = {"String", "LowCardinality(String)", "LowCardinality(Nullable(String))"}
_NOT_IN_TUPLES = {"LowCardinality(Nullable(String))", "Nullable(DateTime64(9, 'UTC'))"}
MAP = "Map(LowCardinality(String), String)"
TIME = "DateTime64(9, 'UTC')"
LIVE: dict[pa.DataType, set[str]] = {
    pa.string(): TEXT,
    pa.binary(): {"String"},
    pa.int64(): {"Int64", "Nullable(Int64)"},
    pa.int32(): {"Int32"},
    pa.uint64(): {"UInt64"},
    pa.bool_(): {"Bool"},
    pa.date32(): {"Date"},
    NS: {TIME, f"Nullable({TIME})"},
    pa.timestamp("s", "UTC"): {"DateTime('UTC')"},
    pa.map_(pa.string(), pa.string()): {MAP},
    HISTOGRAM: {"Map(Int16, UInt64)"},
}
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    with running_store(tmp_path_factory.mktemp("store") / "data") as process:
        with connect_creating(process.settings) as client:
            migrate(client, CLICKHOUSE, time.time_ns())
        yield process


@pytest.fixture(scope="module")
def client(store: StoreProcess) -> Iterator[Client]:
    with connect_creating(store.settings) as connected:
        yield connected


@pytest.fixture(scope="module")
def sink(store: StoreProcess) -> Iterator[StoreSink]:
    opened = StoreSink(store.settings)
    yield opened
    opened.close()


@pytest.fixture
def org() -> str:
    """An organisation of this test alone."""
    return f"org{time.monotonic_ns()}"


def _default(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind) or pa.types.is_map(kind):
        return []
    if pa.types.is_timestamp(kind):
        return START
    simple = {pa.string(): "", pa.binary(): b"", pa.bool_(): False, pa.date32(): START.date()}
    return simple.get(kind, 0)


def _write(sink: StoreSink, table: str, *rows: dict[str, Any]) -> None:
    schema = TABLES[table]
    full = [{f.name: row.get(f.name, _default(f.type)) for f in schema} for row in rows]
    sink.write(table, to_ipc(pa.Table.from_pylist(full, schema)))


def _rows(client: Client, sql: str, **parameters: Any) -> list[Any]:
    return list(client.query(sql, parameters=parameters, tz_mode="aware").result_rows)


# ---- what is declared is what is there


def _types_of(kind: pa.DataType) -> set[str]:
    """The column types that may hold an Arrow type."""
    if pa.types.is_list(kind):
        return {f"Array({inner})" for inner in _types_of(kind.value_type)}
    if pa.types.is_struct(kind):
        fields = ((field.name, sorted(_types_of(field.type) - _NOT_IN_TUPLES)) for field in kind)
        return {"Tuple(" + ", ".join(f"{name} {types[-1]}" for name, types in fields) + ")"}
    return LIVE[kind]


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_are_those_of_the_arrow_schema(client: Client, table: str):
    live = _rows(
        client,
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String}"
        " ORDER BY position",
        t=f"{table}_data",
    )
    assert [name for name, _ in live] == TABLES[table].names
    wrong = [(name, kind) for name, kind in live if kind not in _types_of(TABLES[table].field(name).type)]
    assert wrong == []


@pytest.mark.parametrize("table", TABLES)
def test_a_view_has_the_columns_of_its_table(client: Client, table: str):
    view = [row[0] for row in _rows(client, f"DESCRIBE TABLE {table}")]
    expected = TABLES[table].names
    if table == "traces":
        expected = [name for name in expected if name != "fragment"] + ["fragments", "billed_elsewhere"]
    if table == "spans":
        expected = [*expected, "ttft_origin"]
    if table == "budget_balances":
        expected = [*expected, "available"]
    assert view == expected


@pytest.mark.parametrize("table", TABLES)
def test_every_key_starts_with_the_organisation(client: Client, table: str):
    ((key,),) = _rows(
        client,
        "SELECT sorting_key FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        t=f"{table}_data",
    )
    assert key.split(", ")[0] == ("topic" if table == "requests" else "org")


def test_columns_of_time_tokens_and_money_say_their_unit(client: Client):
    silent = _rows(
        client,
        "SELECT table, name FROM system.columns WHERE database = currentDatabase() AND table LIKE '%\\_data'"
        " AND (match(name, '_(ns|tokens|nano|count)$') OR type LIKE 'DateTime%') AND comment NOT LIKE '%unit%'",
    )
    assert silent == []


@pytest.mark.parametrize("table", TABLES)
def test_a_row_comes_back_as_it_was_written(client: Client, sink: StoreSink, org: str, table: str):
    key = {"topic": org} if table == "requests" else {"org": org}
    row = {field.name: _sample(field.type) for field in TABLES[table]} | key
    _write(sink, table, row)
    column = next(iter(key))
    found = client.query_arrow(
        f"SELECT * FROM {table}_data WHERE {column} = {{x:String}}",
        parameters={"x": org},
        use_strings=table != "dead_letters",
    )
    assert _plain(found.to_pylist()[0]) == _plain(row)


def _sample(kind: pa.DataType) -> Any:
    if kind == HISTOGRAM:
        return [(-7, 1), (640, 2)]
    if pa.types.is_map(kind):
        return [("k", "v"), ("empty", "")]
    if pa.types.is_list(kind):
        return [_sample(kind.value_type)]
    if pa.types.is_struct(kind):
        return {field.name: _sample(field.type) for field in kind}
    samples = {pa.string(): "text é", pa.binary(): b"\x00\xff", pa.bool_(): True, pa.date32(): date(2026, 3, 1)}
    return samples.get(kind, START if pa.types.is_timestamp(kind) else 7)


def _plain(value: Any) -> Any:
    """Values in one form: text for bytes, days and nanoseconds as numbers, maps as pairs."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, date):
        return (value - date(1970, 1, 1)).days
    return value


# ---- each fact once


SPAN = {"trace_id": "a" * 32, "span_id": "b" * 16, "kind": "llm", "start_time": START, "day": START.date()}


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_of_two_sightings_of_a_span_the_richer_stands_whatever_came_first(client, sink, org, order):
    for version in order:
        _write(sink, "spans", {**SPAN, "org": org, "name": f"v{version}", "version": version})
    assert _rows(client, "SELECT name FROM spans WHERE org = {o:String}", o=org) == [("v2",)]


def test_a_span_seen_on_two_days_is_one_span_on_the_day_of_the_richer(client: Client, sink: StoreSink, org: str):
    other_day = {"start_time": START + timedelta(days=1), "day": START.date() + timedelta(days=1)}
    _write(sink, "spans", {**SPAN, "org": org, "version": 1}, {**SPAN, "org": org, "version": 2, **other_day})
    sql = "SELECT count() FROM spans WHERE org = {o:String}"
    assert _rows(client, sql, o=org) == [(1,)]
    assert _rows(client, sql + " AND day = '2026-03-01'", o=org) == [(0,)]
    assert _rows(client, sql + " AND start_time >= '2026-03-02'", o=org) == [(1,)]


def test_a_batch_may_hold_all_days_that_the_limits_allow(client: Client, sink: StoreSink, org: str):
    days = [date(1970, 1, 1), *(START.date() + timedelta(days=n) for n in range(32))]
    _write(sink, "spans", *({**SPAN, "org": org, "span_id": f"{n:016x}", "day": d} for n, d in enumerate(days)))
    assert _rows(client, "SELECT uniqExact(day) FROM spans WHERE org = {o:String}", o=org) == [(33,)]


@pytest.mark.parametrize(
    "table", ["messages", "span_logs", "requests", "dead_letters", "usage", "traces", "metrics_1m"]
)
def test_a_batch_written_again_is_counted_once(client: Client, sink: StoreSink, org: str, table: str):
    key = {"topic": org} if table == "requests" else {"org": org}
    for _ in range(3):
        _write(sink, table, key)
    column = next(iter(key))
    assert _rows(client, f"SELECT count() FROM {table} WHERE {column} = {{o:String}}", o=org) == [(1,)]


def test_a_missing_number_stays_unknown(client: Client, sink: StoreSink, org: str):
    unknown = {"input_tokens": None, "cost_nano": None, "ttft_ns": None, "token_source": None, "ttft_kind": None}
    _write(sink, "spans", {**SPAN, "org": org, **unknown})
    found = _rows(client, f"SELECT {', '.join(unknown)} FROM spans WHERE org = {{o:String}}", o=org)
    assert found == [(None,) * len(unknown)]


# ---- what the views add


def test_hashes_of_log_records_join_their_span(client: Client, sink: StoreSink, org: str):
    log = {"org": org, "trace_id": SPAN["trace_id"], "span_id": SPAN["span_id"]}
    _write(
        sink,
        "span_logs",
        {**log, "id": "2", "time": START + timedelta(seconds=2), "input_hashes": ["h3"], "output_hashes": ["o1"]},
        {**log, "id": "1", "time": START + timedelta(seconds=1), "input_hashes": ["h1", "h2"]},
        {"org": org, "response_id": "r1", "id": "3", "output_hashes": ["o2"]},
        {"org": org + "other", "response_id": "r1", "id": "4", "output_hashes": ["foreign"]},
        {"org": org, "response_id": "", "id": "5", "output_hashes": ["nobody"]},
    )
    _write(
        sink,
        "spans",
        {**SPAN, "org": org, "response_id": "r1", "input_hashes": ["h2"]},
        {**SPAN, "org": org, "span_id": "c" * 16, "input_hashes": ["own"]},
    )
    found = _rows(
        client, "SELECT input_hashes, output_hashes FROM spans WHERE org = {o:String} ORDER BY span_id", o=org
    )
    assert found == [(["h2", "h1", "h3"], ["o1", "o2"]), (["own"], [])]


def test_the_ledger_sums_to_what_stands(client: Client, sink: StoreSink, org: str):
    entry = {"org": org, "trace_id": "t", "cost_nano": 100, "input_tokens": 7}
    _write(
        sink,
        "usage",
        {**entry, "entry": "charge", "entry_id": "1", "version": 1},
        {**entry, "entry": "charge", "entry_id": "1", "version": 2, "cost_nano": 120},
        {**entry, "entry": "charge", "entry_id": "2"},
        {**entry, "entry": "reversal", "entry_id": "3", "cost_nano": -100, "input_tokens": -7},
        {**entry, "entry": "charge", "entry_id": "4", "cost_nano": None},
    )
    sums = "SELECT sum(cost_nano), sum(input_tokens) FROM usage WHERE org = {o:String}"
    assert _rows(client, sums, o=org) == [(120, 14)]


def test_completeness_accounts_for_every_span(client: Client, sink: StoreSink, org: str):
    request = {"topic": org, "org": org, "signal": "traces"}
    _write(
        sink,
        "requests",
        {**request, "offset": 1, "received": 5, "written": 4, "dead_lettered": 1},
        {**request, "offset": 1, "received": 5, "written": 4, "dead_lettered": 1},
        {**request, "offset": 2, "received": 3, "written": 2, "dead_lettered": 0},
        {**request, "offset": 3, "signal": "logs", "received": 9, "written": 9, "dead_lettered": 0},
    )
    _write(sink, "spans", *({**SPAN, "org": org, "span_id": f"{n:016x}"} for n in range(4)))
    columns = "received, written, `distinct`, duplicates, dead_lettered, difference"
    found = _rows(client, f"SELECT {columns} FROM completeness WHERE org = {{o:String}}", o=org)
    assert found == [(8, 6, 4, 2, 1, 1)]


def test_grafana_finds_the_spans_under_its_own_names(client: Client, sink: StoreSink, org: str):
    span = {**SPAN, "org": org, "name": "chat", "duration_ns": 5, "status": "error", "attributes": [("a", "b")]}
    _write(sink, "spans", span)
    columns = "TraceId, SpanName, Duration, StatusCode, SpanAttributes['a']"
    found = _rows(client, f"SELECT {columns} FROM otel_traces WHERE Organisation = {{o:String}}", o=org)
    assert found == [("a" * 32, "chat", 5, "Error", "b")]


@pytest.mark.parametrize("view", ["spans", "traces", "usage"])
def test_a_look_up_of_a_trace_reaches_the_primary_key_through_the_view(client, sink, org, view):
    _write(sink, view, {"org": org, "trace_id": "t1"})
    plan = _rows(client, f"EXPLAIN indexes = 1 SELECT * FROM {view} WHERE org = '{org}' AND trace_id = 't1'")
    text = "\n".join(line for (line,) in plan)
    after_key = text[text.index("PrimaryKey") :]
    condition = after_key[after_key.index("Condition") :][:200]
    assert "trace_id in ['t1', 't1']" in condition
    assert f"org in ['{org}', '{org}']" in condition
