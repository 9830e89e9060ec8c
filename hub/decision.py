"""What was decided about a document, in a form that can be compared: then and now, on record and repeated. Pure.

record of the store ─▶ recorded ─┐
plan or rejection ───▶ decided ──┴─▶ differences
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hub.inspection import Plan, Planned, Rejection

if TYPE_CHECKING:  # who compares without a store need not load what one is
    from hub.delivery import Delivery
    from hub.store.api import MessageRecord, PayloadInfo

UNKNOWN = "unknown"  # a reason that a later event has replaced in the record


@dataclass(frozen=True, slots=True)
class Leg:
    """Where a document goes, and the bytes that go there; without bytes the reason why it was born dead."""

    destination: str | None
    route: str | None
    content_type: str | None
    sha256: str | None
    size: int | None
    reason: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on a document, and where it goes. ``rejected`` is a code; such a document has no legs."""

    rejected: str | None
    type: str | None
    recipient: str | None
    owner: str | None
    test: bool
    snapshot: str
    legs: tuple[Leg, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two decisions do not agree on; ``None`` where a decision does not have it."""

    what: str  # verdict | type | recipient | owner | test | destination | route | reason | bytes | content_type
    destination: str | None
    before: str | None
    after: str | None


def recorded(record: MessageRecord, infos: Iterable[PayloadInfo]) -> Decision:
    """Return what was decided when a message came in, as the store has it. What replays planned is not part of it."""
    payloads = {info.id: info for info in infos}
    legs = [leg_recorded(one, payloads.get(one.payload_id or "")) for one in record.deliveries if not one.replay_of]
    rejected = record.code if record.verdict == "rejected" else None
    return Decision(rejected, record.type, record.recipient, record.owner, record.test, record.snapshot, tuple(legs))


def leg_recorded(one: Delivery, info: PayloadInfo | None) -> Leg:
    """Return how one delivery was planned, as the store has it. ``info`` is of the bytes that it sends."""
    born_dead = one.payload_id is None and not one.attempts  # what was tried had bytes, and they are erased
    return Leg(
        one.destination,
        one.route,
        info.media_type if info else None,
        info.sha256 if info else None,
        info.size if info else None,
        (UNKNOWN if one.revision else one.reason) if born_dead else "",
        one.code if born_dead and not one.revision else "",
    )


def decided(result: Plan | Rejection, body: bytes) -> Decision:
    """Return what an inspection decided about a document."""
    if isinstance(result, Rejection):
        type_ = str(result.type) if result.type else None
        return Decision(result.code, type_, result.recipient, result.owner, result.test, result.snapshot, ())
    verdict = result.verdict
    legs = tuple(leg_of(one, body) for one in result.deliveries)
    return Decision(
        None, str(verdict.header.type), verdict.recipient, verdict.owner, verdict.test, verdict.snapshot, legs
    )


def leg_of(planned: Planned, body: bytes) -> Leg:
    """Return one delivery of a plan for a document."""
    heading = planned.heading
    if planned.reason:
        return Leg(heading.destination, heading.route, None, None, None, planned.reason, planned.code)
    sent = body if planned.body is None else planned.body
    digest = hashlib.sha256(sent).hexdigest()
    return Leg(heading.destination, heading.route, planned.content_type, digest, len(sent))


def differences(before: Decision, after: Decision) -> tuple[Difference, ...]:
    """Return everything that two decisions about the same document do not agree on; not that their snapshots differ."""
    return tuple(_differences(before, after))


def _differences(before: Decision, after: Decision) -> Iterator[Difference]:
    verdicts = [f"rejected: {one.rejected}" if one.rejected else "accepted" for one in (before, after)]
    if verdicts[0] != verdicts[1]:
        yield Difference("verdict", None, *verdicts)
    for what in ("type", "recipient", "owner"):
        pair = getattr(before, what), getattr(after, what)
        if pair[0] != pair[1]:
            yield Difference(what, None, *pair)
    if before.test != after.test:
        yield Difference("test", None, *("test" if one.test else "production" for one in (before, after)))
    old, new = _by_destination(before), _by_destination(after)
    for name in dict.fromkeys([*old, *new]):
        yield from _of_one(old.get(name), new.get(name))


def _of_one(old: Leg | None, new: Leg | None) -> Iterator[Difference]:
    """Compare where a document went and goes: the same destination, or only one of both."""
    if old is None or new is None:
        leg = old or new
        assert leg is not None
        yield Difference("destination", leg.destination, *("planned" if one else None for one in (old, new)))
        return
    if old.route != new.route:
        yield Difference("route", old.destination, old.route, new.route)
    if old.reason != new.reason and not (old.reason == UNKNOWN and new.reason):
        yield Difference("reason", old.destination, old.reason or None, new.reason or None)
    if not (old.sha256 and new.sha256):
        return  # one of them was born dead, or its bytes are erased
    if old.sha256 != new.sha256:
        yield Difference("bytes", old.destination, old.sha256, new.sha256)
    if old.content_type != new.content_type:
        yield Difference("content_type", old.destination, old.content_type, new.content_type)


def _by_destination(decision: Decision) -> Mapping[str | None, Leg]:
    return {leg.destination: leg for leg in decision.legs}
