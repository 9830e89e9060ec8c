"""The store's contract: taking messages in and giving deliveries out. Both databases keep it."""

from __future__ import annotations

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from hub.delivery import ClosedAs, Event, EventKind, State
from hub.errors import Conflict, IllegalTransition, StoreError
from hub.message import DeliveryId, new_id
from hub.store.api import Change, Control, Filter, Payload, PayloadRole, Reference, Settlement
from hub.store.sql import SqlStore
from tests.storing import GEWERBE, LEASE, NOW, SECOND, Place, acceptance, claim_one, loaded, rejection, settle


def test_a_receipt_means_it_is_on_disk(place: Place):
    given = acceptance("m-1", body=b"<a>\xc3\xa4</a>", arrival={"charset": "utf-8", "recipient": "wolfsburg"})
    store = place.open()
    receipt = store.accept(given)
    store.close()

    again = place.open()
    record = again.message(receipt.message_id)
    (delivery,) = record.deliveries
    message, payload = loaded(again, delivery)

    assert (receipt.duplicate, receipt.state) == (False, "accepted")
    assert (record.verdict, record.status, record.type) == ("accepted", "open", "antrag/1.0/antrag.0101")
    assert delivery == replace(given.deliveries[0], seq=delivery.seq)
    assert message == replace(given.message, body=b"")
    assert payload == given.payloads[0]
    assert again.incoming(receipt.message_id) == {
        "source": "online-services", "sender": "bauportal", "received_at": NOW, "idempotency_key": None,
        "charset": "utf-8", "recipient": "wolfsburg",
    }  # fmt: skip
    again.close()


def test_the_same_again_is_answered_by_the_first_receipt(store: SqlStore):
    first = store.accept(acceptance("m-1"))
    settle(store, claim_one(store), EventKind.DELIVERED)

    second = store.accept(acceptance("m-1"))

    assert (second.message_id, second.duplicate, second.state) == (first.message_id, True, "delivered")
    assert sum(store.counts().values()) == 1


def test_an_identity_is_bound_to_its_content_and_its_sender(store: SqlStore):
    store.accept(acceptance("m-1"))

    with pytest.raises(Conflict):
        store.accept(acceptance("m-1", body=b"<anderer/>"))
    assert not store.accept(acceptance("m-1", body=b"<anderer/>", sender="gewerbe-online")).duplicate


def test_a_rejected_document_binds_no_identity(store: SqlStore):
    store.reject(rejection(body=b"<antrag/>", key="k-1"))
    store.reject(rejection(body=b"<antrag/>"))
    digest = acceptance().message.sha256

    assert store.known("bauportal", idempotency_key="k-1", sha256=digest) is None
    assert not store.accept(acceptance("m-1", key="k-1")).duplicate


def test_twenty_threads_with_the_same_message_store_it_once(nodes: list[SqlStore]):
    start = threading.Barrier(20)

    def hand_in(number: int):
        start.wait()
        return nodes[number % 3].accept(acceptance("m-1"))

    with ThreadPoolExecutor(20) as threads:
        receipts = list(threads.map(hand_in, range(20)))

    assert Counter(receipt.duplicate for receipt in receipts) == {False: 1, True: 19}
    assert len({receipt.message_id for receipt in receipts}) == 1
    assert sum(nodes[0].counts().values()) == 1


def test_known_finds_by_key_by_digest_without_a_key_and_by_identity(store: SqlStore):
    keyed, plain = acceptance("m-1", body=b"<a/>", key="k-1"), acceptance("m-2", body=b"<b/>")
    store.accept(keyed)
    store.accept(plain)

    assert store.known("bauportal", idempotency_key="k-1").message_id == keyed.message.id
    assert store.known("bauportal", sha256=keyed.message.sha256) is None
    assert store.known("bauportal", sha256=plain.message.sha256).message_id == plain.message.id
    assert store.known("bauportal", identity="m-1").sha256 == keyed.message.sha256
    assert store.known("gewerbe-online", idempotency_key="k-1", sha256=plain.message.sha256, identity="m-1") is None


def test_what_could_never_be_delivered_is_not_accepted(store: SqlStore):
    given = acceptance("m-1")

    with pytest.raises(StoreError):
        store.accept(replace(given, deliveries=()))
    with pytest.raises(StoreError):
        store.accept(replace(given, payloads=()))
    assert store.message(given.message.id) is None


