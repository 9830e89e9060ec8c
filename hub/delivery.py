"""The life of one message on its way to one destination.

               ┌─────────── resent ────────────┬──────────────┐
    planned ─▶ WAITING ──claimed──▶ SENDING ──delivered──▶ DELIVERED
                │  ▲                 │ │  └───taken──▶ TAKEN ─confirmed─▶ DELIVERED
                │  └────deferred─────┘ │                └─declined, overdue─▶ DEAD
                │                      └──died──▶ DEAD ◀── planned dead (no_route, transform_failed, …)
                └───closed──▶ CLOSED ◀──closed── DEAD

Only :func:`advance` moves a delivery, and only along ``TRANSITIONS``; its row is the fold of its events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from hub.errors import IllegalTransition
from hub.message import DeliveryId, MessageId

PROBE = "probe"  # the code of a claim: this attempt shall tell whether its destination may go on


class State(StrEnum):
    WAITING = "waiting"
    SENDING = "sending"
    TAKEN = "taken"
    DELIVERED = "delivered"
    DEAD = "dead"
    CLOSED = "closed"


class EventKind(StrEnum):
    CLAIMED = "claimed"
    DELIVERED = "delivered"
    TAKEN = "taken"
    DEFERRED = "deferred"
    DIED = "died"
    CONFIRMED = "confirmed"
    DECLINED = "declined"
    OVERDUE = "overdue"
    RESENT = "resent"
    CLOSED = "closed"


class ClosedAs(StrEnum):
    """How a delivery that needs nothing more was closed; stands in the event's ``reason``."""

    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    DELIVERED_OTHERWISE = "delivered-otherwise"


TRANSITIONS: Mapping[tuple[State, EventKind], State] = MappingProxyType(
    {
        (State.WAITING, EventKind.CLAIMED): State.SENDING,
        (State.WAITING, EventKind.CLOSED): State.CLOSED,
        (State.SENDING, EventKind.DELIVERED): State.DELIVERED,
        (State.SENDING, EventKind.TAKEN): State.TAKEN,
        (State.SENDING, EventKind.DEFERRED): State.WAITING,
        (State.SENDING, EventKind.DIED): State.DEAD,
        (State.TAKEN, EventKind.CONFIRMED): State.DELIVERED,
        (State.TAKEN, EventKind.DECLINED): State.DEAD,
        (State.TAKEN, EventKind.OVERDUE): State.DEAD,
        (State.DEAD, EventKind.RESENT): State.WAITING,
        (State.DEAD, EventKind.CLOSED): State.CLOSED,
        (State.DELIVERED, EventKind.RESENT): State.WAITING,
        (State.CLOSED, EventKind.RESENT): State.WAITING,
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One fact about a delivery. Appended, never changed, and free of payload."""

    kind: EventKind
    at: datetime
    due_at: datetime | None = None
    reason: str = ""  # a Reason, or a ClosedAs
    phase: str = ""
    code: str = ""
    duration: timedelta | None = None
    actor: str = "hub"
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The sum of its events. ``revision`` counts them and fences off late writers."""

    id: DeliveryId
    message_id: MessageId
    owner: str | None
    route: str | None
    destination: str | None
    due_at: datetime
    state: State = State.WAITING
    reason: str = ""
    phase: str = ""
    code: str = ""
    payload_id: str | None = None
    attempts: int = 0
    first_attempt_at: datetime | None = None
    order_key: str | None = None
    revision: int = 0
    replay_of: DeliveryId | None = None
    snapshot: str = ""
    seq: int = 0  # given by the store; later deliveries have larger ones


def advance(delivery: Delivery, event: Event) -> Delivery:
    """Return the delivery as it is after the event. Pure.

    Raises:
        IllegalTransition: The event cannot follow the delivery's state.
    """
    state = TRANSITIONS.get((delivery.state, event.kind))
    if state is None:
        raise IllegalTransition(f"{event.kind} cannot follow {delivery.state} ({delivery.id})")
    attempts, first_attempt_at = delivery.attempts, delivery.first_attempt_at
    if event.kind is EventKind.CLAIMED:
        # Counted on claim, not on failure: a document that kills its worker must still run out of tries.
        attempts, first_attempt_at = attempts + 1, first_attempt_at or event.at
    elif event.kind is EventKind.RESENT:
        attempts, first_attempt_at = 0, None
    return replace(
        delivery,
        state=state,
        reason=event.reason,
        phase=event.phase,
        code=event.code,
        due_at=event.due_at or event.at,
        attempts=attempts,
        first_attempt_at=first_attempt_at,
        revision=delivery.revision + 1,
    )


def fold(planned: Delivery, events: Iterable[Event]) -> Delivery:
    """Return what the events make of a delivery as it was planned."""
    delivery = planned
    for event in events:
        delivery = advance(delivery, event)
    return delivery
