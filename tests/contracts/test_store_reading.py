"""The store's contract: what people find, page by page, and what it costs. Both databases keep it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from hub.delivery import Event, EventKind, State
from hub.errors import StoreError, Unavailable
from hub.message import new_id
from hub.store import upkeep
from hub.store.api import Change, Control, Filter, Payload, PayloadRole, Reference, Settlement
from hub.store.sql import SqlStore
from hub.store.tables import delivery
from tests.storing import GEWERBE, NOW, SECOND, Place, acceptance, claim_one, rejection, settle

BAU = "gifhorn/bau"


def found(store: SqlStore, **asked: object) -> list[str]:
    """Return the senders of what a filter finds; the tests below give each message a sender of its own."""
    return [record.sender for record in store.find(Filter(**asked))[0]]


def test_pages_come_newest_first_and_the_cursor_leads_on(store: SqlStore):
    ids = [store.accept(acceptance(f"m-{number}")).message_id for number in range(5)]

    first, cursor = store.find(Filter(), limit=2)
    store.accept(acceptance("later"))
    second, cursor = store.find(Filter(), limit=2, after=cursor)
    third, end = store.find(Filter(), limit=2, after=cursor)

    assert [record.id for record in (*first, *second, *third)] == ids[::-1]
    assert end is None
    with pytest.raises(StoreError):
        store.find(Filter(), after="1; --")


def test_each_filter_finds_what_it_names_and_together_they_narrow(store: SqlStore):
    store.accept(acceptance(sender="a", type_="antrag/1.0/antrag.0101"))
    store.accept(acceptance(sender="b", type_="xgewerbeanzeige/2.2/abh.gewerbemeldung.0500", destinations=(BAU,)))
    store.accept(acceptance(sender="c", owner="gifhorn", received_at=NOW + SECOND, dead="no_route"))
    store.reject(replace(rejection(type_="antrag/1.1"), sender="d", owner="gifhorn"))

    assert found(store) == ["d", "c", "b", "a"]
    assert found(store, sender="b") == ["b"]
    assert found(store, municipality="gifhorn") == ["d", "c"]
    assert found(store, destination=BAU) == ["b"]
    assert found(store, route="antraege") == ["c", "b", "a"]
    assert found(store, reason="no_route") == ["c"]
    assert found(store, reason="schema_violation") == ["d"]
    assert found(store, since=NOW + SECOND) == ["c"]
    assert found(store, until=NOW + SECOND) == ["d", "b", "a"]
    assert found(store, municipality="gifhorn", state="dead") == ["c"]
    assert found(store, destination=BAU, state="dead") == []


@pytest.mark.parametrize(
    ("glob", "senders"),
    [
        ("antrag", ["c", "a"]),
        ("antrag/1.*", ["c", "a"]),
        ("antrag/1.0/antrag.010?", ["a"]),
        ("*/*/abh.*.0500", ["b"]),
        ("Antrag/*", []),
        ("antrag/1.0/antrag_0101", []),
        ("*", ["c", "b", "a"]),
    ],
)
def test_types_are_found_by_globs_per_segment(store: SqlStore, glob: str, senders: list[str]):
    store.accept(acceptance(sender="a", type_="antrag/1.0/antrag.0101"))
    store.accept(acceptance(sender="b", type_="xgewerbeanzeige/2.2/abh.gewerbemeldung.0500"))
    store.reject(replace(rejection(type_="antrag/1.1"), sender="c"))

    assert found(store, type=glob) == senders


def test_a_status_is_the_first_that_fits(store: SqlStore):
    store.reject(replace(rejection(), sender="rejected"))
    store.accept(acceptance(sender="attention: dead", destinations=(GEWERBE, BAU)))
    store.accept(acceptance(sender="attention: blocked", destinations=("blocked/x",)))
    store.accept(acceptance(sender="open: paused", destinations=("paused/x",)))
    store.accept(acceptance(sender="delivered", destinations=("c/x",)))
    store.accept(acceptance(sender="closed", destinations=("d/x",)))
    settle(store, claim_one(store), EventKind.DELIVERED)
    settle(store, claim_one(store, BAU), EventKind.DIED, reason="refused")
    store.hold(Control("blocked/x", "blocked", "peer_tls", NOW, "hub"))
    store.hold(Control("paused/x", "paused", "Wartung", NOW, "op"))
    settle(store, claim_one(store, "c/x"), EventKind.DELIVERED)
    settle(store, store.find_deliveries(Filter(destination="d/x"))[0], EventKind.CLOSED, reason="cancelled")

    statuses = {record.sender: record.status for record in store.find(Filter())[0]}

    assert {sender: sender.split(":")[0] for sender in statuses} == statuses
    assert found(store, state="rejected") == ["rejected"]
    assert found(store, state="attention") == ["attention: blocked", "attention: dead"]
    assert found(store, state="open") == ["open: paused"]
    assert found(store, state="waiting") == ["open: paused", "attention: blocked"]
    assert found(store, state="dead") == ["attention: dead"]
    assert found(store, state="delivered") == ["delivered", "attention: dead"]
    assert found(store, state="closed") == ["closed"]
    with pytest.raises(StoreError):
        store.find(Filter(state="lost"))


def test_what_waits_for_a_held_destination_is_shown_and_found_with_the_reason_of_the_hold(store: SqlStore):
    for sender, destination in (("a", "a/x"), ("b", "b/x"), ("c", "c/x"), ("d", "d/x")):
        store.accept(acceptance(sender=sender, destinations=(destination,)))
    settle(store, claim_one(store, "a/x"), EventKind.DEFERRED, reason="unreachable")
    settle(store, claim_one(store, "d/x"), EventKind.DEFERRED, reason="unreachable")
    store.hold(Control("a/x", "paused", "Wartung", NOW, "op"))
    store.hold(Control("b/x", "paused", "Wartung", NOW, "op"))
    store.hold(Control("b/x", "blocked", "route_gone", NOW, "hub"))
    store.hold(Control("c/x", "paused", "Wartung", NOW, "op", until=NOW))  # is over

    shown = {record.sender: record.deliveries[0].reason for record in store.find(Filter())[0]}

    assert shown == {"a": "paused", "b": "route_gone", "c": "", "d": "unreachable"}
    assert {one.destination: one.reason for one in store.find_deliveries(Filter())} == {
        "a/x": "paused", "b/x": "route_gone", "c/x": "", "d/x": "unreachable",
    }  # fmt: skip
    for reason, senders in (("paused", ["a"]), ("route_gone", ["b"]), ("unreachable", ["d"]), ("peer_tls", [])):
        assert found(store, reason=reason) == senders
        assert found(store, reason=reason, state="waiting") == senders
        assert len(store.find_deliveries(Filter(reason=reason))) == len(senders)
    assert found(store, state="attention") == ["b"]


def test_a_hold_says_nothing_of_what_does_not_wait(store: SqlStore):
    store.accept(acceptance(sender="a", dead="refused"))
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub"))

    assert found(store, reason="refused") == ["a"]
    assert found(store, reason="peer_tls") == []
    assert store.find(Filter())[0][0].deliveries[0].reason == "refused"


def test_a_reference_of_any_kind_finds_its_message_and_a_reply_shows_its_values(store: SqlStore):
    store.accept(acceptance(sender="a", references=(Reference("sender_reference", "R-1"), Reference("key:az", "77"))))
    store.accept(acceptance(sender="b", references=(Reference("key:az", "78"),)))
    claimed = claim_one(store)
    told = Reference("value:aktenzeichen", "2026/4711", claimed.id)
    store.apply(Change((Settlement(claimed, Event(EventKind.DELIVERED, NOW), references=(told,)),)))

    assert found(store, reference="R-1") == found(store, reference="77") == found(store, reference="2026/4711") == ["a"]
    assert found(store, reference="aktenzeichen") == []
    assert [one.id for one in store.find_deliveries(Filter(reference="77"))] == [claimed.id]
    assert store.message(claimed.message_id).values == {claimed.id: {"aktenzeichen": "2026/4711"}}


def test_a_page_costs_the_same_few_queries_whatever_is_on_it(store: SqlStore):
    for number in range(12):
        store.accept(acceptance(f"m-{number}", destinations=(GEWERBE, BAU)))
    statements: list[str] = []
    sa.event.listen(
        store._foundation.reading, "before_cursor_execute", lambda _c, _u, text, *_rest: statements.append(text)
    )

    store.find(Filter(state="open"), limit=1)
    one = len(statements)
    store.find(Filter(state="open"), limit=12)

    assert len(statements) - one == one <= 8


def test_all_that_one_question_reads_is_of_one_moment(store: SqlStore):
    store.accept(acceptance("m-1"))

    with store._reading() as connection:
        before = upkeep.select_counts(connection)
        store.accept(acceptance("m-2"))
        after = upkeep.select_counts(connection)

    assert before == after == {(GEWERBE, "waiting"): 1}
    assert store.counts() == {(GEWERBE, "waiting"): 2}


def test_a_question_changes_nothing(store: SqlStore):
    with pytest.raises(Unavailable), store._reading() as connection:
        connection.execute(sa.delete(delivery))


def test_deliveries_are_listed_oldest_first_and_go_on_after_the_last(store: SqlStore):
    for number in range(5):
        store.accept(acceptance(f"m-{number}", dead="no_route" if number % 2 else ""))

    listed = store.find_deliveries(Filter(), limit=3)
    rest = store.find_deliveries(Filter(), after=listed[-1].seq)

    assert [one.state for one in (*listed, *rest)] == [State.WAITING, State.DEAD] * 2 + [State.WAITING]
    assert [one.seq for one in (*listed, *rest)] == sorted(one.seq for one in (*listed, *rest))
    assert len(store.find_deliveries(Filter(state="dead"))) == 2
    assert len(store.find_deliveries(Filter(state="attention"))) == 2
    assert len(store.find_deliveries(Filter(state="open"))) == 3
    assert list(store.find_deliveries(Filter(state="rejected"))) == []


def test_a_message_tells_its_payloads_and_its_timeline(store: SqlStore):
    store.accept(acceptance(body=b"<a/>"))
    claimed = claim_one(store)
    reply = Payload(new_id(), PayloadRole.REPLY, b"<ok/>", delivery_id=claimed.id)
    event = Event(
        EventKind.DELIVERED, NOW + SECOND, phase="response_parsed", code="http-200", duration=SECOND, actor="hub"
    )
    store.apply(Change((Settlement(claimed, event, payloads=(reply,)),)))

    infos = store.payloads(claimed.message_id)

    assert [(info.role, info.size, info.delivery_id) for info in infos] == [
        (PayloadRole.RECEIVED, 4, None), (PayloadRole.REPLY, 5, claimed.id),
    ]  # fmt: skip
    assert store.payload(reply.id) == reply
    assert store.events(claimed.id) == [Event(EventKind.CLAIMED, NOW), event]


def test_an_event_of_a_newer_program_is_kept_and_left_out(store: SqlStore, place: Place):
    store.accept(acceptance())
    claimed = claim_one(store)
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO event (delivery_id, revision, kind, at, reason, phase, code, actor)"
                " VALUES (:id, 7, 'blessed', 0, '', '', '', 'newer')"
            ),
            {"id": claimed.id},
        )
    engine.dispose()

    assert [event.kind for event in store.events(claimed.id)] == [EventKind.CLAIMED]


def test_what_is_not_there_is_none(store: SqlStore):
    nobody = new_id()

    assert store.message(nobody) is None
    assert store.delivery(nobody) is None
    assert store.payload(nobody) is None
    assert store.incoming(nobody) is None
    assert store.jobs.find(nobody) is None
    assert store.snapshot("0" * 64) is None
    assert list(store.events(nobody)) == list(store.payloads(nobody)) == []
