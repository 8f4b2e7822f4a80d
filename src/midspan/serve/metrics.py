"""What the server counts, in Prometheus' terms."""

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters of one server, in a registry of their own.

    Attributes:
        registry: All of them.
        responses: Responses by status, of all routes.
        requests: Completions by route and outcome: "ok", "cancelled", or the status of an error.
        queue: Rows that wait.
        rows: Rows in batches.
        waited: Seconds until a request's first row had a place.
        latency: Seconds of a whole request that was answered.
        tokens: Tokens by kind, "prompt" and "completion".
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        where = {"registry": self.registry}
        self.responses = Counter("midspan_responses", "Responses by status.", ["status"], **where)
        self.requests = Counter(
            "midspan_requests", "Completions by route and outcome.", ["route", "outcome"], **where
        )
        self.queue = Gauge("midspan_queue_rows", "Rows that wait for a place.", **where)
        self.rows = Gauge("midspan_batch_rows", "Rows in batches.", **where)
        self._forwards = Counter("midspan_forwards", "Forward passes of batches.", **where)
        self._filled = Counter("midspan_forward_rows", "Rows of all forward passes.", **where)
        self._places = Counter("midspan_forward_places", "Places of all forward passes.", **where)
        self.waited = Histogram(
            "midspan_queue_seconds", "Seconds until a first place.", buckets=_SECONDS, **where
        )
        self.latency = Histogram(
            "midspan_request_seconds", "Seconds of an answer.", buckets=_SECONDS, **where
        )
        self.tokens = Counter("midspan_tokens", "Tokens by kind.", ["kind"], **where)
        self._lock = threading.Lock()
        self._row_seconds = 0.0

    def forward(self, rows: int, places: int, forwards: int) -> None:
        """Count one step of a batch.

        Args:
            rows: Its rows.
            places: The rows that it could have had.
            forwards: Forward passes of the step.
        """
        self._forwards.inc(forwards)
        self._filled.inc(rows * forwards)
        self._places.inc(places * forwards)

    def answered(self, seconds: float) -> None:
        """Count an answer that took so long."""
        self.latency.observe(seconds)
        with self._lock:
            self._row_seconds += (seconds - self._row_seconds) * (0.1 if self._row_seconds else 1)

    @property
    def usual_seconds(self) -> float:
        """What the last answers took, about."""
        return self._row_seconds
