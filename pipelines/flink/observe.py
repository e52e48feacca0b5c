"""The observe job: OTLP records from Kafka to rows in the store.

What reaches the store in which order matters twice: the `requests` row of a record says that its spans are
queryable, so it follows them through the same sink task; and the changes of metrics follow the `usage` rows that they
are about, so that the store can count a minute anew when it is asked to. `traces` and `usage` have a task of their own,
so that neither waits for the other; inserting waits for the store without the interpreter's lock. It gathers what the
buckets of its subtask say in one tick: an insert of each bucket's few rows costs the store three times as much.

Each task thread runs one Python operator (`task.py`): `batch` and `observe` are fused into one by PyFlink, and
what follows a Python operator is not chained to it.
"""

import time
from dataclasses import dataclass
from functools import partial

from pyflink.common import Types
from pyflink.datastream import DataStream, OutputTag, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from pipelines.flink import batcher, fold_operator, sink
from pipelines.flink.alerts import AlertGraph, with_alerts
from pipelines.flink.batcher import BATCH, Batcher
from pipelines.flink.charges import feed_budgets
from pipelines.flink.fold_operator import ELEMENT, Feed, FoldOperator
from pipelines.flink.keys import MAX_PARALLELISM, spread_keys, subtask_of
from pipelines.flink.observe_operator import SKELETONS, ObserveOperator
from pipelines.flink.settings import ObserveSettings
from pipelines.flink.sink import GatheringWriter, StoreWriter
from pipelines.flink.source import group_of, kafka_records
from pipelines.stateless import FACTS
from pipelines.store import StoreSettings
from transforms.alerts import series as alert_series
from transforms.billing.fold import BillSettings, call_buckets, make_bill
from transforms.folds import segments
from transforms.folds.step import Fold
from transforms.metrics.fold import MetricsSettings, make_metrics, org_buckets
from transforms.traces.fold import AssembleSettings, make_assemble

CLAIMS = OutputTag("claims", ELEMENT)
CHANGES = OutputTag("changes", ELEMENT)
LEDGER = OutputTag("usage", ELEMENT)
FOLDED = ("traces", "usage", "dead_letters")
METRICS = ("metrics_1m",)
SERIES = OutputTag("metrics_1m", ELEMENT)

# How much shorter metrics hold a minute than traces are kept: clocks that are ahead, and what waits for the store.
_SLACK_S = 120

# The keyed states by uid and name, with the version of what is written in them: what an upgrade must be able to read.
STATES = {
    "batch": {batcher.RECORDS: batcher.SCHEMA_VERSION},
    "assemble": {fold_operator.SEGMENTS: segments.SCHEMA_VERSION},
    "bill": {fold_operator.SEGMENTS: segments.SCHEMA_VERSION},
    "write-traces": {sink.GATHERED: sink.SCHEMA_VERSION},
    "metrics": {fold_operator.SEGMENTS: segments.SCHEMA_VERSION},
    "write-metrics": {sink.GATHERED: sink.SCHEMA_VERSION},
    "alerts": {fold_operator.SEGMENTS: alert_series.SCHEMA_VERSION},
}


def build(env: StreamExecutionEnvironment, settings: ObserveSettings) -> None:
    """Adds the whole graph to `env`, from Kafka to the store; the caller executes it."""
    env.set_parallelism(settings.parallelism)
    env.set_max_parallelism(MAX_PARALLELISM)
    tables = StreamTableEnvironment.create(env)
    records = kafka_records(tables, settings.brokers, settings.topic, group_of("observe"), settings.kafka)
    # Row(body=b"\n\xa4...", headers={"org": b"local", "signal": b"traces"}, 1767225600000, 2, 41)
    facts, folded = observe(records, settings, settings.store)
    written = facts.process(StoreWriter(settings.store, FACTS), output_type=ELEMENT)
    _named(written, "write facts").disable_chaining()
    changes = Feed(CHANGES.tag_id, partial(org_buckets, buckets=settings.buckets))
    ledger = (Feed(LEDGER.tag_id, partial(org_buckets, buckets=1)),) if settings.budget_topic else ()
    stored = _gathered(folded, FOLDED, "write traces", settings, changes, *ledger)
    # ("changes", 2, Arrow IPC of those METRIC_CHANGES whose organisation belongs to bucket 2)
    series = metrics(stored.get_side_output(CHANGES).disable_chaining(), settings)
    watched = (Feed(SERIES.tag_id, partial(org_buckets, buckets=settings.buckets)),) if settings.alert_topic else ()
    stored_series = _gathered(series, METRICS, "write metrics", settings, *watched)
    if settings.alert_topic:
        places = (settings.brokers, settings.kafka, settings.store, SERIES.tag_id, settings.buckets)
        watch = AlertGraph(*places, topic=settings.alert_topic)
        with_alerts(stored_series.get_side_output(SERIES).disable_chaining(), watch)
    if settings.budget_topic:
        feed_budgets(tables, stored.get_side_output(LEDGER), settings)


