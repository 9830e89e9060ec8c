"""The store's contract: of one order key everything goes in the order of its receipts, and a long queue costs little."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from hub.delivery import ClosedAs, Delivery, Event, EventKind, State
from hub.message import DeliveryId, MessageId, new_id
from hub.store import claiming, keeping
from hub.store.api import Acceptance, Change, Settlement
from hub.store.sql import SqlStore
from tests.storing import GEWERBE, LEASE, NOW, SECOND, acceptance, claim_one, settle


def accept_all(store: SqlStore, given: Sequence[Acceptance]) -> None:
    """Take in many messages at once."""
    with store._foundation.writing.begin() as connection:
        keeping.keep_together(connection, [store._maker.accepted(one) for one in given])


def replay(store: SqlStore, old: Delivery) -> Delivery:
    """Plan a delivery anew, as a replay does."""
    new = replace(old, id=DeliveryId(new_id()), state=State.WAITING, reason="", revision=0, replay_of=old.id)
    closed = Settlement(old, Event(EventKind.CLOSED, NOW, reason=ClosedAs.SUPERSEDED, actor="op"))
    return store.apply(Change((closed,), (new,), old.message_id))[1]


def deliver_all(store: SqlStore) -> list[str]:
    """Deliver one after the other until nothing is due; return the senders in this order."""
    seen: list[str] = []
    while store.due(NOW):
        claimed = store.claim(GEWERBE, now=NOW, limit=1, owner="node-1", lease=LEASE)
        seen += [store.message(one.message_id).sender for one in claimed]
        for one in claimed:
            settle(store, one, EventKind.DELIVERED)
    return seen


def dead_with_two_behind(store: SqlStore) -> Delivery:
    """Let A die while B and C of the same key wait; return A's delivery."""
    for sender in "ABC":
        store.accept(acceptance(sender=sender, order_key="K"))
    return settle(store, claim_one(store), EventKind.DIED)


def test_a_replayed_dead_letter_goes_before_those_that_waited_behind_it(store: SqlStore):
    again = replay(store, dead_with_two_behind(store))

    assert again.seq > max(one.seq for one in store.message(again.message_id).deliveries[:-1])
    assert deliver_all(store) == ["A", "B", "C"]


def test_a_replay_that_dies_again_blocks_as_the_first_one_did(store: SqlStore):
    again = replay(store, dead_with_two_behind(store))
    assert claim_one(store).id == again.id
    settle(store, replace(again, state=State.SENDING, revision=1, attempts=1), EventKind.DIED)

    assert list(store.due(NOW)) == []


def test_a_dead_letter_that_is_sent_again_goes_before_those_that_waited_behind_it(store: SqlStore):
    settle(store, dead_with_two_behind(store), EventKind.RESENT)

    assert deliver_all(store) == ["A", "B", "C"]


def test_a_replay_waits_for_the_one_that_is_being_sent(store: SqlStore):
    dead = dead_with_two_behind(store)
    settle(store, dead, EventKind.RESENT)
    settle(store, claim_one(store), EventKind.DELIVERED)
    later = claim_one(store)
    (first,) = store.message(dead.message_id).deliveries
    again = replace(first, id=DeliveryId(new_id()), state=State.WAITING, revision=0, replay_of=first.id)
    store.apply(Change((), (again,), first.message_id))

    assert list(store.due(NOW)) == []
    settle(store, later, EventKind.DELIVERED)
    assert deliver_all(store) == ["A", "C"]


def test_what_is_handed_in_after_a_receipt_comes_after_it_though_a_clock_is_behind(store: SqlStore):
    earlier_id = MessageId(new_id())
    store.accept(acceptance(sender="A", order_key="K"))
    given = acceptance(sender="B", order_key="K")
    (delivery,) = given.deliveries
    store.accept(
        replace(
            given,
            message=replace(given.message, id=earlier_id),
            deliveries=(replace(delivery, message_id=earlier_id),),
        )
    )

    assert deliver_all(store) == ["A", "B"]


# --- long queues


def test_behind_a_long_queue_that_is_blocked_the_free_ones_are_found_oldest_first(store: SqlStore):
    many = 2 * claiming.WINDOW
    blocked = [acceptance(order_key="K", due_at=NOW - timedelta(days=1)) for _ in range(many)]
    accept_all(store, [acceptance(order_key="K", dead="refused"), *blocked])
    assert list(store.due(NOW)) == []
    assert list(store.claim(GEWERBE, now=NOW, limit=3, owner="node-1", lease=LEASE)) == []
    accept_all(
        store,
        [
            acceptance(sender="late", due_at=NOW + SECOND),
            acceptance(sender="key 2", order_key="L", due_at=NOW - SECOND),
            acceptance(sender="no key", due_at=NOW - 2 * SECOND),
            acceptance(sender="key 1", order_key="M", due_at=NOW - 3 * SECOND),
            acceptance(sender="second", order_key="M", due_at=NOW - 4 * SECOND),
        ],
    )

    claimed = store.claim(GEWERBE, now=NOW, limit=2, owner="node-1", lease=LEASE)

    assert [store.message(one.message_id).sender for one in claimed] == ["key 1", "no key"]
    assert list(store.due(NOW)) == [GEWERBE]
    assert deliver_all(store) == ["key 2"]


def test_each_destination_is_due_by_its_own_queue(store: SqlStore):
    many = 2 * claiming.WINDOW
    accept_all(store, [acceptance(destinations=("a/x",), order_key="K", dead="refused")])
    accept_all(store, [acceptance(destinations=("a/x",), order_key="K", due_at=NOW - SECOND) for _ in range(many)])
    accept_all(store, [acceptance(destinations=("b/x",), order_key="K"), acceptance(destinations=("c/x",))])

    assert sorted(store.due(NOW)) == ["b/x", "c/x"]


@pytest.mark.parametrize("dead", ["", "refused"])
def test_a_claim_that_finds_nothing_never_comes_to_the_writer(store: SqlStore, dead: str):
    accept_all(store, [acceptance(order_key="K", dead=dead), *(acceptance(order_key="K") for _ in range(300))])
    threads: set[str] = set()
    sa.event.listen(
        store._foundation.writing,
        "before_cursor_execute",
        lambda *_: threads.add(threading.current_thread().name),
    )

    claimed = store.claim(GEWERBE, now=NOW, limit=4, owner="node-1", lease=LEASE)

    assert len(claimed) == (0 if dead else 1)
    assert ("store-writer" in threads) is not bool(dead)


def test_a_claim_finds_what_others_have_left(nodes: list[SqlStore], monkeypatch: pytest.MonkeyPatch):
    for _ in range(2):
        nodes[0].accept(acceptance())
    look = claiming.select_claimable
    taken: list[Delivery] = []

    def outrun(connection: sa.Connection, *asked: Any) -> list[str]:
        found = look(connection, *asked)
        monkeypatch.setattr(claiming, "select_claimable", look)
        taken.append(claim_one(nodes[1], owner="node-2"))
        return found

    monkeypatch.setattr(claiming, "select_claimable", outrun)
    claimed = claim_one(nodes[0])

    assert claimed.state is State.SENDING
    assert [claimed.id] != [one.id for one in taken]