def test_a_bad_operation_does_not_fail_its_neighbours(store: SqlStore):
    bad = {3, 11}
    start = threading.Barrier(16)

    def hand_in(number: int):
        start.wait()
        sender = "b\udc80d\x00" if number in bad else "bauportal"
        try:
            return store.accept(acceptance(f"m-{number}", sender=sender))
        except StoreError as error:
            return error

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(hand_in, range(16)))

    assert {number for number, answer in enumerate(answers) if isinstance(answer, StoreError)} == bad
    assert store.counts() == {(GEWERBE, "waiting"): 14}


# --- dispatch


def test_due_names_the_destinations_that_have_something_to_send(store: SqlStore):
    store.accept(acceptance(destinations=("a/x", "b/x", "c/x")))
    store.accept(acceptance(destinations=("d/x",), due_at=NOW + 60 * SECOND))
    store.hold(Control("b/x", "paused", "Wartung", NOW, "op", until=NOW + 10 * SECOND))
    claim_one(store, "c/x")

    assert sorted(store.due(NOW)) == ["a/x"]
    assert store.next_due(NOW) == NOW + 10 * SECOND
    assert sorted(store.due(NOW + 10 * SECOND)) == ["a/x", "b/x"]
    assert store.next_due(NOW + 10 * SECOND) == NOW + 60 * SECOND
    assert sorted(store.due(NOW + 60 * SECOND)) == ["a/x", "b/x", "d/x"]
    assert store.next_due(NOW + 60 * SECOND) is None


def test_waiting_names_every_destination_that_something_waits_for(store: SqlStore):
    store.accept(acceptance(destinations=("a/x", "b/x", "c/x"), order_key="k"))
    store.accept(acceptance(destinations=("d/x", "b/x"), due_at=NOW + 60 * SECOND))
    store.hold(Control("b/x", "paused", "Wartung", NOW, "op"))
    claim_one(store, "c/x")

    assert sorted(store.waiting()) == ["a/x", "b/x", "d/x"]


def test_a_claim_takes_the_oldest_due_and_counts_the_attempt(store: SqlStore):
    late = store.accept(acceptance(due_at=NOW - SECOND))
    early = store.accept(acceptance(due_at=NOW - 2 * SECOND))
    store.accept(acceptance(due_at=NOW + SECOND))

    first = claim_one(store)
    rest = store.claim(GEWERBE, now=NOW, limit=10, owner="node-1", lease=LEASE)

    assert (first.message_id, first.state, first.attempts, first.revision) == (early.message_id, State.SENDING, 1, 1)
    assert [one.message_id for one in rest] == [late.message_id]
    assert store.delivery(first.id) == first


def test_nothing_is_claimed_of_a_destination_that_is_held_back(store: SqlStore):
    store.accept(acceptance())
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub"))
    held = store.claim(GEWERBE, now=NOW, limit=10, owner="node-1", lease=LEASE)
    store.release(GEWERBE, by="op", now=NOW)

    assert list(held) == []
    assert claim_one(store).attempts == 1


def test_eight_claimers_never_share_a_delivery(nodes: list[SqlStore]):
    for number in range(60):
        nodes[0].accept(acceptance(f"m-{number}"))
    start = threading.Barrier(8)

    def claim_all(owner: int) -> list[str]:
        start.wait()
        mine: list[str] = []
        while claimed := nodes[owner % 3].claim(GEWERBE, now=NOW, limit=3, owner=f"n{owner}", lease=LEASE):
            mine += [one.id for one in claimed]
        return mine

    with ThreadPoolExecutor(8) as threads:
        ids = [id_ for mine in threads.map(claim_all, range(8)) for id_ in mine]

    assert len(ids) == len(set(ids)) == 60


def test_a_late_result_is_fenced(store: SqlStore):
    store.accept(acceptance())
    before = claim_one(store)
    settle(store, before, EventKind.DEFERRED, reason="worker_lost")

    with pytest.raises(Conflict):
        settle(store, before, EventKind.DELIVERED)
    assert store.delivery(before.id).state is State.WAITING
    again = claim_one(store, owner="node-2")
    with pytest.raises(Conflict):  # in the same state as then, and yet another's
        settle(store, before, EventKind.DELIVERED)
    assert store.delivery(before.id) == again
    assert [event.kind for event in store.events(before.id)] == [
        EventKind.CLAIMED, EventKind.DEFERRED, EventKind.CLAIMED,
    ]  # fmt: skip