def observe(
    records: DataStream, settings: ObserveSettings, prices: StoreSettings | None = None
) -> tuple[DataStream, DataStream]:
    """From rows in the order of Record to the rows of the tables: (what a span says, what its trace says).

    prices: the store whose contracts hold; None: the default price book alone.
    """
    lanes = spread_keys(settings.parallelism)
    gather = Batcher(settings.topic, settings.batch_bytes, settings.linger_ms)
    # By offset too: producers fill one partition for a while, and then another.
    laned = records.key_by(lambda row: lanes[(row[3] + row[4]) % len(lanes)], key_type=Types.LONG())
    batches = _named(laned.process(gather, output_type=BATCH), "batch")
    # Arrow IPC of RAW: ("spans.raw", 2, 41, "local", "", "", "traces", True, 1767225600000000000, b"\n\xa4"), ...
    observer = ObserveOperator(settings.limits, settings.buckets, prices)
    facts = _named(batches.process(observer, output_type=ELEMENT), "observe")
    # ("spans", 0, Arrow IPC of SPANS), ("messages", 0, ...), ..., ("requests", 0, Arrow IPC of REQUESTS)
    skeletons = facts.get_side_output(SKELETONS).disable_chaining()
    # ("skeletons", 3, Arrow IPC of those SKELETONS that belong to bucket 3)
    assemble = partial(make_assemble, assemble_settings(settings))
    calls = Feed(CLAIMS.tag_id, partial(call_buckets, buckets=settings.buckets))
    assembled = _folded(skeletons, FoldOperator(assemble, calls), "assemble", settings.buckets)
    # ("traces", 0, Arrow IPC of TRACES), ("usage", 0, Arrow IPC of USAGE), ("changes", 0, Arrow IPC of METRIC_CHANGES)
    claims = assembled.get_side_output(CLAIMS).disable_chaining()
    # ("claims", 1, Arrow IPC of those CLAIMS whose call belongs to bucket 1)
    billed = _folded(claims, FoldOperator(partial(make_bill, bill_settings(settings))), "bill", settings.buckets)
    # ("usage", 0, Arrow IPC of USAGE): what was billed by several traces, taken back
    return facts, assembled.union(billed)


def metrics(changes: DataStream, settings: ObserveSettings) -> DataStream:
    """From changes of metrics to one-minute series: ("metrics_1m", 2, Arrow IPC of those METRICS whose organisation
    belongs to bucket 2), and now and then ("recounts", 0, Arrow IPC of RECOUNTS), which concern the store alone."""
    make = MakeMetrics(metrics_settings(settings))
    series = Feed(*METRICS, partial(org_buckets, buckets=settings.buckets), aside=False)
    return _folded(changes, FoldOperator(make, series), "metrics", settings.buckets)


def assemble_settings(settings: ObserveSettings) -> AssembleSettings:
    return AssembleSettings(
        quiet_gap_ns=int(settings.quiet_gap_s * 10**9),
        horizon_ns=int(settings.horizon_s * 10**9),
        tick_ns=settings.tick_ms * 10**6,
        max_trace_spans=settings.limits.trace_spans,
    )


def bill_settings(settings: ObserveSettings) -> BillSettings:
    """A call is kept longer than its traces, so that their last word finds it."""
    return BillSettings(
        horizon_ns=int((settings.horizon_s + settings.quiet_gap_s + 60) * 10**9), tick_ns=settings.tick_ms * 10**6
    )


def metrics_settings(settings: ObserveSettings) -> MetricsSettings:
    """A minute is held for less than its traces: see transforms/metrics/fold.py."""
    keep = settings.horizon_s - _SLACK_S
    return MetricsSettings(
        keep_ns=int(max(0, keep) * 10**9), tick_ns=settings.tick_ms * 10**6, series=settings.limits.series_per_minute
    )


@dataclass(frozen=True)
class MakeMetrics:
    """Makes the fold of a task when it opens."""

    settings: MetricsSettings

    def __call__(self) -> Fold:
        return make_metrics(self.settings, time.time_ns())


def _gathered(
    elements: DataStream, tables: tuple[str, ...], name: str, settings: ObserveSettings, *feeds: Feed
) -> DataStream:
    """Writes `tables`: all buckets of a subtask in one lane, that of the same subtask. Emits what `feeds` say."""
    lanes = spread_keys(settings.parallelism)
    laned = elements.key_by(lambda element: lanes[subtask_of(element[1], len(lanes))], key_type=Types.LONG())
    writer = GatheringWriter(settings.store, tables, settings.batch_bytes, settings.linger_ms, *feeds)
    return _named(laned.process(writer, output_type=ELEMENT), name).disable_chaining()


def _folded(elements: DataStream, operator: FoldOperator, name: str, buckets: int) -> DataStream:
    """The fold over `elements`, those of one bucket together."""
    keys = spread_keys(buckets)
    bucketed = elements.key_by(lambda element: keys[element[1]], key_type=Types.LONG())
    return _named(bucketed.process(operator, output_type=ELEMENT), name)


def _named(stream: DataStream, name: str) -> DataStream:
    """The uid is the key of the operator's state in a checkpoint: it never changes."""
    return stream.name(name).uid(name.replace(" ", "-"))
