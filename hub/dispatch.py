"""One attempt: load, deliver, settle. Named steps, in this order; everything that can fail ends as an outcome.

claimed delivery ─▶ load the bytes ─▶ adapter: one try ─▶ outcome ─▶ hold the destination? ─▶ settle ─▶ event
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from hub.delivery import Delivery
from hub.deployment import Destination
from hub.errors import Conflict, StoreError, Unavailable
from hub.log import get_log
from hub.message import Message, Outgoing, new_id
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear
from hub.plugin import OutboundAdapter
from hub.retry import RetryPolicy, settle
from hub.store.api import Change, Control, Payload, PayloadRole, Reference, Settlement, Store

log = get_log(__name__)

PROBE_EVERY = timedelta(minutes=5)  # a blocked destination is tried again by itself after this
DETAIL_MAX = 500
RECORD_PAUSE_MAX = 5.0  # seconds between two tries to write down what happened
T = TypeVar("T")
Content = tuple[Message, Payload]
_CODE = re.compile("[A-Za-z0-9_.-]{0,64}")
_PHASES, _REASONS = frozenset(Phase), frozenset(Reason)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try and how it ended."""

    delivery: Delivery
    outcome: Outcome
    duration: timedelta
    secrets: str = ""  # the fingerprint of the destination's secrets before it: those of afterwards may be others


