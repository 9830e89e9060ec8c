"""The store's contract: equal failures are one group, days are counted, the trail is found. Both databases keep it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest

from hub.delivery import Event, EventKind, State
from hub.message import DeliveryId, MessageId, new_id
from hub.store.api import Audit, Change, Filter, Payload, PayloadRole, Settlement
from hub.store.counting import percentile
from hub.store.groups_api import Note
from hub.store.reading import Reader, open_reader
from hub.store.sql import SqlStore
from hub.store.trail import AuditFilter
from tests.storing import GEWERBE, NOW, Place, acceptance, claim_one, rejection

HOUR = timedelta(hours=1)
WEEK_AGO = NOW - timedelta(days=7)
BAU = "gifhorn/bau"


@contextmanager
def reading(place: Place) -> Iterator[Reader]:
    reader = open_reader(place.url, state_dir=place.state_dir, clock=place.clock)
    yield reader
    reader.close()


def die_at(store: SqlStore, at: datetime, code: str = "rc-17") -> str:
    """Let the oldest waiting delivery die of an attempt, and return its message."""
    claimed = claim_one(store)
    event = Event(EventKind.DIED, at, reason="refused", code=code, phase="response_parsed")
    store.apply(Change((Settlement(claimed, event),)))
    return claimed.message_id


def test_deaths_of_one_cause_are_one_group_and_another_cause_is_another(store: SqlStore, place: Place):
    for number in range(4):
        store.accept(acceptance(f"m-{number}"))
    for at in (NOW - 3 * HOUR, NOW - HOUR / 2, NOW - HOUR / 3):
        last = die_at(store, at)
    die_at(store, NOW, code="rc-23")

    with reading(place) as reader:
        first, second = reader.groups(rejected_since=WEEK_AGO)

    assert (first.kind, first.count, first.reason, first.code, first.phase) == (
        "dead",
        3,
        "refused",
        "rc-17",
        "response_parsed",
    )
    assert (first.first, first.last) == (NOW - 3 * HOUR, NOW - HOUR / 3)
    assert (first.trend[-1], first.trend[-2], sum(first.trend)) == (2, 0, 3)
    assert (first.destination, first.type, first.example) == (GEWERBE, "antrag/1.0/antrag.0101", last)
    assert (second.count, second.code) == (1, "rc-23")
    assert second.fingerprint != first.fingerprint


def test_a_listing_and_a_selection_by_fingerprint_mean_the_same(store: SqlStore, place: Place):
    ids = [store.accept(acceptance(f"m-{number}")).message_id for number in range(3)]
    die_at(store, NOW)
    die_at(store, NOW)
    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)
        listed = reader.find(Filter(fingerprint=group.fingerprint))[0]

    assert [record.id for record in listed] == ids[1::-1]
    assert {one.message_id for one in store.find_deliveries(Filter(fingerprint=group.fingerprint))} == set(ids[:2])
    assert store.find_deliveries(Filter(fingerprint=group.fingerprint, state="waiting")) == []
    assert store.find(Filter(fingerprint="0" * 12)) == ([], None)


def test_what_became_of_a_group_is_found_when_nothing_of_it_is_dead_any_more(store: SqlStore, place: Place):
    store.accept(acceptance())
    die_at(store, NOW)
    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)
        (dead,) = store.find_deliveries(Filter(state="dead"))
        store.apply(Change((Settlement(dead, Event(EventKind.RESENT, NOW, due_at=NOW)),)))

        assert reader.groups(rejected_since=WEEK_AGO) == []
        assert [one.id for one in reader.find(Filter(fingerprint=group.fingerprint, state="waiting"))[0]] == [
            dead.message_id
        ]


def test_rejections_are_grouped_by_rule_and_path_and_forgotten_after_a_time(store: SqlStore, place: Place):
    for number, line in enumerate((3, 9)):
        found = b'[{"rule": "pattern", "path": "/x:antrag/x:person[%d]", "line": %d}]' % (number + 1, line)
        findings = Payload(new_id(), PayloadRole.FINDINGS, found, "application/json")
        store.reject(replace(rejection(body=b"<%d/>" % number), payloads=(findings,)))
    store.reject(replace(rejection(), received_at=WEEK_AGO - HOUR))

    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)
        listed = reader.find(Filter(fingerprint=group.fingerprint))[0]

    assert (group.kind, group.count, group.reason) == ("rejected", 2, "schema_violation")
    assert (group.code, group.path, group.destination) == ("pattern", "/antrag/person", None)
    assert len(listed) == 2
    assert store.find_deliveries(Filter(fingerprint=group.fingerprint)) == []


def test_what_is_born_dead_is_grouped_by_the_rule_that_killed_it(store: SqlStore, place: Place):
    born = acceptance(dead="transform_failed")
    (delivery,) = born.deliveries
    found = Payload(new_id(), PayloadRole.FINDINGS, b'[{"rule": "dropped", "path": "/a/b"}]', delivery_id=delivery.id)
    store.accept(replace(born, deliveries=(replace(delivery, code="dropped"),), payloads=(*born.payloads, found)))

    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)

    assert (group.reason, group.code, group.path) == ("transform_failed", "dropped", "/a/b")


def test_a_replay_that_dies_at_once_joins_the_group_of_those_before(store: SqlStore, place: Place):
    for number in range(2):
        store.accept(acceptance(f"m-{number}", dead="no_route", destinations=(BAU,)))
    old, _ = store.find_deliveries(Filter(state="dead"))
    again = replace(old, id=DeliveryId(new_id()), replay_of=old.id, seq=0)
    closing = Settlement(old, Event(EventKind.CLOSED, NOW, reason="superseded"))
    store.apply(Change((closing,), (again,), MessageId(old.message_id)))

    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)

    assert group.count == 2
    assert store.delivery(old.id).state is State.CLOSED


def test_a_note_stays_with_its_group(store: SqlStore, place: Place):
    store.accept(acceptance())
    die_at(store, NOW)
    with reading(place) as reader:
        (group,) = reader.groups(rejected_since=WEEK_AGO)
        note = Note(group.fingerprint, NOW, "erika", "Ticket 47")

        assert store.note(note)
        assert not store.note(replace(note, fingerprint="0" * 12))
        (noted,) = reader.groups(rejected_since=WEEK_AGO, only=group.fingerprint)

    assert noted.notes == (note,)


def test_days_are_counted_as_things_happen(store: SqlStore, place: Place):
    today = date(2026, 3, 2)
    for number in range(3):
        store.accept(acceptance(f"m-{number}", dead="no_route" if number == 2 else ""))
    store.reject(replace(rejection(), owner="wolfsburg"))
    die_at(store, NOW)
    (old,) = store.find_deliveries(Filter(state="waiting"))
    claimed = claim_one(store)
    store.apply(Change((Settlement(claimed, Event(EventKind.DELIVERED, NOW)),)))
    store.accept(acceptance("waits"))

    with reading(place) as reader:
        by_town, by_all = (
            reader.statistics(today, today, by) for by in (("municipality",), ("municipality", "destination"))
        )
        nothing = reader.statistics(today - timedelta(days=9), today - timedelta(days=8), ("municipality",))

    (town,) = by_town
    assert town.place == ("wolfsburg",)
    assert (town.arrived_in, town.rejected, town.delivered, town.died) == (4, 1, 1, 2)
    assert (town.dead, town.waiting, town.oldest_waiting) == (2, 1, NOW)
    assert town.p50 is not None
    assert {one.place: one.arrived_in for one in by_all} == {("wolfsburg", ""): 0, ("wolfsburg", GEWERBE): 4}
    assert [(one.arrived_in, one.delivered, one.dead) for one in nothing] == [(0, 0, 2)]  # what is there now is there
    assert old.id == claimed.id


def test_a_percentile_is_right_to_about_a_fifth():
    took = {12: 90, 20: 10}  # 64 to 90 ms, 1 to 1.4 s

    assert percentile(took, 0.5) == pytest.approx(0.077, rel=0.2)
    assert percentile(took, 0.95) == pytest.approx(1.2, rel=0.2)
    assert percentile({}, 0.5) is None


def test_the_trail_is_found_by_who_what_and_when_and_read_page_by_page(store: SqlStore, place: Place):
    for number, (who, what) in enumerate([("erika", "pause"), ("max", "replay"), ("erika", "replay")]):
        store.audit(Audit(NOW + number * HOUR, who, "cli", what, f"object {number}", "Ticket"))

    with reading(place) as reader:

        def found(**asked) -> list[str]:
            return [one.object for one in reader.audits(AuditFilter(**asked), limit=10)[0]]

        first, cursor = reader.audits(AuditFilter(), limit=2)
        second, end = reader.audits(AuditFilter(), limit=2, after=cursor)

        assert [one.object for one in (*first, *second)] == ["object 2", "object 1", "object 0"]
        assert end is None
        assert found(actor="erika") == ["object 2", "object 0"]
        assert found(action="replay", actor="max") == ["object 1"]
        assert found(about=["object 1"]) == ["object 1"]
        assert found(since=NOW + HOUR) == ["object 2", "object 1"]
        assert found(until=NOW + HOUR) == ["object 0"]
