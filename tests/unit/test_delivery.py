"""The state machine: every pair of state and event is decided, and a delivery is the sum of its events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.delivery import TRANSITIONS, Delivery, Event, EventKind, State, advance, fold
from hub.errors import IllegalTransition
from hub.message import DeliveryId, MessageId

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
PLANNED = Delivery(DeliveryId("d-1"), MessageId("m-1"), "wolfsburg", "antraege", "wolfsburg/gewerbe", NOW)

# The table of ARCHITECTURE §4, written a second time by hand: what is not here is illegal.
ALLOWED = """
waiting  claimed    sending
waiting  closed     closed
sending  delivered  delivered
sending  taken      taken
sending  deferred   waiting
sending  died       dead
taken    confirmed  delivered
taken    declined   dead
taken    overdue    dead
dead     resent     waiting
dead     closed     closed
delivered resent    waiting
closed   resent     waiting
"""
LEGAL = {(State(a), EventKind(b)): State(c) for a, b, c in (line.split() for line in ALLOWED.strip().splitlines())}

times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
events = st.builds(
    Event, st.sampled_from(EventKind), times, due_at=st.none() | times, reason=st.sampled_from(["", "busy"]),
    phase=st.sampled_from(["", "tls"]), code=st.sampled_from(["", "http-503"]),
)  # fmt: skip


def legal_events(draw: st.DrawFn, start: Delivery, count: int) -> list[Event]:
    """Draw events that may follow one another."""
    drawn, state = [], start.state
    for _ in range(count):
        kind = draw(st.sampled_from([kind for (before, kind) in TRANSITIONS if before is state]))
        drawn.append(replace(draw(events), kind=kind))
        state = TRANSITIONS[state, kind]
        if state is State.DELIVERED and draw(st.booleans()):
            break
    return drawn


@st.composite
def histories(draw: st.DrawFn) -> tuple[Delivery, list[Event]]:
    planned = replace(PLANNED, state=draw(st.sampled_from([State.WAITING, State.DEAD])))
    return planned, legal_events(draw, planned, draw(st.integers(0, 12)))


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize("state", State)
def test_every_pair_of_state_and_event_is_decided(state: State, kind: EventKind):
    delivery = replace(PLANNED, state=state)

    if (state, kind) in LEGAL:
        assert advance(delivery, Event(kind, NOW)).state is LEGAL[state, kind]
    else:
        with pytest.raises(IllegalTransition):
            advance(delivery, Event(kind, NOW))


def test_from_every_state_something_can_follow_and_every_state_is_reached():
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert set(TRANSITIONS.values()) == set(State)


@given(histories(), st.integers(0, 12))
def test_a_delivery_is_the_sum_of_its_events_wherever_one_stops_in_between(history, cut: int):
    planned, happened = history

    assert fold(fold(planned, happened[:cut]), happened[cut:]) == fold(planned, happened)


@given(histories())
def test_the_revision_counts_the_events_and_attempts_the_claims_since_the_last_resend(history):
    planned, happened = history
    kinds = [event.kind for event in happened]
    since = len(kinds) - kinds[::-1].index(EventKind.RESENT) if EventKind.RESENT in kinds else 0
    claims = [event for event in happened[since:] if event.kind is EventKind.CLAIMED]

    delivery = fold(planned, happened)

    assert delivery.revision == len(happened)
    assert delivery.attempts == len(claims)
    assert delivery.first_attempt_at == (claims[0].at if claims else None)


@given(histories(), events, st.data())
def test_an_event_changes_only_what_it_may(history, event: Event, data: st.DataObject):
    planned, happened = history
    before = fold(planned, happened)
    kinds = [kind for state, kind in TRANSITIONS if state is before.state]
    event = replace(event, kind=data.draw(st.sampled_from(kinds)))
    after = advance(before, event)

    kept = (
        "id",
        "message_id",
        "owner",
        "route",
        "destination",
        "payload_id",
        "order_key",
        "replay_of",
        "snapshot",
        "seq",
    )
    assert [getattr(after, name) for name in kept] == [getattr(before, name) for name in kept]
    assert (after.reason, after.phase, after.code) == (event.reason, event.phase, event.code)
    assert after.due_at == (event.due_at or event.at)


def test_an_attempt_counts_when_it_is_claimed_so_that_a_killed_worker_runs_out_of_tries():
    claimed = advance(PLANNED, Event(EventKind.CLAIMED, NOW))
    lost = advance(claimed, Event(EventKind.DEFERRED, NOW, reason="worker_lost"))

    again = advance(lost, Event(EventKind.CLAIMED, NOW + timedelta(hours=1)))

    assert (lost.attempts, again.attempts) == (1, 2)
    assert again.first_attempt_at == NOW
