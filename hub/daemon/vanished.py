"""Destinations that nobody has configured any more, while deliveries wait for them. One rule: nothing is lost by that.

They are held back (``blocked``, ``route_gone``), so that every listing says why their deliveries wait, and so that the
time counts towards no ``give_up_after``. They go on when they are configured again; the hold ends, too, when nothing
waits any more, because all was replanned, replayed or closed.

Where several nodes share a store, it has vanished when none of them knows it: while one after the other is given a new
configuration, those that know a destination deliver to it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from hub.log import get_log
from hub.outcome import Reason
from hub.store.api import Control, Store

log = get_log(__name__)


def hold_vanished(store: Store, configured: Collection[str], snapshot: str, now: datetime) -> list[str]:
    """Hold back what has vanished; return the destinations that have come back and may go on."""
    asked_for = set(store.waiting())
    if not store.exclusive:  # who settles what a dead node was sending there, if nobody knows the destination?
        asked_for |= {one.destination for one in store.lost(now) if one.destination}
    nodes = store.announce(snapshot, asked_for - set(configured))
    gone = frozenset.intersection(*(node.unknown for node in nodes))  # this node is one of them
    held = {one.destination for one in store.controls(now) if is_vanished(one)}
    for name in sorted(gone - held):
        store.hold(Control(name, "blocked", Reason.ROUTE_GONE, now, by="hub"))
        log.warning("destination_blocked", destination=name, reason=Reason.ROUTE_GONE)
    back = sorted(held - gone)
    for name in back:
        store.release(name, by="hub", now=now, kind="blocked")
        log.info("destination_unblocked", destination=name, reason="configured" if name in configured else "empty")
    return [name for name in back if name in configured]


def is_vanished(control: Control) -> bool:
    """Tell whether a hold says that its destination is configured no more."""
    return control.kind == "blocked" and control.reason == Reason.ROUTE_GONE
