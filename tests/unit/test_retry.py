"""When to try again, and when to stop: the table of outcomes, the bounds of the pause, the clock that gives up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.delivery import TRANSITIONS, Delivery, Event, EventKind, State, advance
from hub.message import DeliveryId, MessageId
from hub.outcome import Blocked, Deferred, Delivered, Outcome, Phase, Reason, Refused, Taken, Unclear
from hub.retry import RETRY_AFTER_MAX, RetryPolicy, settle

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
WAITING = Delivery(DeliveryId("d-1"), MessageId("m-1"), "wolfsburg", "antraege", "wolfsburg/gewerbe", NOW)
RETRY, HOLD = RetryPolicy(), RetryPolicy(on_unclear="hold")

policies = st.builds(
    RetryPolicy,
    first=st.timedeltas(SECOND, HOUR),
    factor=st.floats(1, 10),
    ceiling=st.timedeltas(HOUR, DAY),
    give_up_after=st.timedeltas(timedelta(0), 30 * DAY),
    on_unclear=st.sampled_from(["retry", "hold"]),
)
reasons = st.sampled_from(Reason)
outcomes = st.one_of(
    st.builds(Delivered),
    st.builds(Taken, st.text()),
    st.builds(Deferred, reasons, retry_after=st.none() | st.timedeltas(-DAY, 400 * DAY)),
    st.builds(Refused, reasons),
    st.builds(Unclear, reasons, blocks=st.booleans()),
    st.builds(Blocked, reasons),
)


def sending(*, attempts: int = 1, since: datetime = NOW) -> Delivery:
    return replace(WAITING, state=State.SENDING, attempts=attempts, first_attempt_at=since)


@pytest.mark.parametrize(
    ("outcome", "policy", "kind", "reason"),
    [
        (Delivered(), RETRY, EventKind.DELIVERED, ""),
        (Taken("ref"), RETRY, EventKind.TAKEN, ""),
        (Refused(Reason.REFUSED), RETRY, EventKind.DIED, "refused"),
        (Refused(Reason.TRANSFORM_FAILED), HOLD, EventKind.DIED, "transform_failed"),
        (Deferred(Reason.BUSY), RETRY, EventKind.DEFERRED, "busy"),
        (Deferred(Reason.UNREACHABLE), HOLD, EventKind.DEFERRED, "unreachable"),
        (Blocked(Reason.PEER_TLS), RETRY, EventKind.DEFERRED, "peer_tls"),
        (Blocked(Reason.PEER_AUTH), HOLD, EventKind.DEFERRED, "peer_auth"),
        (Unclear(Reason.TIMEOUT), RETRY, EventKind.DEFERRED, "timeout"),
        (Unclear(Reason.TIMEOUT), HOLD, EventKind.DIED, "unclear"),
        (Unclear(Reason.WORKER_LOST), RETRY, EventKind.DEFERRED, "worker_lost"),
        (Unclear(Reason.WORKER_LOST), HOLD, EventKind.DIED, "unclear"),
    ],
)
def test_the_table_of_outcomes(outcome: Outcome, policy: RetryPolicy, kind: EventKind, reason: str):
    event = settle(sending(), outcome, policy, NOW)

    assert (event.kind, event.reason) == (kind, reason)


@given(outcomes, policies, st.integers(1, 10_000), st.timedeltas(timedelta(0), 40 * DAY))
def test_every_outcome_becomes_an_event_that_may_follow(outcome: Outcome, policy: RetryPolicy, attempts: int, age):
    delivery = sending(attempts=attempts, since=NOW - age)

    event = settle(delivery, outcome, policy, NOW, duration=SECOND)

    assert (State.SENDING, event.kind) in TRANSITIONS
    assert advance(delivery, event).state is not State.SENDING
    assert (event.at, event.duration, event.phase, event.code) == (NOW, SECOND, outcome.phase, outcome.code)
    assert event.due_at is None or event.due_at >= NOW


@given(policies, st.integers(1, 100_000), st.text())
def test_a_pause_stays_between_its_bounds(policy: RetryPolicy, attempts: int, seed: str):
    pause = policy.wait(attempts, seed)

    assert min(policy.first, policy.ceiling) * 0.89 <= pause <= policy.ceiling * 1.11
    assert pause == policy.wait(attempts, seed)


@given(policies, st.integers(1, 30))
def test_a_pause_grows_by_the_factor_until_the_ceiling(policy: RetryPolicy, attempts: int):
    expected = min(policy.first.total_seconds() * policy.factor ** (attempts - 1), policy.ceiling.total_seconds())

    assert policy.wait(attempts, "d-1").total_seconds() == pytest.approx(expected, rel=0.11)


def test_deliveries_that_failed_together_do_not_come_back_together():
    pauses = {RETRY.wait(8, f"d-{number}") for number in range(200)}

    assert len(pauses) > 50
    assert max(pauses) - min(pauses) > HOUR * 0.15


@given(st.timedeltas(-DAY, 400 * DAY))
def test_a_peer_that_names_a_time_is_heard_but_cannot_park_a_delivery_for_years(retry_after: timedelta):
    event = settle(sending(), Deferred(Reason.BUSY, retry_after=retry_after), RETRY, NOW)

    # Not before the peer wants it, and never faster than the policy: a peer that says 0 must not be hammered.
    assert event.due_at == NOW + max(min(retry_after, RETRY_AFTER_MAX), RETRY.wait(1, "d-1"))


def test_a_peer_that_names_a_time_beyond_the_end_gets_one_last_try_at_the_end():
    policy = replace(RETRY, give_up_after=12 * HOUR)

    event = settle(sending(), Deferred(Reason.BUSY, retry_after=20 * HOUR), policy, NOW)
    last = settle(sending(since=NOW - 12 * HOUR), Deferred(Reason.BUSY), policy, NOW)

    assert (event.kind, event.due_at) == (EventKind.DEFERRED, NOW + 12 * HOUR)
    assert (last.kind, last.reason) == (EventKind.DIED, "gave_up")


def test_a_worker_lost_for_the_first_time_is_tried_at_once_and_then_by_policy():
    first = settle(sending(attempts=1), Unclear(Reason.WORKER_LOST), RETRY, NOW)
    second = settle(sending(attempts=2), Unclear(Reason.WORKER_LOST), RETRY, NOW)

    assert first.due_at == NOW
    assert second.due_at == NOW + RETRY.wait(2, "d-1")


def test_a_procedure_down_over_the_weekend_loses_nothing():
    delivery, now = WAITING, datetime(2026, 3, 6, 17, 0, tzinfo=UTC)  # a Friday
    monday = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)
    while now < monday:
        delivery = advance(delivery, Event(EventKind.CLAIMED, now))
        delivery = advance(delivery, settle(delivery, Deferred(Reason.UNREACHABLE), RETRY, now))
        assert delivery.state is State.WAITING
        assert now < delivery.due_at <= now + HOUR * 1.1
        now = delivery.due_at

    assert 60 < delivery.attempts < 90


@given(policies, st.integers(1, 500), st.timedeltas(timedelta(0), 40 * DAY), st.timedeltas(timedelta(0), 40 * DAY))
def test_it_gives_up_by_the_clock_and_held_time_does_not_count(policy: RetryPolicy, attempts: int, age, held):
    delivery = sending(attempts=attempts, since=NOW - age)
    pause = policy.wait(attempts, delivery.id)

    event = settle(delivery, Deferred(Reason.BUSY), policy, NOW, held=held)

    left = policy.give_up_after + held - age
    if left <= timedelta(0):
        assert (event.kind, event.reason) == (EventKind.DIED, "gave_up")
    else:
        assert (event.kind, event.due_at) == (EventKind.DEFERRED, NOW + min(pause, left))


@given(st.timedeltas(timedelta(0), 400 * DAY))
def test_a_blocked_destination_never_makes_a_delivery_give_up(age: timedelta):
    event = settle(sending(attempts=500, since=NOW - age), Blocked(Reason.PEER_TLS), RETRY, NOW)

    assert (event.kind, event.due_at) == (EventKind.DEFERRED, NOW)


def test_a_resend_starts_the_clock_anew():
    given_up = replace(sending(attempts=90, since=NOW - 5 * DAY), state=State.DEAD)
    resent = advance(given_up, Event(EventKind.RESENT, NOW))
    claimed = advance(resent, Event(EventKind.CLAIMED, NOW))

    event = settle(claimed, Deferred(Reason.UNREACHABLE), RETRY, NOW)

    assert event.kind is EventKind.DEFERRED
    assert event.due_at == NOW + RETRY.wait(1, "d-1")


def test_the_text_of_a_peer_reaches_no_event():
    for outcome in (Deferred(Reason.BUSY, detail="Erika"), Refused(Reason.REFUSED, detail="Erika"),
                    Unclear(Reason.TIMEOUT, detail="Erika"), Blocked(Reason.PEER_TLS, detail="Erika")):  # fmt: skip
        event = settle(sending(), outcome, RETRY, NOW)

        assert "Erika" not in repr(event) + repr(outcome)


def test_phases_are_in_the_order_of_their_happening():
    assert list(Phase) == [
        Phase.NONE, Phase.RESOLVED, Phase.CONNECTED, Phase.TLS, Phase.REQUEST_SENT, Phase.RESPONSE_READ,
        Phase.RESPONSE_PARSED,
    ]  # fmt: skip
