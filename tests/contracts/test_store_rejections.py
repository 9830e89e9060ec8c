"""The same rubbish again and again is one record with a counter; what differs in anything is a record of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.message import MessageId, new_id
from hub.store.api import Filter, Rejection
from hub.store.payloads import FILE_BYTES_MIN
from hub.store.sql import SqlStore
from tests.storing import NOW, SECOND, Place, rejection


def again(first: Rejection, **changes: object) -> Rejection:
    """Return the rejection of the same document, handed in once more."""
    fresh = tuple(replace(one, id=new_id()) for one in first.payloads)
    return replace(first, id=MessageId(new_id()), payloads=fresh, **changes)  # type: ignore[arg-type]


def test_the_same_again_is_counted_on_the_first_record(store: SqlStore) -> None:
    first = rejection()
    store.reject(first)

    ids = {store.reject(again(first, received_at=NOW + number * SECOND)) for number in range(1, 100)}

    (record,) = store.find(Filter(state="rejected"))[0]
    assert ids == {first.id} == {record.id}
    assert (record.repeated, record.repeated_at) == (99, NOW + 99 * SECOND)
    assert record.received_at == NOW
    assert len(store.payloads(first.id)) == 2, "the body and the findings of the first, and no other"


def test_a_key_of_its_own_for_each_makes_no_difference(store: SqlStore) -> None:
    first = rejection(key="auftrag-1")
    store.reject(first)

    assert store.reject(again(first, idempotency_key="auftrag-2")) == first.id


@pytest.mark.parametrize(
    "other",
    [
        {"sha256": "0" * 64},
        {"sender": "amt"},
        {"source": "anderswo"},
        {"code": "unknown_type"},
        {"arrival": {"sender_reference": "vorgang-2"}},
        {"received_at": NOW + timedelta(hours=1)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_differs_is_a_record_of_its_own(store: SqlStore, other: dict[str, object]) -> None:
    first = rejection(arrival={"sender_reference": "vorgang-1"})
    store.reject(first)
    second = again(first, **other)

    assert store.reject(second) == second.id

    assert [record.repeated for record in store.find(Filter(state="rejected"))[0]] == [0, 0]


def test_what_was_erased_counts_no_more(store: SqlStore) -> None:
    first = rejection()
    store.reject(first)
    assert store.erase_rejected(first.source, before=NOW + SECOND, up_to=10**9) == 1
    second = again(first)

    assert store.reject(second) == second.id


def test_a_large_body_that_came_again_leaves_no_file(sqlite_place: Place) -> None:
    store = sqlite_place.open()
    first = rejection(body=b"<x>" + b"y" * 2 * FILE_BYTES_MIN)
    store.reject(first)

    store.reject(again(first))

    files = [path for path in (sqlite_place.state_dir / "payloads").rglob("*") if path.is_file()]
    assert [file.name for file in files] == [first.payloads[0].id]
    store.close()


def test_many_at_once_are_all_counted(store: SqlStore) -> None:
    first = rejection()
    store.reject(first)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _number: store.reject(again(first)), range(200)))

    (record,) = store.find(Filter(state="rejected"))[0]
    assert record.repeated == 200


def test_two_nodes_count_on_one_record(daemons: list[SqlStore]) -> None:
    first = rejection()
    daemons[0].reject(first)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: daemons[number % 2].reject(again(first)), range(40)))

    (record,) = daemons[0].find(Filter(state="rejected"))[0]
    assert record.repeated == 40
