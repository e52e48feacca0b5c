"""What the budget service tells Prometheus about itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_METHODS = ("Reserve", "Settle", "Release", "Extend", "Balance")
_BUCKETS = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5)


class Metrics:
    """A registry of its own, so that two services in one process do not share numbers."""

    def __init__(self, waiting: Callable[[], float], log_up: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        # Calls that the log decided, by method (Reserve ...) and outcome (accepted, refused ...).
        self.decisions = Counter(
            "llmops_budget_decisions_total", "Calls decided", ["method", "outcome"], registry=self.registry
        )
        # Calls without a decision, by what they got instead: open (go on), closed (an error).
        self.undecided = Counter(
            "llmops_budget_undecided_total", "Calls without a decision", ["method", "policy"], registry=self.registry
        )
        # What was let through by the policy `open`, of which nothing was held: the possible overspend.
        self.open_nano = Counter(
            "llmops_budget_open_nano_dollars_total", "Estimates let through undecided", ["org"], registry=self.registry
        )
        self.seconds = Histogram(
            "llmops_budget_decision_seconds", "Time to a decision", ["method"], buckets=_BUCKETS, registry=self.registry
        )
        # Calls that were not taken: no valid key, too many at once, malformed. By HTTP status.
        self.not_taken = Counter(
            "llmops_budget_not_taken_total", "Calls not taken", ["method", "status"], registry=self.registry
        )
        Gauge("llmops_budget_waiting", "Calls that wait", registry=self.registry).set_function(waiting)
        Gauge("llmops_budget_log_up", "Whether the log answers", registry=self.registry).set_function(log_up)
        # From the beginning, at zero: a rate does not see the first of a series that was not there before.
        for method in _METHODS:
            self.decisions.labels(method, "accepted")
            self.undecided.labels(method, "closed")
            self.seconds.labels(method)
        self.decisions.labels("Reserve", "refused")
        self.undecided.labels("Reserve", "open")