def test_a_change_happens_wholly_or_not_at_all(store: SqlStore):
    store.accept(acceptance("m-1"))
    store.accept(acceptance("m-2"))
    one, two = claim_one(store), claim_one(store)
    settle(store, two, EventKind.DELIVERED)
    delivered = Event(EventKind.DELIVERED, NOW)

    with pytest.raises(Conflict):
        store.apply(Change((Settlement(one, delivered), Settlement(two, delivered))))
    with pytest.raises(IllegalTransition):
        store.apply(Change((Settlement(one, delivered), Settlement(two, Event(EventKind.CONFIRMED, NOW)))))

    assert store.delivery(one.id) == one
    assert len(store.events(one.id)) == 1


def test_a_replay_closes_the_old_and_plans_the_new_in_one_change(store: SqlStore):
    store.accept(acceptance(dead="transform_failed"))
    (old,) = store.find_deliveries(Filter(state="dead"))
    payload = Payload(new_id(), PayloadRole.OUTGOING, b"<neu/>", delivery_id=DeliveryId(new_id()))
    new = replace(old, id=payload.delivery_id, state=State.WAITING, reason="", replay_of=old.id, payload_id=payload.id)
    change = Change(
        (Settlement(old, Event(EventKind.CLOSED, NOW, reason=ClosedAs.SUPERSEDED, actor="op", job_id="j-1")),),
        (new,), old.message_id, (payload,), (Reference("key:az", "77"),),
    )  # fmt: skip

    closed, planned = store.apply(change)

    assert (closed.state, planned.state) == (State.CLOSED, State.WAITING)
    assert planned.seq > closed.seq
    assert loaded(store, planned)[1].body == b"<neu/>"
    assert store.events(old.id)[0].job_id == "j-1"
    with pytest.raises(Conflict):
        store.apply(replace(change, settlements=()))


# --- order


def test_of_one_order_key_nothing_overtakes(store: SqlStore):
    for number in range(3):
        store.accept(acceptance(f"a-{number}", order_key="A", due_at=NOW - number * SECOND))
    store.accept(acceptance("b", order_key="B"))
    first = store.claim(GEWERBE, now=NOW, limit=10, owner="node-1", lease=LEASE)

    assert sorted(one.order_key for one in first) == ["A", "B"]
    assert store.due(NOW) == []

    leader = next(one for one in first if one.order_key == "A")
    waiting_again = settle(store, leader, EventKind.DEFERRED, at=NOW + SECOND)
    assert waiting_again.seq == min(one.seq for one in store.find_deliveries(Filter()))
    assert claim_one(store, now=NOW + SECOND).id == leader.id


@pytest.mark.parametrize("finish", ["delivered", "closed", "confirmed"])
def test_the_next_of_an_order_key_goes_when_the_one_before_is_finished(store: SqlStore, finish: str):
    store.accept(acceptance("a-0", order_key="A"))
    following = store.accept(acceptance("a-1", order_key="A"))
    leader = claim_one(store)
    if finish == "delivered":
        settle(store, leader, EventKind.DELIVERED)
    else:
        stuck = settle(store, leader, EventKind.TAKEN if finish == "confirmed" else EventKind.DIED)
        assert store.due(NOW) == []
        settle(store, stuck, EventKind.CONFIRMED if finish == "confirmed" else EventKind.CLOSED)

    assert claim_one(store).message_id == following.message_id


def test_order_keys_of_different_destinations_do_not_wait_for_each_other(store: SqlStore):
    store.accept(acceptance("a-0", order_key="A", destinations=("a/x", "b/x")))
    store.accept(acceptance("a-1", order_key="A", destinations=("b/x", "c/x")))
    claim_one(store, "a/x")

    assert sorted(store.due(NOW)) == ["b/x", "c/x"]
    assert claim_one(store, "c/x").order_key == "A"


