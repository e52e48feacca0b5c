"""What the gateway tells Prometheus about itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_ACK_BUCKETS = (0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """A registry of its own, so that two gateways in one process do not share numbers."""

    def __init__(self, inflight_bytes: Callable[[], float], log_up: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        # Items whose records the log confirmed, by organisation: the left side of the completeness equation. A rule of
        # deploy/prometheus/rules.yaml makes llmops_spans_received_total of it.
        self.received = {
            "traces": Counter(
                "llmops_gateway_spans_received_total", "Spans acknowledged", ["org"], registry=self.registry
            ),
            "logs": Counter(
                "llmops_gateway_log_records_received_total",
                "Log records acknowledged",
                ["org"],
                registry=self.registry,
            ),
        }
        # Items the sender was told are rejected: malformed, beyond a limit, or metrics.
        self.rejected = Counter(
            "llmops_items_rejected_total",
            "Items rejected in a partial success",
            ["org", "signal"],
            registry=self.registry,
        )
        # Every answer, by its HTTP status or gRPC code.
        self.requests = Counter(
            "llmops_gateway_requests_total",
            "Requests answered",
            ["transport", "signal", "status"],
            registry=self.registry,
        )
        # From the end of the request's header to the answer, of requests that were acknowledged.
        self.acknowledged = Histogram(
            "llmops_gateway_acknowledgement_seconds",
            "Time to an acknowledgement",
            ["transport"],
            buckets=_ACK_BUCKETS,
            registry=self.registry,
        )
        inflight = Gauge("llmops_gateway_inflight_bytes", "Bytes held in memory", registry=self.registry)
        inflight.set_function(inflight_bytes)
        up = Gauge("llmops_gateway_log_up", "Whether the broker answers", registry=self.registry)
        up.set_function(log_up)
