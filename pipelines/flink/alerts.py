"""Alerts in a job: the fold over what the job says of metrics or of budgets, and its incidents to their topic.

At least once: an incident's id and all that is told of it come from the data, so that a repetition is known as one.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from pyflink.common import Types
from pyflink.datastream import DataStream, ProcessFunction, RuntimeContext

from pipelines.alert_feed import RuleFeed
from pipelines.flink.context import Context
from pipelines.flink.fold_operator import ELEMENT, Element, FoldOperator
from pipelines.flink.keys import spread_keys
from pipelines.flink.ship import Shipped
from pipelines.flink.task import begin_task, is_cancelled
from pipelines.store import StoreSettings
from schemas.arrow import from_ipc
from schemas.cloudevents import headers
from schemas.kafka import KafkaAccess
from schemas.topics import ALERTS
from transforms.alerts.fold import AlertSettings, make_alerts

SOURCE = "/spanmill/alerts"
_POLL_S = 0.5


@dataclass(frozen=True)
class AlertGraph:
    """brokers, kafka: of the log. topic: of the incidents. store: whose rules hold. channel: of the rows to look at,
    which are of BUDGET_BALANCES with `budgets`, else of METRICS. buckets: how many there are."""

    brokers: str
    kafka: KafkaAccess
    store: StoreSettings
    channel: str
    buckets: int
    budgets: bool = False
    topic: str = ALERTS.name


class AlertOperator(FoldOperator):
    """Element: (channel, bucket of the organisation, rows as Arrow IPC). Emits ("incidents", 0, INCIDENTS)."""

    def __init__(self, graph: AlertGraph) -> None:
        self._graph = graph
        self._feeds = {}

    def open(self, runtime_context: RuntimeContext) -> None:
        self._rules = RuleFeed(self._graph.store, given_up=is_cancelled)
        settings = AlertSettings(budgets=self._graph.budgets, run=uuid4().hex)
        self._make_fold = partial(make_alerts, self._rules.current, settings)
        super().open(runtime_context)

    def process_element(self, value: Element, ctx: Context) -> Iterator:
        # Without rules there is nothing to keep; what there was before ends at the next wake-up.
        if value[0] == self._graph.channel and self._rules.current(time.time_ns()):
            yield from super().process_element(value, ctx)

    def close(self) -> None:
        self._rules.close()


class IncidentWriter(Shipped, ProcessFunction):
    """Element: ("incidents", 0, Arrow IPC of INCIDENTS). Emits nothing: counts as processed when the log has it."""

    def __init__(self, brokers: str, kafka: KafkaAccess, topic: str) -> None:
        self._brokers, self._kafka, self._topic = brokers, kafka, topic

    def open(self, runtime_context: RuntimeContext) -> None:
        begin_task()
        asked = {"bootstrap.servers": self._brokers, "acks": "all", "enable.idempotence": True, "linger.ms": 0}
        self._producer = Producer({**asked, "log_level": 0, **self._kafka.librdkafka()})

    def process_element(self, value: Element, ctx: ProcessFunction.Context) -> Iterator[Element]:
        self._failed: KafkaError | None = None
        for row in from_ipc(bytes(value[2])).to_pylist():
            row["labels"] = json.loads(row["labels"])
            id_ = f"{row['incident_id']}-{row['state']}-{row['at']}"
            named = headers(id_, SOURCE, f"spanmill.alert.{row['state']}", row["org"], row["at"])
            body = json.dumps(row).encode()
            self._producer.produce(self._topic, body, row["org"].encode(), headers=named, on_delivery=self._answered)
        while self._producer.flush(_POLL_S) and not is_cancelled():
            pass
        if self._failed:
            raise KafkaException(self._failed)
        yield from ()

    def _answered(self, error: KafkaError | None, _message: Message) -> None:
        self._failed = self._failed or error


def with_alerts(rows: DataStream, graph: AlertGraph, name: str = "alerts") -> None:
    """Adds alerts behind `rows`, whose elements carry the bucket of their organisation; nothing is chained to them.

    name: of the operator, and its uid, which is the key of its state in a checkpoint.
    """
    keys = spread_keys(graph.buckets)
    bucketed = rows.key_by(lambda element: keys[element[1]], key_type=Types.LONG())
    found = bucketed.process(AlertOperator(graph), output_type=ELEMENT).name(name).uid(name).disable_chaining()
    # ("incidents", 0, Arrow IPC of INCIDENTS)
    writer = IncidentWriter(graph.brokers, graph.kafka, graph.topic)
    found.process(writer, output_type=ELEMENT).name(f"tell {name}").uid(f"tell-{name}").disable_chaining()
