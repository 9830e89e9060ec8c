"""Whether a destination as a whole is held back because of how attempts end, and when it goes on.

    blocked   an outcome says that the destination is wrong, not the document ──┐   one delivery at a time is the
    failing   so many attempts in a row came to nothing ────────────────────────┴─▶ probe; the first that gets an
                                                                                    answer lets all go on
    paused, closed (by a person, by its hours) end by themselves, and not here

One rule: what is held back costs one attempt per probe, however many deliveries wait. The store gives a probe to one
node only; it marks the delivery's claim with the code ``probe``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from hub.delivery import PROBE, Delivery
from hub.log import get_log
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Reason, Refused, Taken, Unclear
from hub.retry import RETRY_AFTER_MAX, RetryPolicy
from hub.store.api import PROBE_EVERY, PROBING, Control, ControlKind, Store

log = get_log(__name__)

FAILURES_MAX = 10  # in a row: more than one attempt of each thread, so that one bad moment closes nothing
_PEER_FAILS = frozenset({Reason.UNREACHABLE, Reason.BUSY, Reason.TIMEOUT, Reason.UNCLEAR})
_EVENTS = {"blocked": "destination_blocked", "failing": "destination_failing"}
_OURS = frozenset({"store", "deadline"})  # codes of failures in which the destination has no part


class Breaker:
    """Counts failures in a row by destination and holds back what fails. One per process; safe in any thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._failures: dict[str, int] = {}

    def judge(
        self, delivery: Delivery, outcome: Outcome, policy: RetryPolicy, now: datetime
    ) -> Callable[[], None] | None:
        """Count the outcome of an attempt; return what is to be written down of its destination, if anything is.

        What is returned may be called again when the store was away.
        """
        name, probe = delivery.destination, delivery.code == PROBE
        if name is None:
            return None
        if blocks(outcome):
            failed = self._failed(name, at_least=1)
            return partial(self._hold, name, "blocked", outcome, now, _pause(outcome, policy, failed, name))
        if fails(outcome):
            # A probe is that of a hold, be it that another node, or one before a restart, has begun it.
            failed = self._failed(name, at_least=FAILURES_MAX if probe else 1) - FAILURES_MAX + 1
            if failed > 0:
                return partial(self._hold, name, "failing", outcome, now, _pause(outcome, policy, failed, name))
        elif answers(outcome):
            with self._lock:
                failed = self._failures.pop(name, 0)
            if probe or failed >= FAILURES_MAX:
                return partial(self._release, name, now)
        elif probe:  # it says nothing of the destination: the next one may
            return partial(probe_now, self._store, name, now)
        return None

    def _failed(self, name: str, *, at_least: int) -> int:
        """Count one more failure in a row, and return how many that makes."""
        with self._lock:
            self._failures[name] = max(self._failures.get(name, 0) + 1, at_least)
            return self._failures[name]

    def _hold(self, name: str, kind: ControlKind, outcome: Outcome, now: datetime, pause: timedelta) -> None:
        assert isinstance(outcome, Blocked | Deferred | Unclear)
        self._store.hold(Control(name, kind, outcome.reason, now, by="hub", until=now + pause, code=outcome.code))
        log.warning(_EVENTS[kind], destination=name, reason=outcome.reason, code=outcome.code)

    def _release(self, name: str, now: datetime) -> None:
        for kind in PROBING:
            if self._store.release(name, by="hub", now=now, kind=kind):
                log.info("destination_unblocked", destination=name, state=kind, reason="answered")


def _pause(outcome: Outcome, policy: RetryPolicy, failed: int, name: str) -> timedelta:
    """Return how long the next probe is waited for: at the pace of the destination's own ``retry``, or as it wishes."""
    pause = min(policy.wait(failed, name), PROBE_EVERY)
    if isinstance(outcome, Deferred) and outcome.retry_after is not None:
        pause = max(pause, min(outcome.retry_after, RETRY_AFTER_MAX))
    return pause


def blocks(outcome: Outcome) -> bool:
    """Tell whether an outcome says that the destination is wrong, and not (only) the document."""
    return isinstance(outcome, Blocked) or (isinstance(outcome, Unclear) and outcome.blocks)


def fails(outcome: Outcome) -> bool:
    """Tell whether the destination gave no answer that one could work with, whatever the document."""
    return isinstance(outcome, Deferred | Unclear) and outcome.reason in _PEER_FAILS and outcome.code not in _OURS


def answers(outcome: Outcome) -> bool:
    """Tell whether the destination has answered as it should: it took the document, or refused this one."""
    return isinstance(outcome, Delivered | Taken) or (isinstance(outcome, Refused) and outcome.reason == Reason.REFUSED)


def probe_now(store: Store, destination: str, now: datetime) -> None:
    """Have the next probe of a destination made at once, if it is one that is probed."""
    for control in store.controls(now):
        if control.destination == destination and control.probed:
            store.hold(replace(control, until=now))
