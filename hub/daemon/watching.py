"""What the daemon sees of itself: alerts, certificates that peers show, and the metrics that are read when asked."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from hub.alerts.rules import NodeFacts
from hub.alerts.telling import Teller
from hub.alerts.watch import EVERY, Watch
from hub.certificates import Expiry, Shown
from hub.daemon.generation import Generation, Generations
from hub.errors import Unavailable
from hub.log import get_log
from hub.metrics import Metrics
from hub.schedule import Schedule
from hub.space import Disk
from hub.store.api import Store
from hub.store.upkeep_api import Work

log = get_log(__name__)

DEATHS_SECONDS = 600.0
DEATHS_KEPT = 1000


class Deaths:
    """When XML workers have died lately; safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: deque[float] = deque(maxlen=DEATHS_KEPT)

    def note(self) -> None:
        with self._lock:
            self._at.append(time.monotonic())

    def count(self) -> int:
        """Return how many that were within ten minutes."""
        since = time.monotonic() - DEATHS_SECONDS
        with self._lock:
            return sum(1 for at in self._at if at > since)


class Watching:
    """Looks, tells, and fills in the metrics, for one daemon."""

    def __init__(
        self,
        store: Store,
        generations: Generations,
        disk: Disk,
        metrics: Metrics,
        deaths: Deaths,
        clock: Callable[[], datetime],
        base: Path,
    ) -> None:
        self._store, self._generations, self._disk, self._metrics, self._clock = (
            store,
            generations,
            disk,
            metrics,
            clock,
        )
        self._shown = Shown(store.watch.see, clock)
        self._deaths = deaths
        self._watch = Watch(
            store,
            lambda: generations.current.deployment,
            self._expiries,
            self._node,
            clock,
        )
        self._teller = Teller(store, lambda: generations.current.deployment.alerts, base, clock, metrics.alert_not_told)

    def _expiries(self) -> Iterable[Expiry]:
        return self._generations.current.endpoints.expiries()

    def adopt(self, generation: Generation) -> None:
        """Be told what the peers of a generation's endpoints show, before they are used."""
        generation.endpoints.shown = self._shown.note

    def start(self, schedule: Schedule, in_turn: Callable[[float, str, Work], None]) -> None:
        schedule.every(EVERY.total_seconds(), "look here", self._look_here)
        in_turn(EVERY.total_seconds(), "look", self._look)
        self._teller.start()

    def stop(self) -> None:
        self._teller.stop()

    def _look(self, still: Callable[[], None]) -> None:
        try:
            self._watch.look_shared(still)
        except Unavailable:
            log.warning("look_postponed")

    def _look_here(self) -> None:
        try:
            self._watch.look_here()
        except Unavailable:
            log.warning("look_postponed")

    def _node(self, name: str) -> NodeFacts:
        return NodeFacts(name, self._deaths.count(), self._disk.free, self._disk.low)

    # --- metrics

    def gauge(self) -> None:
        """Fill in what is so now.

        Raises:
            Unavailable: The store does not answer.
        """
        now, set_state = self._clock(), self._metrics.set_state
        free = self._disk.free
        set_state("disk_free_bytes", {} if free is None else {(): free})
        set_state("workers", {(): self._generations.current.pool.alive})
        self._metrics.set_deliveries(self._store.counts())
        set_state("destination_held", {(one.destination, one.kind): 1.0 for one in self._store.controls(now)})
        waiting = self._store.watch.oldest_waiting().items()
        set_state("oldest_waiting_seconds", {(name,): (now - since).total_seconds() for name, since in waiting})
        expiries = self._watch.certificates()
        left: dict[tuple[str, ...], float] = {}
        for one in sorted(expiries, key=lambda one: one.not_after, reverse=True):  # of several the one that ends first
            left[one.places[0], one.role] = (one.not_after - now).total_seconds()
        set_state("certificate_expiry_seconds", left)
        set_state("alerts", dict(Counter((one.alert.name,) for one in self._store.watch.standing())))
        self._gauge_jobs()

    def _gauge_jobs(self) -> None:
        found, _ = self._store.jobs.listed(states=("open", "paused"), limit=1000)
        left = self._store.jobs.progress([one.id for one in found])
        jobs: Counter[tuple[str, ...]] = Counter((one.kind, one.state) for one in found)
        items: Counter[tuple[str, ...]] = Counter()
        for one in found:
            items[one.kind, one.state] += left.get(one.id, {}).get("left", 0)
        self._metrics.set_state("jobs", dict(jobs))
        self._metrics.set_state("job_items_left", dict(items))
