"""A simulation that finds nothing proves nothing: here the hub is broken on purpose, and each time it must be seen.

Each case is a mistake that somebody might make in that very place.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from hub import breaker, dispatch, intake, items, retry
from hub.daemon.engine import Engine
from hub.delivery import Delivery, Event, EventKind
from hub.errors import Conflict, Unavailable
from hub.message import Receipt
from hub.outcome import Blocked, Outcome, Reason, Refused
from hub.retry import RetryPolicy
from hub.store import claiming
from hub.store.api import Change, Settlement
from hub.store.taking import Accepted
from hub.store.writer import Verb
from tests.simulation.machine import HubMachine

RUNS = 3_000  # none needs more than 300 today

Settle = Callable[..., Event]
_settle, _advance, _deliveries_of = retry.settle, claiming.advance, intake.deliveries_of
_record = dispatch.Dispatch._record
_outgoing_of, _store_all = dispatch.outgoing_of, intake.Intake._store_all


def settling(change: Callable[[Delivery, Outcome, RetryPolicy, Event], Event]) -> AbstractContextManager[Any]:
    """Replace what is decided of an outcome."""

    def settle(delivery: Delivery, outcome: Outcome, policy: RetryPolicy, now: Any, **more: Any) -> Event:
        return change(delivery, outcome, policy, _settle(delivery, outcome, policy, now, **more))

    return patch.object(dispatch, "settle", settle)


def hold_is_retry(delivery: Delivery, outcome: Outcome, policy: RetryPolicy, event: Event) -> Event:
    return _settle(delivery, outcome, replace(policy, on_unclear="retry"), event.at)


def refused_again(_: Delivery, outcome: Outcome, policy: RetryPolicy, event: Event) -> Event:
    again = isinstance(outcome, Refused)
    return replace(event, kind=EventKind.DEFERRED, due_at=event.at + policy.first) if again else event


def two_tries(delivery: Delivery, _: Outcome, __: RetryPolicy, event: Event) -> Event:
    over = event.kind is EventKind.DEFERRED and delivery.attempts >= 2
    return replace(event, kind=EventKind.DIED, reason=Reason.GAVE_UP, due_at=None) if over else event


def at_once(_: Delivery, __: Outcome, ___: RetryPolicy, event: Event) -> Event:
    return replace(event, due_at=event.at) if event.kind is EventKind.DEFERRED else event


def blocked_dies(_: Delivery, outcome: Outcome, __: RetryPolicy, event: Event) -> Event:
    return replace(event, kind=EventKind.DIED, due_at=None) if isinstance(outcome, Blocked) else event


def dead_for_nothing(_: Delivery, __: Outcome, ___: RetryPolicy, event: Event) -> Event:
    return replace(event, reason="") if event.kind is EventKind.DIED else event


def uncounted(delivery: Delivery, event: Event) -> Delivery:
    return replace(_advance(delivery, event), attempts=delivery.attempts)


def write_once(self: Any, changes: Any) -> Any:
    try:
        return self._store.apply_all(changes)
    except Unavailable:
        return [Conflict("never mind")] * len(changes)


def forced(self: Any, changes: Any) -> Any:
    answers = _record(self, changes)
    for change, answer in zip(changes, answers, strict=True):
        if isinstance(answer, Conflict):  # somebody has settled it as lost meanwhile: we know better
            (settlement,) = change.settlements
            current = self._store.delivery(settlement.before.id)
            if current.state == "waiting":
                (current,) = self._store.apply(Change((Settlement(current, Event(EventKind.CLAIMED, self._clock())),)))
            if current.state == "sending":
                self._store.apply(Change((Settlement(current, settlement.event),)))
    return answers


def both_go(*given: Any, **named: Any) -> Change:
    return Change(*given, **named | {"settlements": ()} if named.get("deliveries") else named)


def promised_early(self: Any, several: Any, stack: Any) -> Any:
    try:
        return _store_all(self, several, stack)
    except Unavailable:
        return [Accepted(Receipt(one.kept.message.id)) for one in several]  # it will be there in a moment


def without_key(*given: Any, **named: Any) -> Any:
    payloads, deliveries = _deliveries_of(*given, **named)
    return payloads, [replace(one, order_key=None) for one in deliveries]


def pretty(*given: Any) -> Any:
    outgoing = _outgoing_of(*given)
    return replace(outgoing, body=outgoing.body + b"\n")


BUGS: dict[str, tuple[str, Callable[[], AbstractContextManager[Any]]]] = {
    "unclear is tried again where a person shall decide": (
        "nobody is asked|a person was to be asked",
        lambda: settling(hold_is_retry),
    ),
    "refused is tried again": ("what is refused goes on", lambda: settling(refused_again)),
    "given up after two tries": ("given up", lambda: settling(two_tries)),
    "no pause between tries": ("tried again too soon", lambda: settling(at_once)),
    "a wrong destination kills its documents": (
        "the destination is wrong, not the document",
        lambda: settling(blocked_dies),
    ),
    "dead without a reason": ("dead without a reason|nobody is asked", lambda: settling(dead_for_nothing)),
    "a peer parks a delivery for years": (
        "parked for longer",
        lambda: patch.object(retry, "RETRY_AFTER_MAX", timedelta(days=9999)),
    ),
    "a wrong destination is not held back": (
        "a wrong destination goes on",
        lambda: patch.object(breaker, "blocks", lambda _outcome: False),
    ),
    "tries are not counted": ("attempts|not the sum", lambda: patch.object(claiming, "advance", uncounted)),
    "an outcome is written once or not at all": (
        "an attempt has no record",
        lambda: patch.object(dispatch.Dispatch, "_record", write_once),
    ),
    "a late outcome is forced in": (
        "tried before its time|an attempt has no record, or two|sent again",
        lambda: patch.object(dispatch.Dispatch, "_record", forced),
    ),
    "other bytes are sent": ("other bytes", lambda: patch.object(dispatch, "outgoing_of", pretty)),
    "a replay leaves the old one waiting": ("two of one message", lambda: patch.object(items, "Change", both_go)),
    "a receipt before it is on the disk": (
        "a receipt was given for nothing",
        lambda: patch.object(intake.Intake, "_store_all", promised_early),
    ),
    "order keys are forgotten": (
        "overtakes|two of one order key",
        lambda: patch.object(intake, "deliveries_of", without_key),
    ),
    "nobody looks for the lost": (
        "sending for ever",
        lambda: patch.object(Engine, "_settle_lost", lambda _self, _now: None),
    ),
    "leases are not renewed": (
        "taken over while its sender lives|two have the same in hand",
        lambda: patch.object(claiming, "RENEW", Verb("renew", lambda _connection, _wish: 0)),
    ),
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_hub_is_found_out_and_by_the_promise_that_it_breaks(bug: str) -> None:
    runs = itertools.count()

    class Machine(HubMachine):
        def teardown(self) -> None:
            next(runs)
            super().teardown()

    told, broken = BUGS[bug]
    with broken(), pytest.raises(AssertionError, match=told):
        run_state_machine_as_test(
            seed(1)(Machine),
            settings=settings(
                max_examples=RUNS, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck),
                database=None, phases=[Phase.generate], report_multiple_bugs=False,
            ),
        )  # fmt: skip

    print(f"found in run {next(runs)}")
