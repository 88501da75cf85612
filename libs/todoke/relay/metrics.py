"""What `/metrics` shows (Prometheus text format). Labels carry service, topic and route templates, never ids."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Histogram bounds in seconds."""


class Metrics:
    """The metrics of one process; each service has its own children."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels, registry = ["service"], self.registry
        self.applied = Counter("todoke_consumer_records", "Records applied", labels, registry=registry)
        self.refused = Counter(
            "todoke_consumer_refused", "Records handed out for partitions we do not hold", labels, registry=registry
        )
        self.parked = Counter("todoke_consumer_parks", "Subjects parked", labels, registry=registry)
        self.held = Gauge("todoke_held", "Subjects held now", labels, registry=registry)
        self.breaker = Gauge("todoke_breaker_open", "1 while consuming is stopped", labels, registry=registry)
        self.mismatches = Counter(
            "todoke_log_mismatches", "Partitions heard again from their beginning", labels, registry=registry
        )
        self.lost_races = Counter(
            "todoke_consumer_lost_races", "Batches dropped: another owner", labels, registry=registry
        )
        self.mirror_failures = Counter(
            "todoke_mirror_failures", "Group offsets not mirrored to Kafka", labels, registry=registry
        )
        self.retries = Counter("todoke_consumer_retries", "Batches put back", ["service", "reason"], registry=registry)
        self.lag_events = Gauge("todoke_lag_events", "Records not heard yet", labels, registry=registry)
        self.lag_seconds = Gauge(
            "todoke_lag_seconds", "Age of the oldest record not heard yet, at most", labels, registry=registry
        )
        self.stalled_seconds = Gauge(
            "todoke_stalled_seconds", "Time without progress while records wait", labels, registry=registry
        )
        self.published = Counter("todoke_relay_records", "Records acknowledged by Kafka", labels, registry=registry)
        self.unknown = Counter("todoke_relay_unknown", "Rounds of unknown outcome", labels, registry=registry)
        self.refused_out = Counter("todoke_relay_refused", "Records the broker refused", labels, registry=registry)
        self.reconciling = Gauge(
            "todoke_reconciling", "1 while journal and topic are compared", labels, registry=registry
        )
        self.taken_back = Counter(
            "todoke_reconcile_taken_back", "Events the journal had forgotten", labels, registry=registry
        )
        self.published_again = Counter(
            "todoke_reconcile_published_again", "Events the topic had lost", labels, registry=registry
        )
        self.unhealed = Gauge(
            "todoke_reconcile_unhealed", "Things the last comparison could not mend", labels, registry=registry
        )
        self.outbox_rows = Gauge("todoke_outbox_rows", "Rows not acknowledged by Kafka", labels, registry=registry)
        self.outbox_seconds = Gauge("todoke_outbox_seconds", "Age of the oldest such row", labels, registry=registry)
        self.listed_seconds = Histogram(
            "todoke_listed_seconds", "From submission to the recipient's list", registry=registry, buckets=SECONDS
        )
        self.request_seconds = Histogram(
            "todoke_request_seconds",
            "HTTP requests",
            ["route", "method", "status"],
            registry=registry,
            buckets=SECONDS,
        )

    def consumer(self, service: str) -> "ConsumerMetrics":
        """The consumer's metrics of one service."""
        return ConsumerMetrics(self, service)


class ConsumerMetrics:
    """The children of one service."""

    def __init__(self, metrics: Metrics, service: str) -> None:
        self.applied = metrics.applied.labels(service)
        self.refused = metrics.refused.labels(service)
        self.parked = metrics.parked.labels(service)
        self.held = metrics.held.labels(service)
        self.breaker = metrics.breaker.labels(service)
        self.mismatches = metrics.mismatches.labels(service)
        self.lost_races = metrics.lost_races.labels(service)
        self.mirror_failures = metrics.mirror_failures.labels(service)
        for gauge in (metrics.lag_events, metrics.lag_seconds, metrics.stalled_seconds):
            gauge.labels(service)  # there from the first look on
        self._retries = metrics.retries
        self._service = service

    def retried(self, reason: str) -> None:
        """Count a batch that was put back."""
        self._retries.labels(self._service, reason).inc()
