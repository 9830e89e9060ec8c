"""Which of a leg's steps a document takes to a destination that accepts some versions at some times. Pure.

    the message's version ─▶ accepted then? ─yes─▶ no conversion, the other steps
                                 └──no──▶ the first chain of conversions, as written, that ends in an accepted version
                                               └─ none: the delivery is born dead

Conversions alone change a document's version; what a step of another kind makes of it is the destination's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from hub.config.globs import meet
from hub.deployment import Destination, StepSpec
from hub.message import Finding, MessageType
from hub.routing import Leg, type_matches
from hub.xml.profile import Profile

NOT_ACCEPTED = "version_not_accepted"
NAMES_SHOWN = 3


def way(leg: Leg, type_: MessageType, at: datetime) -> Sequence[StepSpec] | None:
    """Return the steps that a message of a type takes at a time; ``None``: nothing brings it there then.

    A lossy conversion is passed over where the route does not allow it. The name of a message is taken to stay.
    """
    conversions = [spec for spec in leg.steps if spec.conversion is not None]
    if not leg.destination.accepts:
        return [spec for spec in leg.steps if spec.conversion is None] if conversions else leg.steps
    allowed = [spec for spec in conversions if spec.conversion and (leg.allow_lossy or not spec.conversion.lossy)]
    patterns = [one.type for one in leg.destination.accepts if one.holds(at)]

    def accepted(version: str) -> bool:
        of = MessageType.parse(f"{version}/{type_.name}")
        return any(type_matches(pattern, of) for pattern in patterns)

    taken = _chain(allowed, f"{type_.standard}/{type_.version}", accepted)
    if taken is None:
        return None
    return [spec for spec in leg.steps if spec.conversion is None or spec in taken]


def _chain(
    conversions: Sequence[StepSpec], version: str, accepted: Callable[[str], bool]
) -> tuple[StepSpec, ...] | None:
    if accepted(version):
        return ()
    for number, spec in enumerate(conversions):
        if spec.conversion and spec.conversion.from_ == version:
            rest = _chain(conversions[number + 1 :], spec.conversion.to, accepted)
            if rest is not None:
                return (spec, *rest)
    return None


def not_accepted(leg: Leg, type_: MessageType, at: datetime) -> Finding:
    """Return why a delivery is born dead: what the destination accepts at that time."""
    text = (
        f"{leg.destination.name} does not accept {type_} at that time, and no conversion leads to what it does: "
        f"{accepted(leg.destination, at)}"
    )
    return Finding(NOT_ACCEPTED, text=text)


def accepted(destination: Destination, at: datetime) -> str:
    """Return what a destination accepts at a time, for people."""
    return ", ".join(one.type.removesuffix("/*") for one in destination.accepts if one.holds(at)) or "nothing"


def needed(leg: Leg, profile: Profile, at: datetime, glob: str = "*") -> tuple[Sequence[str], Sequence[str]]:
    """Return the conversions that a version's messages need on a leg, and the names of those that never arrive."""
    if not leg.destination.accepts:
        return (), ()
    conversions: dict[str, None] = {}
    dead = []
    for name in sorted(name for name in profile.names if meet(glob, name)):
        specs = way(leg, MessageType(profile.standard, profile.version, name), at)
        if specs is None:
            dead.append(name)
        else:
            conversions |= dict.fromkeys(str(spec.conversion) for spec in specs if spec.conversion)
    return tuple(conversions), tuple(dead)


def some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more
