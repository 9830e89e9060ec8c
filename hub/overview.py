"""Destinations as an operator sees them: what holds each back, what waits, which certificates run out.

ready     nothing holds it back          blocked   it is wrong, not the documents (certificate, password, address)
paused    a person wants it so           closed    outside its hours, or in maintenance
failing   failures in a row              gone      nobody has configured it any more, and something waits
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hub.certificates import Expiry
from hub.outcome import Reason
from hub.store.api import Control
from hub.store.situation import Situation
from hub.view import time_text

if TYPE_CHECKING:
    from hub.deployment import Destination

ORDER = ("blocked", "paused", "closed", "failing")
OPEN_STATES = ("waiting", "sending", "taken", "dead")


@dataclass(frozen=True, slots=True)
class Configured:
    """What a listing says of a configured destination; as JSON it comes from the running daemon."""

    name: str
    municipality: str | None
    adapter: str
    environment: str
    open: str


def configured(destination: Destination) -> Configured:
    """Return what a listing says of a destination."""
    return Configured(
        destination.name,
        destination.municipality,
        destination.adapter,
        destination.environment,
        destination.hours.said,
    )


@dataclass(frozen=True, slots=True)
class Overview:
    """One destination now."""

    name: str
    destination: Configured | None  # None: not configured
    controls: Sequence[Control]  # what is shown first goes first
    counts: Mapping[str, int]  # by state of deliveries
    oldest_waiting: datetime | None = None
    certificates: Sequence[Expiry] = ()

    @property
    def control(self) -> Control | None:
        """The hold that is shown."""
        return self.controls[0] if self.controls else None

    @property
    def state(self) -> str:
        control = self.control
        if control is None:
            return "ready" if self.destination is not None else "gone"
        return "gone" if control.reason == Reason.ROUTE_GONE else control.kind


def overviews(
    situation: Situation, destinations: Mapping[str, Configured], expiries: Iterable[Expiry]
) -> list[Overview]:
    """Return all destinations that are configured, held, or waited for, by name."""
    controls: dict[str, list[Control]] = {}
    for one in situation.controls:
        controls.setdefault(one.destination, []).append(one)
    counts: dict[str, dict[str, int]] = {}
    for (name, state), count in situation.counts.items():
        counts.setdefault(name, {})[state] = count
    certificates: dict[str, list[Expiry]] = {}
    for expiry in expiries:
        for place in expiry.places:
            certificates.setdefault(place, []).append(expiry)
    oldest = situation.oldest_waiting
    waited_for = {name for name, of in counts.items() if name and any(of.get(state) for state in OPEN_STATES[:3])}
    return [
        Overview(
            name,
            destinations.get(name),
            sorted(controls.get(name, ()), key=lambda one: ORDER.index(one.kind)),
            counts.get(name, {}),
            oldest.get(name),
            sorted(certificates.get(name, ()), key=lambda one: one.not_after),
        )
        for name in sorted({*destinations, *controls, *waited_for})
    ]


def overview_json(one: Overview, now: datetime) -> dict[str, Any]:
    """Return a destination in the shape of ``destinations list --json``."""
    control, destination = one.control, one.destination
    return {
        "name": one.name,
        "municipality": destination.municipality if destination else None,
        "adapter": destination.adapter if destination else None,
        "environment": destination.environment if destination else None,
        "open": (destination.open or None) if destination else None,
        "state": one.state,
        "since": time_text(control.since) if control else None,
        "by": control.by if control else None,
        "reason": control.reason if control else None,
        "code": (control.code or None) if control else None,
        "until": time_text(control.until) if control and not control.probed else None,
        "next_probe": time_text(control.until) if control and control.probed else None,
        **{state: one.counts.get(state, 0) for state in OPEN_STATES},
        "oldest_waiting": time_text(one.oldest_waiting),
        "certificates": [
            {
                "role": expiry.role,
                "file": expiry.file or None,
                "not_after": time_text(expiry.not_after),
                "days_left": expiry.days_left(now),
            }
            for expiry in one.certificates
        ],
        "holds": [
            {
                "state": hold.kind,
                "since": time_text(hold.since),
                "by": hold.by,
                "reason": hold.reason,
                "code": hold.code or None,
                "until": time_text(hold.until),
            }
            for hold in one.controls
        ],
    }
