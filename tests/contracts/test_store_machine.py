"""Invariant 5, on the real store: whatever is asked of it in whatever order, a row is the sum of its events."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hub.delivery import TRANSITIONS, Delivery, Event, EventKind, State, fold
from hub.errors import Conflict, IllegalTransition
from hub.store.api import Change, Control, Filter, Settlement
from tests.storing import GEWERBE, LEASE, NOW, SECOND, Place, acceptance

BAU = "gifhorn/bau"


class StoreMachine(RuleBasedStateMachine):
    """Hands in, claims, settles, holds and reopens at random, and compares with what must be there."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.place = Place(f"sqlite:///{self.folder}/hub.db", self.folder)
        self.now = NOW
        self.planned: dict[str, Delivery] = {}
        self.expected: dict[str, Delivery] = {}
        self.held: set[str] = set()

    @initialize()
    def open(self) -> None:
        self.store = self.place.open()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(order_key=st.sampled_from([None, "A", "B"]), dead=st.booleans(), twice=st.booleans())
    def accept(self, order_key: str | None, dead: bool, twice: bool) -> None:
        destinations = (GEWERBE, BAU) if twice else (GEWERBE,)
        receipt = self.store.accept(
            acceptance(destinations=destinations, order_key=order_key, dead="no_route" if dead else "", due_at=self.now)
        )
        for one in self.store.message(receipt.message_id).deliveries:
            self.planned[one.id] = self.expected[one.id] = self.store.delivery(one.id)

    @rule(destination=st.sampled_from([GEWERBE, BAU]), limit=st.integers(1, 3))
    def claim(self, destination: str, limit: int) -> None:
        was_due = destination in self.store.due(self.now)
        claimed = self.store.claim(destination, now=self.now, limit=limit, owner="node-1", lease=LEASE)
        assert bool(claimed) is was_due
        assert not claimed or destination not in self.held
        for delivery in claimed:
            before = self.expected[delivery.id]
            assert (before.state, delivery.state) == (State.WAITING, State.SENDING)
            self.expected[delivery.id] = delivery

    @precondition(lambda self: self.planned)
    @rule(data=st.data(), kind=st.sampled_from([kind for kind in EventKind if kind is not EventKind.CLAIMED]))
    def settle(self, data: st.DataObject, kind: EventKind) -> None:
        before = self.expected[data.draw(st.sampled_from(sorted(self.planned)))]
        event = Event(kind, self.now, due_at=self.now + data.draw(st.integers(0, 3)) * SECOND)
        change = Change((Settlement(before, event),))
        if (before.state, kind) not in TRANSITIONS:
            with pytest.raises(IllegalTransition):
                self.store.apply(change)
            return
        (self.expected[before.id],) = self.store.apply(change)
        with pytest.raises(Conflict):  # the same result once more comes too late
            self.store.apply(change)

    @rule(destination=st.sampled_from([GEWERBE, BAU]))
    def hold_or_release(self, destination: str) -> None:
        if destination in self.held:
            assert self.store.release(destination, by="op", now=self.now)
        else:
            self.store.hold(Control(destination, "paused", "Wartung", self.now, "op"))
        self.held ^= {destination}

    @rule(seconds=st.integers(1, 3))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.store = self.place.open()
        sending = sorted(one.id for one in self.expected.values() if one.state is State.SENDING)
        assert sorted(one.id for one in self.store.lost(None)) == sending

    @invariant()
    def rows_are_the_sum_of_their_events(self) -> None:
        if not self.planned:
            return
        rows = self.store.find_deliveries(Filter())
        assert {row.id: row for row in rows} == {id_: self.as_shown(one) for id_, one in self.expected.items()}
        for id_, one in self.expected.items():
            assert fold(self.planned[id_], self.store.events(id_)) == one

    def as_shown(self, one: Delivery) -> Delivery:
        """What waits for a held destination is listed with that reason; its row and its events know nothing of it."""
        return replace(one, reason="paused") if one.state is State.WAITING and one.destination in self.held else one

    @invariant()
    def of_one_order_key_at_most_one_is_being_sent(self) -> None:
        sending = [
            (one.destination, one.order_key)
            for one in self.expected.values()
            if one.state is State.SENDING and one.order_key
        ]
        assert len(sending) == len(set(sending))


def test_the_delivery_row_equals_the_fold_of_its_events():
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )  # fmt: skip
