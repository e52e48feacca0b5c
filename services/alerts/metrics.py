"""What the notifier tells Prometheus about itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """A registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # What was heard: new states of incidents, and what was known before (repetitions).
        self.heard = Counter("llmops_alert_messages_total", "Messages heard", ["topic", "news"], registry=self.registry)
        # Tries by their outcome: delivered | failed | forbidden (never tried again).
        self.tries = Counter(
            "llmops_alert_deliveries_total", "Deliveries tried", ["kind", "outcome"], registry=self.registry
        )
        # Notifications that failed at least once and are still to be delivered.
        self.waiting = Gauge("llmops_alert_deliveries_waiting", "Notifications not delivered", registry=self.registry)
        # Seconds from the moment of the data that fired to the delivery, of the last delivery.
        self.delay = Gauge("llmops_alert_delivery_delay_seconds", "From data to delivery", registry=self.registry)
        # Whether the log and the control database answered last.
        self.up = Gauge("llmops_alert_up", "Whether it answers", ["part"], registry=self.registry)
