"""When to try again, and when to stop. The only place that decides it.

outcome     ─▶ event
Delivered      delivered
Taken          taken
Refused        died
Blocked        deferred: the destination waits as a whole, the delivery with it
Deferred       deferred by policy, or died (gave_up) by the clock
Unclear        on_unclear: retry ─▶ deferred by policy (worker_lost: at once, the first time)
               on_unclear: hold  ─▶ died (unclear), for a person to decide
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, assert_never

from hub.delivery import Delivery, Event, EventKind
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Reason, Refused, Taken, Unclear

RETRY_AFTER_MAX = timedelta(days=1)  # a peer must not park a delivery for years


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits ``first``, then ``factor`` times longer each time, up to ``ceiling``.

    Gives up by the clock and not by the number of attempts: a procedure that is down from Friday evening to Monday
    morning is normal (default 4 days).
    """

    first: timedelta = timedelta(seconds=30)
    factor: float = 2.0
    ceiling: timedelta = timedelta(hours=1)
    give_up_after: timedelta = timedelta(days=4)
    on_unclear: Literal["retry", "hold"] = "retry"

    def wait(self, attempts: int, seed: str) -> timedelta:
        """Return the pause after the given number of attempts, 1 or more.

        Spread by ±10 % so that a destination that comes back is not hit by all deliveries at once; derived from
        ``seed``, so that tests can repeat it.
        """
        exponent = min(max(attempts, 1) - 1, 32)  # 2.0 ** 1024 overflows a float
        plain = min(self.first.total_seconds() * self.factor**exponent, self.ceiling.total_seconds())
        digest = hashlib.sha256(f"{seed}:{attempts}".encode()).digest()
        return timedelta(seconds=plain * (0.9 + 0.2 * digest[0] / 255))


def settle(
    delivery: Delivery,
    outcome: Outcome,
    policy: RetryPolicy,
    now: datetime,
    *,
    held: timedelta = timedelta(0),
    duration: timedelta | None = None,
) -> Event:
    """Turn the outcome of an attempt into the event to record. Pure.

    ``held`` is how long the destination was blocked, paused or closed since the first attempt: that time does not
    count towards giving up.
    """

    def event(kind: EventKind, reason: str = "", due_at: datetime | None = None) -> Event:
        return Event(kind, now, due_at=due_at, reason=reason, phase=outcome.phase, code=outcome.code, duration=duration)

    def again(reason: Reason, pause: timedelta) -> Event:
        end = (delivery.first_attempt_at or now) + held + policy.give_up_after
        if now >= end:
            return event(EventKind.DIED, Reason.GAVE_UP)
        return event(EventKind.DEFERRED, reason, min(now + pause, end))  # the last try is made at the very end

    match outcome:
        case Delivered():
            return event(EventKind.DELIVERED)
        case Taken():
            return event(EventKind.TAKEN)
        case Refused(reason=reason):
            return event(EventKind.DIED, reason)
        case Blocked(reason=reason):
            return event(EventKind.DEFERRED, reason, now)
        case Deferred(reason=reason, retry_after=retry_after):
            pause = policy.wait(delivery.attempts, delivery.id)
            if retry_after is not None:  # not before the peer wants it, and never faster than we would
                pause = max(pause, min(retry_after, RETRY_AFTER_MAX))
            return again(reason, pause)
        case Unclear(reason=reason):
            if policy.on_unclear == "hold":
                return event(EventKind.DIED, Reason.UNCLEAR)
            if reason is Reason.WORKER_LOST and delivery.attempts <= 1:
                return event(EventKind.DEFERRED, reason, now)
            return again(reason, policy.wait(delivery.attempts, delivery.id))
        case _:
            assert_never(outcome)
