"""What the store counts of `usage` and `spans` against what the folds told of the same spans."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client

from pipelines.migrate import migrate
from pipelines.recount import day_statement
from pipelines.sinks import StoreSink
from pipelines.store import connect_creating
from schemas.arrow import METRICS, RAW, RECOUNTS, from_ipc, to_ipc
from schemas.limits import LIMITS
from schemas.migrations import CLICKHOUSE
from schemas.price_book import compile_book
from tests.store_process import running_store
from tests.transforms.metering import NAMES, Metered
from tests.transforms.records import CAPTURES, raw
from tests.transforms.skeletons import SECOND
from tests.transforms.spans import expected
from transforms.billing.fold import BillSettings
from transforms.metrics.fold import MetricsSettings
from transforms.metrics.histogram import quantile
from transforms.observe import Observed, observe
from transforms.traces.fold import AssembleSettings

Row = dict[str, Any]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, StoreSink]]:
    with (
        running_store(tmp_path_factory.mktemp("store") / "data") as process,
        connect_creating(process.settings) as client,
    ):
        migrate(client, CLICKHOUSE, time.time_ns())
        sink = StoreSink(process.settings)
        yield client, sink
        sink.close()


@pytest.fixture(scope="module")
def told(store: tuple[Client, StoreSink]) -> Metered:
    """All captures, each an organisation of its own, through the folds in random groups and into the store."""
    _client, sink = store
    observed = _observed()
    rows = observed.skeletons.to_pylist()
    # The captures are old: a state that began before them holds their minutes for ever.
    held = MetricsSettings(keep_ns=10**18)
    run = Metered(AssembleSettings(), BillSettings(), held, 0)
    run.chain.traces.now = max(row["start_time"] for row in rows)
    draw, rest = Random(7), list(rows)
    draw.shuffle(rest)
    while rest:
        size = draw.randint(20, 200)
        run.send(rest[:size], SECOND)
        rest = rest[size:]
    run.send([], 700 * SECOND).send([], 700 * SECOND)
    sink.write("spans", to_ipc(observed.tables["spans"]))
    for part in (run.chain.traces, run.chain.calls):
        for name, found in part.out:
            if name == "usage":
                sink.write("usage", to_ipc(found))
    return run


def _observed() -> Observed:
    named = [(name, file) for name, entry in expected().items() for file in entry["files"] if ".logs." not in file]
    records = raw([(CAPTURES / file).read_bytes() for _, file in named])
    orgs = pa.array([name for name, _ in named], pa.string())
    at = RAW.get_field_index("org")
    return observe(records.set_column(at, RAW.field(at), orgs), compile_book(), LIMITS, "test")


def _fold_rows(run: Metered) -> dict[tuple, Row]:
    found = {}
    for cell, row in run.stored.items():
        kept = {name: value for name, value in row.items() if name not in (*NAMES, "minute", "version")}
        kept |= {name: dict(value) for name, value in kept.items() if name in ("duration_ns", "ttft_ns", "tpot_ns")}
        if any(kept.values()):
            found[cell] = kept
    return found


def _stored_rows(client: Client) -> dict[tuple, Row]:
    names = [name for name in METRICS.names if name not in (*NAMES, "minute", "version")]
    sql = f"SELECT {', '.join(NAMES)}, toUnixTimestamp(minute), {', '.join(names)} FROM metrics_1m"
    found = {}
    for row in client.query(sql).result_rows:
        values = dict(zip(names, row[len(NAMES) + 1 :], strict=True))
        if any(values.values()):
            found[*row[: len(NAMES) + 1]] = values
    return found


def _recount_all(sink: StoreSink, run: Metered) -> None:
    cells = sorted({(cell[0], cell[-1]) for cell in run.stored})
    sink.recount(pa.table({"org": [org for org, _ in cells], "minute": [m for _, m in cells]}, schema=RECOUNTS))


def test_the_store_counts_what_the_folds_told(store: Any, told: Metered) -> None:
    client, sink = store
    _recount_all(sink, told)
    fold, counted = _fold_rows(told), _stored_rows(client)
    assert sum(row["errors"] for row in fold.values()) > 10
    assert sum(row["calls"] for row in fold.values()) > 100
    assert counted.keys() == fold.keys()
    for cell, row in fold.items():
        assert counted[cell] == row, cell


def test_a_recount_stands_above_rows_of_the_fold_and_zeroes_a_series_that_is_no_more(store: Any, told: Metered) -> None:
    client, sink = store
    _recount_all(sink, told)
    before = _stored_rows(client)
    stray = from_ipc(to_ipc(next(rows for name, rows in told.run.out if name == "metrics_1m"))).slice(0, 1)
    gone = stray.set_column(METRICS.get_field_index("service"), "service", pa.array(["gone"]))
    for rows in (stray, gone):
        sink.write("metrics_1m", to_ipc(rows.cast(METRICS)))
    assert _stored_rows(client).keys() - before.keys()
    _recount_all(sink, told)
    assert _stored_rows(client) == before


def test_hours_and_days_add_up_minutes_that_were_written_again_once(store: Any, told: Metered) -> None:
    client, sink = store
    for _ in range(2):
        _recount_all(sink, told)
    sums = "sum(calls), sum(input_tokens), sum(cost_nano), sum(length(duration_ns)) > 0"
    usage = client.query(
        "SELECT sum(multiIf(entry = 'charge', 1, reason LIKE 'stands%' OR reason LIKE 'taken%', 0, -1)),"
        " sum(input_tokens), sum(cost_nano), true FROM usage"
    ).result_rows
    for view in ("metrics_1m", "metrics_1h", "metrics_1d"):
        assert client.query(f"SELECT {sums} FROM {view}").result_rows == usage


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 1.0])
def test_the_quantile_of_sql_is_that_of_python_and_within_one_percent(store: Any, told: Metered, q: float) -> None:
    client, sink = store
    _recount_all(sink, told)
    histogram = "sumMap(duration_ns), sum(duration_zeros)"
    sql = f"SELECT histogram_quantile({histogram}, {q}), {histogram} FROM metrics_1d"
    [(found, histogram, zeros)] = client.query(sql).result_rows
    assert found == pytest.approx(quantile(histogram, zeros, q), rel=1e-9)
    exact = client.query(
        "SELECT duration_ns FROM spans WHERE (org, trace_id, span_id) IN (SELECT org, trace_id, span_id FROM usage"
        " GROUP BY org, trace_id, span_id HAVING countIf(entry = 'charge') >"
        " countIf(entry = 'reversal' AND reason NOT IN ('stands after all', 'taken back in its trace')))"
        " ORDER BY duration_ns"
    ).result_rows
    assert found == pytest.approx(exact[max(1, int(np.ceil(q * len(exact)))) - 1][0], rel=0.01)


def test_past_days_are_counted_whole_from_the_ledger_alone(store: Any, told: Metered) -> None:
    client, sink = store
    _recount_all(sink, told)
    before = _stored_rows(client)
    client.command("TRUNCATE TABLE metrics_1m_data")
    for (day,) in client.query(
        "SELECT DISTINCT day FROM usage_data UNION DISTINCT SELECT day FROM spans_data"
    ).result_rows:
        client.command(day_statement(day))
    assert _stored_rows(client) == before


def test_the_queries_of_the_document_run_and_what_must_add_up_does(store: Any, told: Metered) -> None:
    client, sink = store
    _recount_all(sink, told)
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    [block] = re.findall(r"```sql\n(.*?)```", document, re.DOTALL)
    statements = [text for text in re.sub(r"^--.*\n", "", block, flags=re.MULTILINE).split(";") if text.strip()]
    slow, rates, others, differences = [client.query(text).result_rows for text in statements]
    assert len(slow) > 10 and rates
    assert others == differences == []