def test_what_is_sent_again_waits_for_the_one_that_is_being_sent(store: SqlStore):
    store.accept(acceptance("a-0", order_key="A"))
    store.accept(acceptance("a-1", order_key="A"))
    leader = settle(store, claim_one(store), EventKind.DELIVERED)
    following = claim_one(store)
    settle(store, leader, EventKind.RESENT)

    assert store.due(NOW) == []
    settle(store, following, EventKind.DELIVERED)
    assert claim_one(store).id == leader.id


def test_several_nodes_deliver_each_key_in_the_order_of_receipts(nodes: list[SqlStore]):
    expected = [nodes[n % 3].accept(acceptance(f"m-{n}", order_key=f"K{n % 5}")).message_id for n in range(40)]
    seen: list[str] = []
    lock = threading.Lock()

    def deliver(number: int) -> None:
        node = nodes[number % 3]
        while len(seen) < 40:
            for one in node.claim(GEWERBE, now=NOW, limit=2, owner=f"n{number}", lease=LEASE):
                with lock:
                    seen.append(one.message_id)
                settle(node, one, EventKind.DELIVERED)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(deliver, range(4)))

    assert sorted(seen) == sorted(expected)
    for key in range(5):
        of_key = expected[key::5]
        assert [id_ for id_ in seen if id_ in of_key] == of_key


# --- leases


def test_what_its_owner_no_longer_holds_is_lost(store: SqlStore):
    store.accept(acceptance("m-1"))
    store.accept(acceptance("m-2"))
    (gone,) = store.claim(GEWERBE, now=NOW, limit=1, owner="node-1", lease=timedelta(0))
    (alive,) = store.claim(GEWERBE, now=NOW, limit=1, owner="node-2", lease=LEASE)

    assert [one.id for one in store.lost(NOW)] == [gone.id]
    assert [one.id for one in store.lost(None)] == [gone.id, alive.id]
    assert store.renew("node-1", now=NOW, lease=LEASE) == 1
    assert list(store.lost(NOW)) == []


def test_what_no_thread_has_in_hand_any_more_runs_out_though_its_owner_lives(store: SqlStore):
    for number in range(3):
        store.accept(acceptance(f"m-{number}"))
    kept, dropped = store.claim(GEWERBE, now=NOW, limit=2, owner="node-1", lease=timedelta(0))
    (others,) = store.claim(GEWERBE, now=NOW, limit=1, owner="node-2", lease=timedelta(0))

    assert store.renew("node-1", now=NOW, lease=LEASE, only=[kept.id, others.id]) == 1
    assert store.renew("node-1", now=NOW, lease=LEASE, only=[]) == 0
    assert [one.id for one in store.lost(NOW)] == [dropped.id, others.id]


# --- what is recorded never changes


@pytest.mark.parametrize(
    "statement",
    ["UPDATE event SET kind = 'delivered'", "DELETE FROM event", "UPDATE message SET sha256 = 'x'",
     "UPDATE payload SET bytes = NULL"],
)  # fmt: skip
def test_events_messages_and_payloads_cannot_be_changed(store: SqlStore, place: Place, statement: str):
    store.accept(acceptance())
    claim_one(store)
    engine = sa.create_engine(place.url)

    with pytest.raises(sa.exc.DBAPIError), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize("size", [20, 20_000, 700_000])
def test_a_damaged_payload_is_found_and_never_delivered(store: SqlStore, place: Place, size: int):
    body = random.Random(size).randbytes(size).hex().encode()
    store.accept(acceptance(body=body))
    claimed = claim_one(store)
    assert loaded(store, claimed)[1].body == body
    _flip_a_byte(place, claimed.payload_id)

    with pytest.raises(StoreError, match=claimed.payload_id):
        loaded(store, claimed)


def _flip_a_byte(place: Place, payload_id: str) -> None:
    engine = sa.create_engine(place.url)
    on_sqlite = engine.dialect.name == "sqlite"
    file = place.state_dir / "payloads" / payload_id[-2:] / payload_id
    if file.exists():
        damaged = bytearray(file.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        return
    with engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER payload_unchanged{'' if on_sqlite else ' ON payload'}")
        stored = bytearray(connection.exec_driver_sql("SELECT bytes FROM payload").scalar())
        stored[len(stored) // 2] ^= 1
        connection.execute(sa.text("UPDATE payload SET bytes = :bytes"), {"bytes": bytes(stored)})
    engine.dispose()
