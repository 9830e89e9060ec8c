"""Erasure of what was accepted and is over; what is open, or waits for a person, is never touched."""

from __future__ import annotations

from datetime import timedelta

import pytest

from hub.delivery import Event, EventKind, State
from hub.message import new_id
from hub.store.api import Change, Filter, Payload, PayloadRole, Reference, Settlement
from hub.store.sql import SqlStore
from tests.storing import NOW, SECOND, Place, acceptance, claim_one, settle

SOURCE = "online-services"
LATER = NOW + timedelta(days=30)


def deliver(store: SqlStore, *, reply: bytes = b"<ok/>") -> str:
    """Deliver the oldest one, with a reply and a file number; return its message's id."""
    claimed = claim_one(store)
    payload = Payload(new_id(), PayloadRole.REPLY, reply, delivery_id=claimed.id)
    told = (Reference("receipt", "R-1", claimed.id), Reference("value:aktenzeichen", "63-1", claimed.id))
    delivered = Settlement(claimed, Event(EventKind.DELIVERED, NOW), (payload,), told)
    store.apply(Change((delivered,), message_id=claimed.message_id))
    return claimed.message_id


def erase(store: SqlStore, before=LATER, source: str = SOURCE) -> int:
    return store.erase_settled(store.settled(source, before=before, limit=1000)[0])


@pytest.mark.parametrize("size", [20, 5_000, 1_500_000], ids=["row", "packed", "file"])
def test_bytes_references_and_what_came_along_go_and_the_record_stays(store: SqlStore, place: Place, size: int):
    body = b"x" * size
    told = (Reference("sender_reference", "ref-7"),)
    store.accept(acceptance("m-1", body=body, key="key-1", references=told, arrival={"filename": "Müßig.xml"}))
    id_ = deliver(store, reply=body)
    place.clock.now = LATER

    assert erase(store) == 1

    record = store.message(id_)
    assert record is not None
    assert (record.status, record.values) == ("delivered", {})
    assert store.payloads(id_) == []
    assert store.find(Filter(reference="ref-7"))[0] == store.find(Filter(reference="63-1"))[0] == []
    incoming = store.incoming(id_)
    assert incoming is not None
    assert (incoming["idempotency_key"], "filename" in incoming) == (None, False)
    assert [event.kind for event in store.events(record.deliveries[0].id)] == [EventKind.CLAIMED, EventKind.DELIVERED]
    assert list((place.state_dir / "payloads").glob("*/*")) == []
    assert erase(store) == 0


def test_a_repetition_of_what_is_erased_is_still_known(store: SqlStore):
    receipt = store.accept(acceptance("m-1"))
    deliver(store)
    erase(store)

    again = store.accept(acceptance("m-1"))

    assert (again.duplicate, again.message_id) == (True, receipt.message_id)


@pytest.mark.parametrize("state", ["waiting", "sending", "taken", "dead"])
def test_what_is_not_over_is_never_erased_however_old_it_is(store: SqlStore, state: str):
    store.accept(acceptance("m-1", dead="refused" if state == "dead" else ""))
    if state in ("sending", "taken"):
        claimed = claim_one(store)
        if state == "taken":
            settle(store, claimed, EventKind.TAKEN)
    (open_,) = store.find_deliveries(Filter())
    assert open_.state == State(state)

    assert store.settled(SOURCE, before=NOW + timedelta(days=4000)) == ([], None)
    assert store.erase_settled([open_.message_id]) == 0
    assert len(store.payloads(open_.message_id)) == 1


def test_one_open_delivery_keeps_the_whole_message(store: SqlStore):
    store.accept(acceptance("m-1", destinations=("wolfsburg/gewerbe", "statistik/las")))
    deliver(store)

    assert erase(store) == 0


def test_the_time_counts_from_the_last_that_happened(store: SqlStore):
    store.accept(acceptance("m-1"))
    claimed = claim_one(store)
    settle(store, claimed, EventKind.DELIVERED, at=NOW + 5 * SECOND)

    assert erase(store, before=NOW + 5 * SECOND) == 0
    assert erase(store, before=NOW + 6 * SECOND) == 1


def test_other_sources_and_rejected_documents_are_left_alone(store: SqlStore):
    store.accept(acceptance("m-1"))
    deliver(store)

    assert erase(store, source="another") == 0


def test_settled_messages_are_read_page_by_page_without_those_that_stay(store: SqlStore):
    for number in range(7):
        store.accept(acceptance(f"m-{number}", dead="refused" if number in (0, 3) else ""))
    for _ in range(5):
        deliver(store)

    first, following = store.settled(SOURCE, before=LATER, limit=3)
    second, end = store.settled(SOURCE, before=LATER, limit=3, after=following)

    assert (len(first), len(second), end) == (3, 2, None)
    assert not set(first) & set(second)
    assert store.erase_settled([*first, *second]) == 5
