"""Service hours put into effect: a destination that is closed now is held back like any other, until it opens."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from hub.deployment import Destination
from hub.hours import Hours
from hub.log import get_log
from hub.store.api import Control, Store

log = get_log(__name__)


def hold_closed(store: Store, destinations: Iterable[Destination], now: datetime) -> list[str]:
    """Hold back what is closed now; return what has opened before its hold was to end, as its hours have changed."""
    held = {one.destination: one for one in store.controls(now) if one.kind == "closed"}
    known: dict[Hours, tuple[str, datetime | None]] = {}  # thousands of destinations have few different hours
    for destination in destinations:
        hours = destination.hours
        if not hours:
            continue
        if hours not in known:
            why = hours.why_closed(now)
            known[hours] = (why, hours.opens(now) if why else None)
        why, until = known[hours]
        if why:
            stands = held.pop(destination.name, None)
            if stands is None or (stands.reason, stands.until) != (why, until):
                store.hold(Control(destination.name, "closed", why, now, by="hub", until=until))
                log.info("destination_closed", destination=destination.name, reason=why)
    for name in held:
        store.release(name, by="hub", now=now, kind="closed")
        log.info("destination_unblocked", destination=name, state="closed", reason="hours_changed")
    return list(held)
