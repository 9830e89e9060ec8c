"""What the hub counts, in Prometheus' text format. Labels are names from the configuration and tokens of the hub.

Never a label: ids, texts, anything a peer or a document wrote. So the number of series is bounded by the configuration,
and no personal data can stand here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

RECEIPT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ATTEMPT_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


STATES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "oldest_waiting_seconds": ("Age of the oldest message that waits for it.", ("destination",)),
    "destination_held": ("1 for each hold that stands.", ("destination", "state")),
    "jobs": ("Jobs that are not over.", ("kind", "state")),
    "job_items_left": ("Items of these jobs that have no result yet.", ("kind", "state")),
    "certificate_expiry_seconds": ("Until the certificate is over; negative after that.", ("place", "role")),
    "alerts": ("Alerts that stand.", ("name",)),
    "disk_free_bytes": ("Free where the store is.", ()),
    "workers": ("XML workers that are alive.", ()),
}
"""What is so at the moment of asking. All series of a name are set at once, so that none outlives its cause."""

Series = Mapping[tuple[str, ...], float]


class Metrics:
    """The counters of one process, each fed by a method that is named after the fact. Safe in any thread."""

    def __init__(self) -> None:
        # A second series for each, which says when counting began.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has left out its types
        self._lock = threading.Lock()
        self._registry = CollectorRegistry()
        self._accepted = self._counter("messages_accepted", "Messages that got a receipt of their own.", "source")
        self._repeated = self._counter("messages_repeated", "Repetitions that got the first one's receipt.", "source")
        self._rejected = self._counter("messages_rejected", "Rejections on record.", "source", "code")
        self._refused = self._counter("messages_refused", "Refusals that leave no record.", "source", "code")
        self._attempts = self._counter("attempts", "Attempts to deliver, by their outcome.", "destination", "outcome")
        self._worker_deaths = self._counter("worker_deaths", "XML workers that ended unasked.")
        self._deliveries = Gauge(
            "xoev_hub_deliveries", "Deliveries in each state.", ["destination", "state"], registry=self._registry
        )
        self._alert_failures = self._counter("alert_failures", "Times that a channel could not be told.", "channel")
        self._states = {
            name: Gauge(f"xoev_hub_{name}", text, labels, registry=self._registry)
            for name, (text, labels) in STATES.items()
        }
        self._receipt_seconds = self._histogram(
            "receipt_seconds", "From the whole message to its receipt.", "source", RECEIPT_BUCKETS
        )
        # Not by destination: thousands of them with a dozen buckets each would be slow to read and dear to keep.
        self._attempt_seconds = self._histogram(
            "attempt_seconds", "Duration of an attempt to deliver.", "outcome", ATTEMPT_BUCKETS
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"xoev_hub_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, label: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"xoev_hub_{name}", text, [label], buckets=buckets, registry=self._registry)

    def accepted(self, source: str, *, duplicate: bool, seconds: float) -> None:
        """A message got its receipt; a duplicate got the first one's."""
        (self._repeated if duplicate else self._accepted).labels(source).inc()
        self._receipt_seconds.labels(source).observe(seconds)

    def rejected(self, source: str, code: str) -> None:
        """A document was rejected, and the rejection is on record."""
        self._rejected.labels(source, _token(code)).inc()

    def refused(self, source: str, code: str) -> None:
        """A request was refused before the hub looked at a document."""
        self._refused.labels(source, _token(code)).inc()

    def attempted(self, destination: str, outcome: str, seconds: float) -> None:
        """An attempt to deliver ended."""
        self._attempts.labels(destination, _token(outcome)).inc()
        self._attempt_seconds.labels(_token(outcome)).observe(seconds)

    def worker_died(self) -> None:
        """An XML worker ended that nobody had told to."""
        self._worker_deaths.inc()

    def alert_not_told(self, channel: str) -> None:
        """A channel could not be told of an alert."""
        self._alert_failures.labels(channel).inc()

    def set_state(self, name: str, series: Series) -> None:
        """Show what is so now, one of ``STATES``, by its labels."""
        gauge = self._states[name]
        with self._lock:
            gauge.clear()
            for labels, value in series.items():
                (gauge.labels(*labels) if labels else gauge).set(value)

    def set_deliveries(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Show the store's counts by (destination, state), and no others."""
        with self._lock:
            self._deliveries.clear()
            for (destination, state), count in counts.items():
                self._deliveries.labels(destination, state).set(count)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format, version 0.0.4."""
        with self._lock:
            return generate_latest(self._registry)


def _token(text: str) -> str:
    """Return a code as it may stand in a label; an adapter might pass on what its peer wrote."""
    return text if re.fullmatch(r"[a-z0-9_.-]{1,40}", text, re.ASCII) else "other"
