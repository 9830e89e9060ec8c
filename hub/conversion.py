"""Which of a leg's steps a document takes to a destination that accepts some versions at some times. Pure.

    the message's version ─▶ accepted then? ─yes─▶ no conversion, the other steps
                                 └──no──▶ the first chain of conversions, as written, that ends in an accepted version
                                               └─ none: the delivery is born dead

Conversions alone change a document's version; what a step of another kind makes of it is the destination's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from hub.deployment import StepSpec
from hub.message import Finding, MessageType
from hub.routing import Leg, type_matches

NOT_ACCEPTED = "version_not_accepted"


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
    patterns = ", ".join(one.type.removesuffix("/*") for one in leg.destination.accepts if one.holds(at))
    text = (
        f"{leg.destination.name} does not accept {type_} at that time, and no conversion leads to what it does: "
        f"{patterns or 'nothing'}"
    )
    return Finding(NOT_ACCEPTED, text=text)
