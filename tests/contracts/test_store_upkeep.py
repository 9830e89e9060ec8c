"""The store's contract: holds, jobs, audit, snapshots, erasure, and a database that is not as it should be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from hub.delivery import Event, EventKind
from hub.errors import Conflict, StoreError, Unavailable
from hub.job import ItemResult, Job, JobItem
from hub.message import new_id
from hub.store import migrate
from hub.store.api import Audit, Change, Control, Filter, PayloadRole, Reference, Settlement
from hub.store.sql import SqlStore
from hub.store.tables import SCHEMA, message, payload, reference
from hub.store.writer import Verb
from tests.servers import fresh_database
from tests.storing import GEWERBE, NOW, SECOND, Place, acceptance, claim_one, rejection

MINUTE = 60 * SECOND


# --- holds


def test_a_second_hold_renews_the_first_and_keeps_its_beginning(store: SqlStore):
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub", code="expired"))
    store.hold(Control(GEWERBE, "blocked", "peer_auth", NOW + MINUTE, "hub", until=NOW + 5 * MINUTE))
    store.hold(Control(GEWERBE, "paused", "Wartung", NOW + MINUTE, "op"))

    assert store.controls(NOW + 2 * MINUTE) == [
        Control(GEWERBE, "blocked", "peer_auth", NOW, "hub", until=NOW + 5 * MINUTE),
        Control(GEWERBE, "paused", "Wartung", NOW + MINUTE, "op"),
    ]
    assert [one.kind for one in store.controls(NOW + 5 * MINUTE)] == ["blocked", "paused"]  # a probe is due, not all


def test_a_release_says_whether_anything_was_held(store: SqlStore):
    store.hold(Control(GEWERBE, "blocked", "peer_tls", NOW, "hub"))
    store.hold(Control(GEWERBE, "paused", "Wartung", NOW, "op", until=NOW + MINUTE))

    assert not store.release("gifhorn/bau", by="op", now=NOW)
    assert store.release(GEWERBE, by="op", now=NOW, kind="blocked")
    assert [one.kind for one in store.controls(NOW)] == ["paused"]
    assert not store.release(GEWERBE, by="op", now=NOW + MINUTE)


def test_held_time_is_the_union_of_all_holds_within_the_span(store: SqlStore):
    def at(minute: int):
        return NOW + minute * MINUTE

    store.hold(Control(GEWERBE, "paused", "a", at(0), "op"))
    store.release(GEWERBE, by="op", now=at(10))
    store.hold(Control(GEWERBE, "closed", "b", at(20), "hub", until=at(30)))  # ends by itself
    store.hold(Control(GEWERBE, "paused", "c", at(25), "op", until=at(28)))  # within the one before
    store.hold(Control(GEWERBE, "blocked", "d", at(40), "hub"))  # stands
    store.hold(Control("gifhorn/bau", "paused", "e", at(0), "op"))

    assert store.held(GEWERBE, at(0), at(60)) == 40 * MINUTE
    assert store.held(GEWERBE, at(5), at(22)) == 7 * MINUTE
    assert store.held(GEWERBE, at(11), at(19)) == timedelta(0)
    assert store.held(GEWERBE, at(50), at(55)) == 5 * MINUTE


def test_nodes_that_hold_the_same_destination_at_once_share_one_hold(nodes: list[SqlStore]):
    start = threading.Barrier(3, timeout=20)

    def hold(number: int) -> None:
        for turn in range(20):
            start.wait()
            nodes[number].hold(Control(f"d-{turn}/x", "blocked", "peer_tls", NOW, f"node-{number}"))

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(hold, range(3)))

    assert [one.destination for one in nodes[0].controls(NOW)] == [f"d-{turn}/x" for turn in range(20)]


# --- jobs and audit


def test_jobs_and_what_is_done_of_them_survive_a_restart(place: Place):
    store = place.open()
    wish = Job(new_id(), "resend", "lea", "Verfahren war gestört", NOW, {"rate": "5"})
    store.jobs.add(wish, ("d-1", "d-2", "d-1"))
    store.apply(Change(item=ItemResult(wish.id, "d-2", "skipped", "delivered meanwhile")))
    store.close()

    again = place.open()

    (job,) = again.jobs.unfinished()
    assert (job, again.jobs.find(wish.id)) == (replace(wish, seq=job.seq), job)
    assert again.jobs.items(job.id) == [
        JobItem(0, "d-1", None, ""), JobItem(1, "d-2", "skipped", "delivered meanwhile"),
    ]  # fmt: skip
    assert again.jobs.progress([job.id]) == {job.id: {"skipped": 1, "left": 1}}
    again.close()


def test_an_item_is_done_once_together_with_what_it_does(store: SqlStore):
    store.accept(acceptance(dead="refused"))
    (dead,) = store.find_deliveries(Filter(state="dead"))
    job = store.jobs.add(Job(new_id(), "resend", "lea", "behoben", NOW), [dead.id])
    with pytest.raises(Conflict):
        store.jobs.add(job, ["another"])
    done = ItemResult(job.id, dead.id, "done")
    resent = Settlement(dead, Event(EventKind.RESENT, NOW, actor="lea", job_id=job.id))
    (waiting,) = store.apply(Change((resent,), item=done))

    with pytest.raises(Conflict):
        store.apply(Change((Settlement(waiting, Event(EventKind.CLOSED, NOW)),), item=done))
    assert store.delivery(dead.id) == waiting


def test_the_audit_trail_is_read_newest_first(store: SqlStore):
    entries = [Audit(NOW + n * SECOND, "lea", "cli", "pause", GEWERBE, f"Grund {n}", "ok") for n in range(3)]
    for entry in entries:
        store.audit(entry)

    assert store.audits(2) == entries[:0:-1]


# --- snapshots, erasure, counts


def test_a_snapshot_is_kept_and_damage_in_it_is_found(store: SqlStore, place: Place):
    files = {"routes.yaml": b"version: 1", "a.xsd": b"<xs:schema/>" * 500, "b.xsd": b"<xs:schema/>" * 500}
    store.keep_snapshot("snap-1", files, {"hub": "0.1"}, NOW)
    store.keep_snapshot("snap-1", files, {"hub": "0.1"}, NOW)
    store.keep_snapshot("snap-2", {**files, "routes.yaml": b"version: 2"}, {"hub": "0.1"}, NOW)
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        kept = connection.exec_driver_sql("SELECT count(*) FROM file").scalar()
        intact = store.snapshot("snap-1")
        connection.execute(sa.text("UPDATE file SET bytes = :bytes"), {"bytes": b"x"})
    engine.dispose()

    assert kept == 3
    assert intact == files
    with pytest.raises(StoreError):
        store.snapshot("snap-2")


def test_bodies_of_rejected_documents_go_by_age_and_by_size_and_their_record_stays(store: SqlStore, place: Place):
    ids = []
    for day in range(6):
        given = rejection(body=b"x" * 100, received_at=NOW + timedelta(days=day))
        store.reject(given)
        ids.append(given.id)
    large = rejection(body=b"x" * 2_000_000, source="folder", received_at=NOW)
    store.reject(large)
    accepted = store.accept(acceptance(body=b"x" * 100, received_at=NOW))

    by_age = store.erase_rejected("online-services", before=NOW + timedelta(days=2), up_to=10_000)
    by_size = store.erase_rejected("online-services", before=NOW, up_to=250)
    again = store.erase_rejected("online-services", before=NOW, up_to=250)
    other = store.erase_rejected("folder", before=NOW + SECOND, up_to=10_000)

    def has_body(id_: str) -> bool:
        return any(info.role is PayloadRole.RECEIVED for info in store.payloads(id_))

    assert (by_age, by_size, again, other) == (2, 2, 0, 1)
    assert [has_body(id_) for id_ in ids] == [False] * 4 + [True] * 2
    assert [info.role for info in store.payloads(ids[0])] == [PayloadRole.FINDINGS]
    assert store.message(ids[0]).code == "schema_violation"
    assert has_body(accepted.message_id)
    assert list(place.state_dir.rglob("payloads/*/*")) == []


def test_sources_with_something_to_erase_are_named_whether_they_are_configured_or_not(store: SqlStore):
    store.accept(acceptance())
    for source in ("former", "former", "folder"):
        store.reject(rejection(source=source))
    before = sorted(store.sources_with_rejected())
    store.erase_rejected("former", before=NOW + SECOND, up_to=0)

    assert before == ["folder", "former"]
    assert store.sources_with_rejected() == ["folder"]


@pytest.mark.parametrize("body", [b"<kaputt>", None])
def test_an_erased_rejection_knows_nothing_that_its_sender_called_it(store: SqlStore, place: Place, body: bytes | None):
    told = {"sender_reference": "Musterfrau.xml", "recipient": "wolfsburg"}
    given = rejection(body=body, key="Musterfrau-1", arrival=told, references=(Reference("key:az", "Musterfrau-2"),))
    store.reject(given)
    kept = store.accept(acceptance(references=(Reference("key:az", "Musterfrau-2"),), arrival=told))

    assert store.erase_rejected("online-services", before=NOW + SECOND, up_to=10_000) == 1
    assert store.erase_rejected("online-services", before=NOW + SECOND, up_to=10_000) == 0

    assert store.incoming(given.id) == {
        "source": "online-services", "sender": "bauportal", "received_at": NOW, "idempotency_key": None,
    }  # fmt: skip
    assert [one.id for one in store.find(Filter(reference="Musterfrau-2"))[0]] == [kept.message_id]
    assert store.incoming(kept.message_id)["sender_reference"] == "Musterfrau.xml"
    assert "Musterfrau" not in _rows_of(place, given.id)


def _rows_of(place: Place, message_id: str) -> str:
    """Return all that the tables say of a message."""
    engine = sa.create_engine(place.url)
    with engine.begin() as connection:
        rows = [
            connection.execute(sa.select(table).where(column == message_id)).all()
            for table, column in [(message, message.c.id), (payload, payload.c.message_id),
                                  (reference, reference.c.message_id)]
        ]  # fmt: skip
    engine.dispose()
    return str(rows)


def test_erasure_is_done_in_portions(store: SqlStore):
    for number in range(5):
        store.reject(rejection(body=b"<kaputt%d>" % number))

    assert [store.erase_rejected("online-services", before=NOW + SECOND, up_to=0, limit=2) for _ in range(4)] == [
        2, 2, 1, 0,
    ]  # fmt: skip


def test_counts_name_destination_and_state(store: SqlStore):
    store.accept(acceptance(destinations=("a/x", "b/x")))
    store.accept(acceptance(destinations=("a/x",)))
    claim_one(store, "a/x")

    assert store.counts() == {("a/x", "waiting"): 1, ("a/x", "sending"): 1, ("b/x", "waiting"): 1}
    store.check()


def test_a_closed_store_takes_nothing(place: Place):
    store = place.open()
    store.close()

    with pytest.raises(Unavailable):
        store.accept(acceptance())
    with pytest.raises(Unavailable):
        store.check()


def test_a_store_that_has_failed_for_good_says_so_once(store: SqlStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)

    def bug(_connection: sa.Connection, _value: None) -> None:
        raise LookupError("Erika Musterfrau")

    before = store.failed
    with capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(Unavailable):
                store._writer.run(Verb("bug", bug), None)

    assert (before, store.failed) == (None, "crashed")
    assert [(line["event"], line["log_level"], line["code"]) for line in lines] == [
        ("store_failed", "error", "crashed")
    ]  # fmt: skip


def test_a_store_that_is_closed_has_not_failed(place: Place):
    store = place.open()
    store.close()

    assert store.failed is None


# --- PostgreSQL


@pytest.mark.parametrize("setting", ["synchronous_commit = off", "synchronous_commit = local"])
def test_a_server_that_answers_before_it_has_stored_is_refused(tmp_path, setting: str):
    with fresh_database() as url:
        migrate(url)
        name = url.rsplit("/", 1)[1]
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} SET {setting}")

        with pytest.raises(StoreError, match="synchronous_commit"):
            Place(url, tmp_path).open()


def test_tables_that_are_not_there_or_too_new_are_refused_with_what_to_do(tmp_path):
    with fresh_database() as url:
        with pytest.raises(StoreError, match="store migrate"):
            Place(url, tmp_path).open()
        assert migrate(url) == migrate(url) == SCHEMA
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0003'")
        Place(url, tmp_path).open().close()
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0004'")
        with pytest.raises(StoreError, match="update it"):
            Place(url, tmp_path).open()


def test_a_server_that_does_not_answer_is_unavailable(tmp_path):
    with pytest.raises(Unavailable):
        Place("postgresql+psycopg://postgres@127.0.0.1:1/none", tmp_path).open()


def test_the_store_goes_on_when_the_server_has_cut_its_connections(tmp_path):
    with fresh_database() as url:
        migrate(url)
        store = Place(url, tmp_path).open()
        store.accept(acceptance("m-1"))
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        assert not store.accept(acceptance("m-2")).duplicate
        assert store.counts() == {(GEWERBE, "waiting"): 2}
        store.close()


def test_daemons_share_a_server_and_a_command_line_takes_the_lock_only_alone(tmp_path):
    with fresh_database() as url:
        migrate(url)
        place = Place(url, tmp_path)
        one, two, line = place.open(), place.open(), place.open("cli")

        assert not line.try_lock()
        one.close()
        two.close()
        assert line.try_lock()
        line.close()
