"""Plain Python, Flink and Beam give the same rows from the same records, in any order and with duplicates."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.jars import fetch, jar_folder
from schemas.arrow import TABLES, from_ipc, to_ipc

CAPTURES = Path(__file__).parent.parent / "tests" / "captures"
BUCKETS = 4
RECEIVED_AT_MS = 1_790_000_000_000

# A row's key, and what depends on the order of arrival or on how far a trace has got.
KEYS = {
    "spans": ["org", "trace_id", "span_id"],
    "messages": ["org", "hash"],
    "span_logs": ["org", "id"],
    "requests": ["topic", "partition", "offset"],
    "dead_letters": ["topic", "partition", "offset", "position"],
    "traces": ["org", "trace_id"],
    "usage": ["org", "entry_id"],
}
VARIES = {"traces": {"fragment", "state", "version"}}

# Importing PyFlink or Beam warns.
pytestmark = pytest.mark.filterwarnings("ignore")

Rows = dict[str, dict[tuple, dict]]


@pytest.fixture(scope="module")
def records() -> list[tuple]:
    """The captures as rows of the Kafka source: in random order, some of them twice, one without a tenant."""
    seed = random.randrange(2**32)
    print("seed", seed)
    draw = random.Random(seed)
    files = sorted(CAPTURES.rglob("*.binpb"))
    chosen = files + draw.sample(files, len(files) // 4)
    draw.shuffle(chosen)
    rows = []
    for offset, file in enumerate(chosen):
        signal = b"logs" if ".logs." in file.name else b"traces"
        headers = {"org": b"acme", "team": b"red", "key_id": b"k", "signal": signal, "redact": b"1"}
        rows.append((file.read_bytes(), headers, RECEIVED_AT_MS, offset % 3, offset))
    return [*rows, (b"stray", {"signal": b"traces"}, RECEIVED_AT_MS, 0, len(rows))]


def _batches(records: list[tuple]) -> Iterator[pa.Table]:
    from pipelines.flink.source import Record, raw_table

    for start in range(0, len(records), 40):
        yield raw_table("spans.raw", [Record(*record) for record in records[start : start + 40]])


def _settings():
    from transforms.billing.fold import BillSettings
    from transforms.traces.fold import AssembleSettings

    return AssembleSettings(quiet_gap_ns=10**9, horizon_ns=600 * 10**9), BillSettings(horizon_ns=661 * 10**9)


class Folded:
    """A fold over the buckets of its rows, in plain Python."""

    def __init__(self, fold, buckets_of) -> None:
        self.fold = fold
        self.buckets_of = buckets_of
        self.states: dict[int, Mapping[str, bytes]] = {}
        self.wakes: dict[int, int | None] = {}

    def give(self, rows: pa.Table, now: int) -> Iterator[tuple[str, pa.Table]]:
        from pipelines.stateless import split_by_bucket
        from transforms.folds.step import apply

        for bucket, part in split_by_bucket(rows, self.buckets_of(rows, BUCKETS)):
            state = self.states.get(bucket, {})
            step = self.fold(state, part, now)
            self.states[bucket], self.wakes[bucket] = apply(state, step.writes), step.wake_at
            yield from step.out

    def end(self) -> Iterator[tuple[str, pa.Table]]:
        from pipelines.beam.fold_dofn import run_down

        for bucket, state in self.states.items():
            for step in run_down(self.fold, state, self.wakes[bucket]):
                yield from step.out


def in_plain_python(records: list[tuple]) -> Rows:
    from pipelines.stateless import observe_records, trace_buckets
    from schemas.limits import LIMITS
    from schemas.price_book import compile_book
    from transforms.billing.fold import call_buckets, make_bill
    from transforms.traces.fold import make_assemble

    traces, calls = _settings()
    book, now = compile_book(), RECEIVED_AT_MS * 10**6
    assemble, bill = Folded(make_assemble(traces), trace_buckets), Folded(make_bill(calls), call_buckets)
    told: list[tuple[str, pa.Table]] = []
    for batch in _batches(records):
        observed = observe_records(batch, book, LIMITS, "0.1.0")
        told.extend(observed.tables.items())
        told.extend(assemble.give(observed.skeletons, now))
        now += 300 * 10**6
    told.extend(assemble.end())
    for claims in [rows for channel, rows in told if channel == "claims"]:
        told.extend(bill.give(claims, now))
    told.extend(bill.end())
    return _latest(told)


def in_beam(records: list[tuple], folder: Path) -> Rows:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.pipeline import Pipeline

    from pipelines.beam.observe import observe_batches

    options = PipelineOptions(["--runner=DirectRunner"])
    with Pipeline(options=options) as pipeline:
        batches: Any = pipeline | beam.Create([to_ipc(batch) for batch in _batches(records)])
        found = observe_batches(batches, *_settings(), RECEIVED_AT_MS * 10**6, BUCKETS)
        for table, rows in found.items():
            named = rows | f"name {table}" >> beam.Map(lambda ipc, table=table: (table, ipc))
            _ = named | f"keep {table}" >> beam.Map(_keep, str(folder))
    return _read(folder)


def in_flink(records: list[tuple], folder: Path, complete: Callable[[Rows], bool]) -> Rows:
    from pyflink.common import Types
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway

    from pipelines.flink.jvm import start_jvm
    from pipelines.flink.local import configuration
    from pipelines.flink.observe import observe
    from pipelines.flink.settings import ObserveSettings, load_local

    settings_file = folder / "settings.json"
    asked = {"brokers": "", "store_url": "", "folder": str(folder), "buckets": BUCKETS, "quiet_gap_s": 1}
    settings_file.write_text(json.dumps(asked | {"batch_bytes": 100_000}))
    spec = Path(__file__).parent.parent / "jobs" / "observe.yaml"
    settings, place = load_local(ObserveSettings, spec, settings_file)
    jvm = start_jvm(fetch("flink", jar_folder(), print), folder / "flink.log", 512)
    try:
        env = StreamExecutionEnvironment.get_execution_environment(configuration(settings, place, 0))
        env.set_parallelism(1)
        octets = Types.PRIMITIVE_ARRAY(Types.BYTE())
        headers = Types.MAP(Types.STRING(), octets)
        row = Types.ROW([octets, headers, Types.LONG(), Types.LONG(), Types.LONG()])
        source = env.from_collection(records, row)
        for stream in observe(_kept_open(env, source, row), settings):
            stream.map(partial(_keep_element, str(folder)), output_type=Types.STRING()).disable_chaining()
        client = env.execute_async("three engines")
        ended = client.get_job_execution_result()
        deadline = time.monotonic() + 200
        while not complete(_read(folder)) and time.monotonic() < deadline:
            assert not ended.done(), ended.result()
            time.sleep(0.3)
        client.cancel().result()
        get_gateway().shutdown()
        return _read(folder)
    finally:
        jvm.kill()
        jvm.wait()


def _kept_open(env, source, row):
    """Timers of processing time do not fire once the input has ended: a second input keeps it open."""
    from pyflink.common import Types, WatermarkStrategy
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource

    numbers = env.from_source(NumberSequenceSource(0, 10_000), WatermarkStrategy.no_watermarks(), "open", Types.LONG())
    return source.union(numbers.flat_map(_nothing, output_type=row))


def _nothing(number: int) -> Iterator[tuple]:
    time.sleep(0.1)
    yield from ()


def _keep_element(folder: str, element: tuple[str, int, bytes]) -> str:
    _keep((element[0], bytes(element[2])), folder)
    return element[0]


def _keep(named: tuple[str, bytes], folder: str) -> None:
    """Writes rows as a file of their own, whole or not at all."""
    table, rows = named
    path = Path(folder) / f"{table}-{random.getrandbits(64):016x}"
    path.with_suffix(".part").write_bytes(rows)
    path.with_suffix(".part").rename(path.with_suffix(".arrow"))


def _read(folder: Path) -> Rows:
    return _latest([(path.name.split("-")[0], from_ipc(path.read_bytes())) for path in folder.glob("*.arrow")])


def _latest(told: list[tuple[str, pa.Table]]) -> Rows:
    """What the store shows of `told`: per table and key the row of the highest version."""
    found: Rows = {table: {} for table in TABLES}
    for table, rows in told:
        if table not in TABLES:
            continue
        for row in rows.to_pylist():
            key = tuple(row[name] for name in KEYS[table])
            before = found[table].get(key)
            if before is None or row.get("version", 0) >= before.get("version", 0):
                found[table][key] = row
    return found


def _compared(rows: Rows) -> dict[str, dict[tuple, dict]]:
    return {
        table: {
            key: {name: value for name, value in row.items() if name not in VARIES.get(table, ())}
            for key, row in sorted(of_table.items())
        }
        for table, of_table in rows.items()
    }


@pytest.fixture(scope="module")
def plain(records) -> Rows:
    rows = in_plain_python(records)
    assert sum(row["span_count"] for row in rows["traces"].values()) == len(rows["spans"]) > 300
    assert rows["usage"] and rows["messages"]
    assert [row["error"] for row in rows["dead_letters"].values()] == ["MissingTenant"]
    return rows


def _assert_equal(found: Rows, wanted: Rows) -> None:
    one, other = _compared(found), _compared(wanted)
    for table in TABLES:
        assert one[table].keys() == other[table].keys(), table
        for key, row in other[table].items():
            assert one[table][key] == row, (table, key)


def test_beam_gives_the_rows_of_plain_python(records, plain, tmp_path):
    _assert_equal(in_beam(records, tmp_path), plain)


def test_flink_gives_the_rows_of_plain_python(records, plain, tmp_path):
    def complete(found: Rows) -> bool:
        """Every row is there. (The last word on a call comes seconds after its traces.)"""
        return _compared(found) == wanted

    wanted = _compared(plain)
    _assert_equal(in_flink(records, tmp_path, complete), plain)
