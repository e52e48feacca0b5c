"""The topics of the log: how they are made, and what they are held against."""

from dataclasses import dataclass

# A request of the gateway's limit (20 MiB) must fit into one record.
MAX_RECORD_BYTES = 32 * 2**20
_MOST_REPLICAS = 3
_NEVER = str(2**63 - 1)  # Kafka: the operating system writes it in its own time


@dataclass(frozen=True)
class Topic:
    """One topic. partitions: of a new one; an existing one may have more.

    retention_ms: how long a record stays, -1 for ever. flush: whether one broker answers only when it is on its disk.
    """

    name: str
    partitions: int = 4
    retention_ms: int = 7 * 86_400_000
    max_message_bytes: int = MAX_RECORD_BYTES
    flush: bool = True

    def replicas(self, brokers: int) -> int:
        """On how many of `brokers` each record lies."""
        return max(1, min(brokers, _MOST_REPLICAS))

    def settings(self, replicas: int) -> dict[str, str]:
        """Kafka's topic settings.

        A record on several brokers is confirmed by two of them at least; on one broker it is confirmed by its disk,
        unless it can be derived again.
        """
        found = {
            "cleanup.policy": "delete",
            "retention.ms": str(self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            # The broker's clock: a sender's wrong one would let records go too early or never.
            "message.timestamp.type": "LogAppendTime",
            "min.insync.replicas": str(min(replicas, 2)),
        }
        return found | ({"flush.messages": "1" if self.flush else _NEVER} if replicas == 1 else {})


SPANS = Topic("spans.raw")

# The key of a record is the organisation in all three. What is decided is a function of the first, which is kept.
BUDGET_LOG = Topic("budget.log", retention_ms=-1)
# Both can be derived again from the log, so that they need not wait for a disk.
BUDGET_REPLIES = Topic("budget.replies", retention_ms=3_600_000, flush=False)
BUDGET_EVENTS = Topic("budget.events", flush=False)
# Rows on their way to the store.
BUDGET_JOURNAL = Topic("budget.journal", flush=False)

# What changed of incidents, CloudEvents by organisation.
ALERTS = Topic("alerts", flush=False)

TOPICS = (SPANS, BUDGET_LOG, BUDGET_REPLIES, BUDGET_EVENTS, BUDGET_JOURNAL, ALERTS)
