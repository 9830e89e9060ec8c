"""The store's contract: what shares a transaction. One bad operation never fails its neighbours, on both databases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from hub.delivery import ClosedAs, Event, EventKind, State
from hub.errors import Conflict, StoreError
from hub.job import ItemResult, Job
from hub.message import Receipt, new_id
from hub.store.api import Change, Control, Filter, Payload, PayloadRole, Reference, Settlement
from hub.store.sql import SqlStore
from tests.batches import Call, claimed, settling, together
from tests.storing import GEWERBE, LEASE, NOW, Place, acceptance, rejection

# --- what fits together is one transaction ------------------------------------------------------------------------


def test_messages_rejections_and_outcomes_of_different_callers_share_one_commit(store: SqlStore):
    """The counts of rows are as expected on both drivers: a wrong count would write each operation alone."""
    sent = claimed(store, 4)
    job = store.jobs.add(Job(new_id(), "resend", "lea", "behoben", NOW), ("d-1", "d-2"))

    batch = together(
        store,
        *(partial(store.accept, acceptance(f"new-{number}", destinations=("a/x", "b/x"))) for number in range(5)),
        *(partial(store.reject, rejection()) for _ in range(3)),
        *(settling(store, one, payloads=(Payload(new_id(), PayloadRole.REPLY, b"<ok/>"),)) for one in sent[:3]),
        settling(store, sent[3], EventKind.DIED, references=(Reference("receipt", "77"),)),
        *(partial(store.apply, Change(item=ItemResult(job.id, item, "done"))) for item in ("d-1", "d-2")),
        partial(store.hold, Control("c/x", "blocked", "peer_tls", NOW, "hub")),
        partial(store.renew, "node-1", now=NOW, lease=LEASE),
    )

    assert (batch.failed, batch.commits, batch.rollbacks) == ([], 1, 0)
    assert store.counts() == {
        ("a/x", "waiting"): 5, ("b/x", "waiting"): 5, (GEWERBE, "delivered"): 3, (GEWERBE, "dead"): 1,
    }  # fmt: skip


def test_claims_of_one_batch_are_apart(store: SqlStore):
    for number in range(6):
        store.accept(acceptance(f"m-{number}"))

    batch = together(
        store,
        *(partial(store.claim, GEWERBE, now=NOW, limit=4, owner=f"n{number}", lease=LEASE) for number in range(3)),
    )

    ids = [one.id for claim in batch.answers for one in claim]
    assert len(ids) == len(set(ids)) == 6


# --- ON CONFLICT: somebody has it already -------------------------------------------------------------------------


def test_the_same_message_twice_in_one_batch_is_stored_once_and_both_get_its_receipt(store: SqlStore):
    calls = [partial(store.accept, acceptance(f"m-{number % 5}")) for number in range(7)]

    batch = together(store, *calls)

    assert batch.failed == []
    first, again = batch.answers[:5], batch.answers[5:]
    assert [receipt.duplicate for receipt in batch.answers] == [False] * 5 + [True] * 2
    assert [receipt.message_id for receipt in again] == [receipt.message_id for receipt in first[:2]]
    assert store.counts() == {(GEWERBE, "waiting"): 5}


def test_a_conflict_of_identities_fails_alone(store: SqlStore):
    store.accept(acceptance("m-1"))

    batch = together(
        store,
        partial(store.accept, acceptance("m-0")),
        partial(store.accept, acceptance("m-1", body=b"<anderer/>")),
        partial(store.accept, acceptance("m-2")),
    )

    assert [type(answer) for answer in batch.answers] == [Receipt, Conflict, Receipt]
    assert store.counts() == {(GEWERBE, "waiting"): 3}


def test_a_second_job_under_one_id_fails_alone_and_the_same_rejection_again_is_counted(store: SqlStore):
    job, record = Job(new_id(), "close", "lea", "erledigt", NOW), rejection()
    store.jobs.add(job, ["d-1"])
    store.reject(record)

    batch = together(
        store,
        partial(store.jobs.add, job, ["d-2"]),
        partial(store.jobs.add, replace(job, id=new_id()), ["d-2"]),
        partial(store.reject, record),
        partial(store.reject, rejection()),
        partial(store.accept, acceptance("m-1")),
    )

    assert [isinstance(answer, Conflict) for answer in batch.answers] == [True, False, False, False, False]
    assert len(store.jobs.unfinished()) == 2
    assert len(store.find(Filter(state="rejected"))[0]) == 1


# --- fenced updates: somebody moved it first ----------------------------------------------------------------------


def test_an_outcome_that_comes_too_late_fails_alone(store: SqlStore):
    sent = claimed(store, 5)
    (moved,) = settling(store, sent[2], EventKind.DEFERRED)()

    batch = together(store, *(settling(store, one) for one in sent))

    assert [isinstance(answer, Conflict) for answer in batch.answers] == [False, False, True, False, False]
    assert store.delivery(moved.id) == moved
    assert store.counts() == {(GEWERBE, "delivered"): 4, (GEWERBE, "waiting"): 1}
    assert [len(store.events(one.id)) for one in sent] == [2] * 5


def test_of_two_outcomes_for_one_attempt_in_one_batch_one_counts(store: SqlStore):
    one, other = claimed(store, 2)

    batch = together(
        store, settling(store, one), settling(store, one, EventKind.DIED), settling(store, other, EventKind.DEFERRED)
    )

    assert [isinstance(answer, Conflict) for answer in batch.answers] == [False, True, False]
    assert store.delivery(one.id).state is State.DELIVERED
    assert [event.kind for event in store.events(one.id)] == [EventKind.CLAIMED, EventKind.DELIVERED]


def test_a_change_that_fails_in_its_last_part_leaves_nothing_and_its_neighbours_stand(store: SqlStore):
    """A replay whose item was done meanwhile: old delivery, new delivery, payload and event go back, all of them."""
    store.accept(acceptance("m-0", dead="refused"))
    (dead,) = store.find_deliveries(Filter(state="dead"))
    job = store.jobs.add(Job(new_id(), "replay", "lea", "behoben", NOW), [dead.id])
    done = ItemResult(job.id, dead.id, "done")
    store.apply(Change(item=done))
    payload = Payload(new_id(), PayloadRole.OUTGOING, b"<neu/>")
    replay = Change(
        (Settlement(dead, Event(EventKind.CLOSED, NOW, reason=ClosedAs.SUPERSEDED)),),
        (replace(dead, id=new_id(), state=State.WAITING, reason="", payload_id=payload.id, replay_of=dead.id),),
        dead.message_id, (payload,), (Reference("key:az", "77"),), done,
    )  # fmt: skip

    batch = together(
        store,
        partial(store.accept, acceptance("m-1")),
        partial(store.apply, replay),
        partial(store.accept, acceptance("m-2")),
    )

    assert [isinstance(answer, Conflict) for answer in batch.answers] == [False, True, False]
    assert store.delivery(dead.id) == dead
    assert list(store.events(dead.id)) == []
    assert store.payload(payload.id) is None
    assert store.counts() == {(GEWERBE, "dead"): 1, (GEWERBE, "waiting"): 2}


# --- what a database cannot keep ----------------------------------------------------------------------------------


@pytest.mark.parametrize("position", [0, 3, 6])
def test_what_the_database_refuses_fails_alone_wherever_it_stands(store: SqlStore, position: int):
    (sent,) = claimed(store, 1)
    calls: list[Call] = [partial(store.accept, acceptance(f"m-{number}")) for number in range(5)]
    calls.append(settling(store, sent))
    calls.insert(position, partial(store.accept, acceptance("bad", sender="b\udc80d\x00")))

    batch = together(store, *calls)

    assert [number for number, answer in enumerate(batch.answers) if isinstance(answer, StoreError)] == [position]
    assert "b\udc80d" not in str(batch.failed[0])
    assert store.counts() == {(GEWERBE, "waiting"): 5, (GEWERBE, "delivered"): 1}


def test_a_repeated_payload_id_fails_alone(store: SqlStore):
    one, other = claimed(store, 2)
    taken = store.payloads(one.message_id)[0].id

    batch = together(
        store,
        settling(store, one, payloads=(Payload(taken, PayloadRole.REPLY, b"<ok/>"),)),
        settling(store, other, payloads=(Payload(new_id(), PayloadRole.REPLY, b"<ok/>"),)),
    )

    assert [isinstance(answer, Conflict) for answer in batch.answers] == [True, False]
    assert store.delivery(one.id) == one
    settling(store, one)()  # it is still this attempt's
    assert store.counts() == {(GEWERBE, "delivered"): 2}


def test_a_file_of_a_message_that_fails_in_its_batch_goes_and_its_neighbours_stay(store: SqlStore, place: Place):
    large = b"<a>" + new_id().encode() * 40_000 + b"</a>"
    store.accept(acceptance("m-0"))

    batch = together(
        store,
        partial(store.accept, acceptance("m-0", body=large)),
        partial(store.accept, acceptance("m-1", body=large)),
    )

    assert [type(answer) for answer in batch.answers] == [Conflict, Receipt]
    (kept,) = store.payloads(batch.answers[1].message_id)
    files = [path.name for path in place.state_dir.rglob("payloads/*/*")]
    assert files == ([kept.id] if store.exclusive else [])
    assert store.payload(kept.id).body == large
