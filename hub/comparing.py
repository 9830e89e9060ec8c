"""What today's snapshot would make of what was stored: the dry run of a job, compared. Nothing is written.

item ─▶ original bytes ─▶ inspect, with today's snapshot ─▶ what a replay would send
what was stored: verdict, route, bytes ─┴─▶ compared ─▶ equal differences together
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from hub.decision import Decision, Difference, decided, differences, leg_of, leg_recorded, recorded
from hub.delivery import Delivery
from hub.inspection import Plan, Planned, Rejection
from hub.intake import Planning, kept
from hub.items import replacements
from hub.message import Incoming
from hub.store.api import MessageRecord, Store
from hub.xml.difference import Change, changes

ERASED = "its original bytes are erased"
NOWHERE = "today's routes lead nowhere else than where it was delivered"
ITEMS_KEPT = 100  # ids of a cluster
BODIES_KEPT = 100  # clusters that keep the bytes of their example


@dataclass(frozen=True, slots=True)
class Compared:
    """What is different about one item today. ``obstacle`` says why nobody can tell."""

    item: str
    differences: tuple[Difference, ...] = ()
    changes: tuple[Change, ...] = ()  # of the bytes to send, without values
    bodies: tuple[bytes, bytes] | None = field(default=None, repr=False)  # stored and today, where they differ
    obstacle: str = ""


@dataclass(slots=True)
class Cluster:
    """Items with the same differences. The first of them is the example."""

    example: Compared
    count: int = 0
    items: list[str] = field(default_factory=list)  # the first of them


class Comparing:
    """Compares items, one after the other."""

    def __init__(self, store: Store, planning: Planning, clock: Callable[[], datetime], *, again: bool) -> None:
        self._store, self._planning, self._clock, self._again = store, planning, clock, again

    def compare(self, item: str) -> Compared:
        """Return what would be different about one item if it were replayed now."""
        delivery = self._store.delivery(item)
        record = self._store.message(delivery.message_id if delivery else item)
        if record is None:
            return Compared(item, obstacle="it is gone")
        found = kept(self._store, record)
        if found is None:
            return Compared(item, obstacle=ERASED)
        incoming = replace(found[0], planned_at=self._clock())
        today = self._planning.inspect(incoming)
        if delivery is None:
            before = recorded(record, self._store.payloads(record.id))
            return Compared(item, differences(before, decided(today, incoming.body)))
        return self._delivery(delivery, record, incoming, today)

    def _delivery(self, old: Delivery, record: MessageRecord, incoming: Incoming, today: Plan | Rejection) -> Compared:
        infos = {info.id: info for info in self._store.payloads(record.id)}
        leg = leg_recorded(old, infos.get(old.payload_id or ""))
        before = Decision(None, record.type, record.recipient, record.owner, record.test, old.snapshot, (leg,))
        after = decided(today, incoming.body)
        if isinstance(today, Rejection):
            return Compared(old.id, differences(replace(before, legs=()), after))
        chosen = replacements(old, today, record.deliveries, again=self._again)
        if not chosen:
            return Compared(old.id, obstacle=NOWHERE)
        after = replace(after, legs=tuple(leg_of(one, incoming.body) for one in chosen))
        found = differences(before, after)
        if not any(one.what == "bytes" for one in found):
            return Compared(old.id, found)
        stored = self._store.payload(old.payload_id or "")
        if stored is None:
            return Compared(old.id, found, obstacle="the bytes that were sent are erased")
        now = _body(next(one for one in chosen if one.heading.destination == old.destination), incoming)
        return Compared(old.id, found, changes(stored.body, now), (stored.body, now))


def clustered(found: Iterable[Compared]) -> list[Cluster]:
    """Return the clusters of equal differences, the largest first. Of each one example is kept, whatever its size."""
    clusters: dict[object, Cluster] = {}
    for one in found:
        kept_small = one if len(clusters) < BODIES_KEPT else replace(one, bodies=None)
        cluster = clusters.setdefault(_key(one), Cluster(kept_small))
        cluster.count += 1
        if len(cluster.items) < ITEMS_KEPT:
            cluster.items.append(one.item)
    return sorted(clusters.values(), key=lambda cluster: -cluster.count)


def _key(one: Compared) -> object:
    """Return what equal differences have in common: digests of bytes are never the same."""
    same = tuple(
        (each.what, each.destination, *(() if each.what == "bytes" else (each.before, each.after)))
        for each in one.differences
    )
    return same, one.changes, one.obstacle


def _body(planned: Planned, incoming: Incoming) -> bytes:
    return incoming.body if planned.body is None else planned.body
