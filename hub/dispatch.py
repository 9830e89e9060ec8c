"""Attempts: load, deliver, settle. Named steps, in this order; everything that can fail ends as an outcome.

claimed delivery ─▶ load the bytes ─▶ adapter: one try ─▶ outcome ─▶ hold the destination? ─▶ settle ─▶ event
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import repeat
from typing import TypeVar

from hub import crashpoint
from hub.breaker import Breaker
from hub.contents import Content
from hub.delivery import Delivery
from hub.deployment import Destination
from hub.errors import Conflict, HubError, StoreError, Unavailable
from hub.log import get_log
from hub.message import Message, Outgoing, new_id
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear
from hub.plugin import OutboundAdapter, SeveralAtOnce
from hub.retry import RetryPolicy, settle
from hub.store.api import Change, Payload, PayloadRole, Reference, Settlement, Store

log = get_log(__name__)

DETAIL_MAX = 500
RECORD_PAUSE_MAX = 5.0  # seconds between two tries to write down what happened
T = TypeVar("T")
_CODE = re.compile("[A-Za-z0-9_.-]{0,64}")
_PHASES, _REASONS = frozenset(Phase), frozenset(Reason)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that is ours to try, with what the store would load for it if that is at hand."""

    delivery: Delivery
    content: Content | None = field(default=None, repr=False)
    since: float = field(default_factory=time.monotonic)


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
        self._breaker = Breaker(store)

    def attempt(self, claimed: Sequence[Claimed], destination: Destination, adapter: OutboundAdapter) -> None:
        """Try claimed deliveries to one destination once each, and settle them; as many at once as are at hand."""
        left = list(claimed)
        while left:
            some = self._load(left)
            self._attempt(left[: len(some)], some, destination, adapter)
            del left[: len(some)]

    def _attempt(
        self,
        claimed: Sequence[Claimed],
        loaded: Sequence[Content | Outcome],
        destination: Destination,
        adapter: OutboundAdapter,
    ) -> None:
        secrets = self._secrets(destination)
        started = time.monotonic()
        deadline = started + destination.limits.total.total_seconds()
        outcomes = self._deliver(
            [
                outgoing_of(one.delivery, *found, deadline) if isinstance(found, tuple) else found
                for one, found in zip(claimed, loaded, strict=True)
            ],
            adapter,
        )
        took = timedelta(seconds=time.monotonic() - started)
        ended = [(one.delivery, outcome) for one, outcome in zip(claimed, outcomes, strict=True)]
        for delivery, outcome in ended:
            self._observe(Attempt(delivery, outcome, took, secrets))
        self.settle(ended, destination.retry, took)

    def settle(
        self, ended: Sequence[tuple[Delivery, Outcome]], policy: RetryPolicy, duration: timedelta | None = None
    ) -> None:
        """Record how attempts ended, with one sync; what holds their destination back goes first, so that it is not
        tried again.

        Raises:
            Unavailable: The hub is closing, and the store is away.
        """
        now = self._clock()
        changes = [self._change(delivery, outcome, policy, now, duration) for delivery, outcome in ended]
        for (delivery, _), answer in zip(ended, self._record(changes), strict=True):
            match answer:
                case Conflict():
                    # Our lease ran out and somebody else took over: what he recorded counts.
                    log.warning("late_outcome_ignored", delivery=delivery.id, destination=delivery.destination)
                case HubError():
                    # The store is gone for good, say: the next start settles it as unclear.
                    log.error("attempt_not_recorded", delivery=delivery.id, error=type(answer).__name__)
                case [after]:
                    _log_settled(delivery, after)

    def _record(self, changes: Sequence[Change]) -> Sequence[Sequence[Delivery] | HubError]:
        """Write all of them down; those for which the store was away, again and again."""
        answers: dict[int, Sequence[Delivery] | HubError] = {}

        def write() -> None:
            left = [at for at in range(len(changes)) if at not in answers]
            told = self._store.apply_all([changes[at] for at in left])
            answers.update({at: one for at, one in zip(left, told, strict=True) if not isinstance(one, Unavailable)})
            if len(answers) < len(changes):
                raise Unavailable("the store does not answer")

        self._insist(write)
        return [answers[at] for at in range(len(changes))]

    def _change(
        self, delivery: Delivery, outcome: Outcome, policy: RetryPolicy, now: datetime, duration: timedelta | None
    ) -> Change:
        if (write := self._breaker.judge(delivery, outcome, policy, now)) is not None:
            self._insist(write)
        held = timedelta(0)
        since = delivery.first_attempt_at
        if delivery.destination and since and now - since > policy.give_up_after / 2:
            held = self._insist(
                lambda: self._store.held(delivery.destination or "", since, now)
            )  # matters near the end
        event = settle(delivery, outcome, policy, now, held=held, duration=duration)
        settlement = Settlement(delivery, event, _payloads(delivery, outcome), _references(delivery, outcome))
        return Change(settlements=(settlement,), message_id=delivery.message_id)

    def _deliver(self, loaded: Sequence[Outgoing | Outcome], adapter: OutboundAdapter) -> Sequence[Outcome]:
        """Return how each ended; whatever fails is an outcome."""
        outgoing = [one for one in loaded if isinstance(one, Outgoing)]
        crashpoint.reached("before-send")
        asked = [outgoing] if isinstance(adapter, SeveralAtOnce) else [[one] for one in outgoing]
        answers = iter([outcome for some in asked if some for outcome in _ask(adapter, some)])
        return [next(answers) if isinstance(one, Outgoing) else one for one in loaded]

    def _load(self, claimed: Sequence[Claimed]) -> Sequence[Content | Outcome]:
        """Return what is to be sent of some of these, from the first, or why it cannot be known; at least of one."""
        lacking = [one.delivery for one in claimed if one.content is None]
        found: Iterator[Content | StoreError | Deferred] = iter(())
        if lacking:
            try:
                found = iter(self._store.load_all(lacking))
            except Unavailable:
                found = repeat(Deferred(Reason.UNREACHABLE, code="store"))  # our own disk: certainly not sent
        loaded: list[Content | Outcome] = []
        for one in claimed:
            content = one.content or next(found, None)
            if content is None:
                break  # there was no room for more
            loaded.append(self._readable(one.delivery, content))
        return loaded

    def _readable(self, delivery: Delivery, found: Content | StoreError | Deferred) -> Content | Outcome:
        if isinstance(found, StoreError):
            log.error("payload_damaged", delivery=delivery.id, error=type(found).__name__)
            return Refused(Reason.CRASHED, code="payload-damaged")
        return found

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


def _ask(adapter: OutboundAdapter, several: Sequence[Outgoing]) -> Sequence[Outcome]:
    """Return how each of these ended; a plugin's bug is an outcome and does not end the destination's thread."""
    try:
        if isinstance(adapter, SeveralAtOnce):
            told: list[object] = list(adapter.deliver_all(several))
        else:
            told = [adapter.deliver(one) for one in several]
    except Exception as error:
        log.error("adapter_crashed", destination=several[0].destination, count=len(several), exc_info=error)
        return [Deferred(Reason.CRASHED, code=type(error).__name__)] * len(several)
    if len(told) != len(several):
        told = [None] * len(several)
    return [_outcome(answer, one) for answer, one in zip(told, several, strict=True)]


def _outcome(told: object, outgoing: Outgoing) -> Outcome:
    if isinstance(told, Outcome):
        return presentable(told)
    log.error("adapter_gave_no_outcome", delivery=outgoing.delivery_id, destination=outgoing.destination)
    return Deferred(Reason.CRASHED, code="no-outcome")


def _log_settled(delivery: Delivery, after: Delivery) -> None:
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
