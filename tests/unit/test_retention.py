"""What is erased when, by what the sources say; in batches, with time for others between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.daemon import retention
from hub.daemon.retention import Retention
from hub.delivery import EventKind
from hub.deployment import KeepRejected, Source
from hub.errors import Unavailable
from hub.store.api import Filter
from hub.store.sql import SqlStore
from tests.storing import NOW, Place, acceptance, claim_one, rejection, settle
from tests.world import deployment

DAY = timedelta(days=1)


@pytest.fixture
def store(tmp_path) -> Iterator[SqlStore]:
    place = Place(f"sqlite:///{tmp_path}/hub.db", tmp_path)
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def source(tmp_path) -> Source:
    (one,) = deployment(tmp_path).sources.values()
    return replace(one, name="online-services", keep_accepted=30 * DAY, keep_rejected=KeepRejected(for_=7 * DAY))


def kept(store: SqlStore) -> int:
    records, _ = store.find(Filter())
    return sum(any(one.role == "received" for one in store.payloads(record.id)) for record in records)


def fill(store: SqlStore, accepted: int, rejected: int = 0) -> None:
    for number in range(accepted):
        store.accept(acceptance(f"m-{number}"))
        settle(store, claim_one(store), EventKind.DELIVERED)
    for number in range(rejected):
        store.reject(rejection(body=b"<kaputt%d>" % number))


@pytest.mark.parametrize(("days", "left"), [(6, 5), (8, 3), (31, 0)])
def test_each_kind_is_kept_for_its_own_time(store: SqlStore, source: Source, days: int, left: int):
    fill(store, accepted=3, rejected=2)

    Retention(store, lambda: NOW + days * DAY, lambda _seconds: False).erase({source.name: source}, lambda: None)

    assert kept(store) == left


def test_without_the_key_what_was_accepted_stays_for_good(store: SqlStore, source: Source):
    fill(store, accepted=2)

    erase = Retention(store, lambda: NOW + 4000 * DAY, lambda _seconds: False).erase
    erase({source.name: replace(source, keep_accepted=None)}, lambda: None)

    assert kept(store) == 2


def test_between_two_batches_the_writer_is_free_for_as_long_as_one_took(
    store: SqlStore, source: Source, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ACCEPTED_BATCH", 2)
    fill(store, accepted=5)
    rests: list[float] = []

    def rest(seconds: float) -> bool:
        rests.append(seconds)
        return False

    Retention(store, lambda: NOW + 31 * DAY, rest).erase({source.name: source}, lambda: None)

    assert kept(store) == 0
    assert len(rests) == 3
    assert min(rests) > 0


def test_a_hub_that_is_stopping_erases_no_further(store: SqlStore, source: Source, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "ACCEPTED_BATCH", 2)
    fill(store, accepted=5)

    Retention(store, lambda: NOW + 31 * DAY, lambda seconds: True).erase({source.name: source}, lambda: None)

    assert kept(store) == 3


def test_who_has_lost_the_turn_erases_no_further(store: SqlStore, source: Source, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(retention, "ACCEPTED_BATCH", 2)
    fill(store, accepted=5)

    def lost() -> None:
        raise Unavailable("another node has it")

    with pytest.raises(Unavailable):
        Retention(store, lambda: NOW + 31 * DAY, lambda _seconds: False).erase({source.name: source}, lost)

    assert kept(store) == 3
