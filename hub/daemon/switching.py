"""Deliveries that wait while what their destination accepts changes: planned anew before they go out in the old shape.

Looked at when the hub starts, after a reload, and when a time in somebody's ``accepts`` has come. What is found is a
job ``replan`` like any other, by ``hub``; a delivery whose plan is still the same is skipped by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from hub.delivery import Delivery
from hub.deployment import Destination
from hub.job import Job
from hub.log import get_log
from hub.message import new_id
from hub.store.api import Filter, Store

log = get_log(__name__)

PAGE = 1000
RATE = "1000"
REASON = "what the destination accepts, or the configuration, has changed since it was planned"


def switched(destinations: Iterable[Destination], since: datetime | None, now: datetime) -> Iterator[Destination]:
    """Yield the destinations that accept something else than at ``since``; ``None``: all that may."""
    for one in destinations:
        if one.accepts and (since is None or _has_switched(one, since, now)):
            yield one


def replan(store: Store, switching: Iterable[Destination], snapshot: str, now: datetime) -> int:
    """Ask for a new plan of what waits, untouched, for some destinations; return how many deliveries that are."""
    items = [
        delivery.id
        for destination in switching
        for delivery in _waiting(store, destination.name)
        # Untouched since it was planned: its due time is that of its planning.
        if not delivery.revision and (delivery.snapshot != snapshot or _has_switched(destination, delivery.due_at, now))
    ]
    if items:
        # Sooner than anything else would release it: until then it may go out in the old shape.
        job = store.jobs.add(Job(new_id(), "replan", "hub", REASON, now, {"rate": RATE}), items)
        log.info("replan_asked", job=job.id, count=len(items))
    return len(items)


def _has_switched(destination: Destination, since: datetime, now: datetime) -> bool:
    times = (time for one in destination.accepts for time in (one.from_, one.until))
    return any(time is not None and since < time <= now for time in times)


def _waiting(store: Store, destination: str) -> Iterator[Delivery]:
    after = 0
    while page := store.find_deliveries(Filter(state="waiting", destination=destination), limit=PAGE, after=after):
        yield from page
        after = page[-1].seq