class Dispatch:
    """Tries claimed deliveries and records what came of it."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        observe: Callable[[Attempt], None] = lambda _attempt: None,
        closing: threading.Event | None = None,
        secrets: Callable[[Destination], str] = lambda _destination: "",
    ) -> None:
        self._store, self._clock, self._observe, self._secrets = store, clock, observe, secrets
        self._closing = closing or threading.Event()

    def attempt(
        self, delivery: Delivery, destination: Destination, adapter: OutboundAdapter, content: Content | None = None
    ) -> None:
        """Try one claimed delivery once, and settle it. ``content`` is what the store would load, if it is at hand."""
        secrets = self._secrets(destination)
        started = time.monotonic()
        outcome = self._deliver(delivery, destination, adapter, content, started)
        took = timedelta(seconds=time.monotonic() - started)
        self._observe(Attempt(delivery, outcome, took, secrets))
        self.settle(delivery, outcome, destination.retry, took)

    def settle(
        self, delivery: Delivery, outcome: Outcome, policy: RetryPolicy, duration: timedelta | None = None
    ) -> None:
        """Record how an attempt ended; a blocked destination is held back first, so that it is not tried again."""
        now = self._clock()
        if delivery.destination and blocks(outcome):
            self._insist(lambda: self._block(delivery.destination or "", outcome, now))
        held = timedelta(0)
        since = delivery.first_attempt_at
        if delivery.destination and since and now - since > policy.give_up_after / 2:
            held = self._insist(
                lambda: self._store.held(delivery.destination or "", since, now)
            )  # matters near the end
        event = settle(delivery, outcome, policy, now, held=held, duration=duration)
        settlement = Settlement(delivery, event, _payloads(delivery, outcome), _references(delivery, outcome))
        try:
            change = Change(settlements=(settlement,), message_id=delivery.message_id)
            (after,) = self._insist(lambda: self._store.apply(change))
        except Conflict:
            # Our lease ran out and somebody else took over: what he recorded counts.
            log.warning("late_outcome_ignored", delivery=delivery.id, destination=delivery.destination)
            return
        log.info(
            "attempt_settled",
            delivery=delivery.id,
            destination=delivery.destination,
            state=after.state,
            reason=after.reason,
            phase=after.phase,
            code=after.code,
            attempts=after.attempts,
        )

    def _deliver(
        self,
        delivery: Delivery,
        destination: Destination,
        adapter: OutboundAdapter,
        content: Content | None,
        started: float,
    ) -> Outcome:
        try:
            message, payload = content or self._store.load(delivery)
        except Unavailable:
            return Deferred(Reason.UNREACHABLE, code="store")  # our own disk: certainly not sent
        except StoreError as error:
            log.error("payload_damaged", delivery=delivery.id, error=type(error).__name__)
            return Refused(Reason.CRASHED, code="payload-damaged")
        outgoing = outgoing_of(delivery, message, payload, started + destination.limits.total.total_seconds())
        try:
            outcome: object = adapter.deliver(outgoing)
        except Exception as error:  # a plugin's bug must not end the destination's thread
            log.error("adapter_crashed", delivery=delivery.id, destination=destination.name, exc_info=error)
            return Deferred(Reason.CRASHED, code=type(error).__name__)
        if not isinstance(outcome, Outcome):
            log.error("adapter_gave_no_outcome", delivery=delivery.id, destination=destination.name)
            return Deferred(Reason.CRASHED, code="no-outcome")
        return presentable(outcome)

    def _insist(self, write: Callable[[], T]) -> T:
        """Do something with the store, again and again while it is only busy or away: what happened must be recorded.

        Raises:
            Unavailable: The hub is closing.
        """
        pause = 0.1
        while True:
            try:
                return write()
            except Unavailable:
                if self._closing.wait(pause):
                    raise
                log.warning("record_postponed")
                pause = min(pause * 2, RECORD_PAUSE_MAX)

    def _block(self, destination: str, outcome: Outcome, now: datetime) -> None:
        assert isinstance(outcome, Blocked | Unclear)
        self._store.hold(
            Control(destination, "blocked", outcome.reason, now, by="hub", until=now + PROBE_EVERY, code=outcome.code)
        )
        log.warning("destination_blocked", destination=destination, reason=outcome.reason, code=outcome.code)


def blocks(outcome: Outcome) -> bool:
    """Tell whether an outcome says that the destination is wrong, and not (only) the document."""
    return isinstance(outcome, Blocked) or (isinstance(outcome, Unclear) and outcome.blocks)


def outgoing_of(delivery: Delivery, message: Message, payload: Payload, deadline: float) -> Outgoing:
    """Return what an adapter is given: the stored bytes, the same at every attempt."""
    return Outgoing(
        delivery_id=delivery.id,
        destination=delivery.destination or "",
        message=message,
        body=payload.body,
        content_type=payload.media_type,
        headers=payload.headers,
        attempt=delivery.attempts,
        deadline=deadline,
    )


def presentable(outcome: Outcome) -> Outcome:
    """Return an outcome as it may stand in events and logs: a plugin might pass on there what its peer wrote."""
    if not _CODE.fullmatch(outcome.code):
        outcome = replace(outcome, code="unfit")
    if outcome.phase not in _PHASES:
        outcome = replace(outcome, phase=Phase.NONE)
    if not isinstance(outcome, Delivered | Taken) and outcome.reason not in _REASONS:
        outcome = replace(outcome, reason=Reason.CRASHED)
    return outcome


def _payloads(delivery: Delivery, outcome: Outcome) -> tuple[Payload, ...]:
    match outcome:
        case Delivered(reply=reply) | Taken(reply=reply) if reply:
            return (Payload(new_id(), PayloadRole.REPLY, reply, delivery_id=delivery.id),)
        case Deferred() | Refused() | Unclear() | Blocked() if outcome.detail:
            text = outcome.detail[:DETAIL_MAX].encode(errors="replace")
            return (Payload(new_id(), PayloadRole.FAULT, text, "text/plain", delivery_id=delivery.id),)
        case _:
            return ()


def _references(delivery: Delivery, outcome: Outcome) -> tuple[Reference, ...]:
    match outcome:
        case Delivered(receipt=receipt, values=values):
            found = [Reference(f"value:{name}", value, delivery.id) for name, value in values.items()]
            if receipt:
                found.append(Reference("receipt", receipt, delivery.id))
            return tuple(found)
        case Taken(reference=reference):
            return (Reference("receipt", reference, delivery.id),)
        case _:
            return ()
