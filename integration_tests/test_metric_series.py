"""Metrics of the real job beside the ledger that it writes: duplicates (late ones too), a death, quantiles, budgets."""

import signal
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from benchmarks.traffic import requests, template
from integration_tests.ground import Ground, Job, laid, wait_for
from integration_tests.traffic import all_files, renamed
from schemas.arrow import from_ipc
from schemas.budget_pb2 import EventBatch
from schemas.topics import BUDGET_LOG

_SERIES = "org, team, key_id, service, provider, model, operation, prompt_name, prompt_version"
_SUMS = ", ".join(
    f"toInt64(ifNull(sum({name}), 0)) AS {name}"
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens", "cost_nano")
)
_CALLS = "sum(multiIf(entry = 'charge', 1, reason IN ('stands after all', 'taken back in its trace'), 0, -1)) AS calls"
_SPANS = {"minute": "toStartOfMinute(time)", "hour": "toStartOfHour(time)", "day": "toDate(time)"}
_VIEWS = {"minute": "metrics_1m", "hour": "metrics_1h", "day": "metrics_1d"}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with laid(tmp_path_factory.mktemp("ground")) as made:
        yield made


@pytest.fixture
def job(ground: Ground, tmp_path) -> Iterator[Job]:
    made = Job(ground, tmp_path)
    yield made
    made.end()


def difference(ground: Ground, span: str) -> list[dict]:
    """Series of a span of time whose sums in the metrics are not those of the ledger."""
    time_of = f"if(day = toDate(0), toDateTime(0, 'UTC'), {_SPANS[span]})" if span != "day" else "day"
    ledger = f"SELECT {_SERIES}, {time_of} AS at, {_CALLS}, {_SUMS} FROM usage GROUP BY {_SERIES}, at"
    metrics = f"SELECT {_SERIES}, {span} AS at, sum(calls) AS calls, {_SUMS} FROM {_VIEWS[span]} GROUP BY {_SERIES}, at"
    names = "calls, input_tokens, output_tokens, cache_read_tokens, reasoning_tokens, cost_nano"
    rows = f"SELECT {_SERIES}, at, {names}"
    some = "WHERE (calls, input_tokens, output_tokens, cost_nano) != (0, 0, 0, 0)"
    one, other = f"({rows} FROM ({ledger}) {some})", f"({rows} FROM ({metrics}) {some})"
    return ground.rows(f"({one} EXCEPT {other}) UNION ALL ({other} EXCEPT {one})")


def agree(ground: Ground) -> None:
    """Waits until metrics and ledger say the same in each minute, hour and day."""
    wait_for(lambda: not any(difference(ground, span) for span in _SPANS), 240)


def done(ground: Ground, records: int) -> None:
    wait_for(lambda: ground.number("SELECT count() FROM requests") == records, 240)
    in_traces = "SELECT (SELECT sum(span_count) FROM traces) = (SELECT count() FROM spans)"
    wait_for(lambda: ground.number(in_traces) == 1, 240)


def test_the_sums_of_metrics_are_those_of_the_ledger_whatever_happens(ground: Ground, job: Job, tmp_path) -> None:
    templates = [template(number) for number in range(3)]
    captured = [renamed(path.read_bytes(), "series") for path in all_files()]
    first = [*captured, *requests(templates, 12, time.time_ns(), 1)]
    job.start()
    ground.send(*first, *first[:20], *first[-6:])
    done(ground, sent := len(first) + 26)
    agree(ground)
    assert ground.number("SELECT sum(calls) FROM metrics_1m") > 400

    # The store counts the minute in which the state began; the job counts the next.
    begun = time.time()
    wait_for(lambda: time.time() // 60 > begun // 60 and time.time() % 60 > 5, 70)
    second = requests(templates, 30, time.time_ns(), 2)
    ground.send(*second)
    wait_for(lambda: ground.number("SELECT count() FROM requests") > sent, 240)
    job.process.send_signal(signal.SIGKILL)
    job.process.wait()
    third = requests(templates, 6, time.time_ns(), 3)
    ground.send(*third, *second[:10])
    job.start()
    done(ground, sent := sent + len(second) + len(third) + 10)
    agree(ground)
    counted_by_the_job = f"SELECT sum(calls) FROM metrics_1m WHERE version < {2**63}"
    assert ground.number(counted_by_the_job) > 500
    _quantiles_agree(ground)
    job.end()

    # A job that has lost its state sees everything again: what it tells was counted before.
    (tmp_path / "fresh").mkdir()
    anew = Job(ground, tmp_path / "fresh").start()
    try:
        ground.send(*first[:2])
        done(ground, sent + 2)
        wait_for(lambda: ground.number(counted_by_the_job) == 0, 240)
        agree(ground)
    finally:
        anew.end()
    _budgets_heard_of_every_entry(ground)


def _quantiles_agree(ground: Ground) -> None:
    billed = (
        "(org, trace_id, span_id) IN (SELECT org, trace_id, span_id FROM usage GROUP BY org, trace_id, span_id"
        f" HAVING {_CALLS.removesuffix(' AS calls')} = 1)"
    )
    for q in (0.5, 0.95, 0.99):
        found = ground.number(
            f"SELECT histogram_quantile(sumMap(duration_ns), sum(duration_zeros), {q}) FROM metrics_1d"
        )
        values = [row["d"] for row in ground.rows(f"SELECT duration_ns AS d FROM spans WHERE {billed} ORDER BY d")]
        exact = values[max(1, -(-int(q * 100) * len(values) // 100)) - 1]
        assert found == pytest.approx(exact, rel=0.01)


def _budgets_heard_of_every_entry(ground: Ground) -> None:
    wanted = {row["entry_id"]: row["version"] for row in ground.rows("SELECT entry_id, version FROM usage")}
    heard: dict[str, int] = {}
    consumer = Consumer({"bootstrap.servers": ground.broker, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([BUDGET_LOG.name])
    deadline = time.monotonic() + 180
    while heard != wanted:
        assert time.monotonic() < deadline, f"{len(heard)} of {len(wanted)} entries"
        message = consumer.poll(1.0)
        if message is None or message.error():
            continue
        for event in EventBatch.FromString(message.value() or b"").events:
            assert message.key() == event.org.encode()
            rows = from_ipc(event.charges.rows)
            for entry, version in zip(rows["entry_id"].to_pylist(), rows["version"].to_pylist(), strict=True):
                heard[entry] = max(heard.get(entry, 0), version)
    consumer.close()
