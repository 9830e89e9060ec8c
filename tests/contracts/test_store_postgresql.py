"""What only PostgreSQL has to promise: several nodes on one database, connections that break, a server that restarts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from hub.delivery import Event, EventKind, State
from hub.errors import StoreBusy, Unavailable
from hub.job import Job
from hub.message import new_id
from hub.store import migrate, presence, sharing
from hub.store.api import Change, Control, Filter, Settlement
from hub.store.sharing import notices
from hub.store.sql import SqlStore
from tests.batches import claimed, settling, together
from tests.daemon import until
from tests.proxy import Proxy
from tests.servers import fresh_database
from tests.storing import GEWERBE, LEASE, NOW, SECOND, Place, acceptance, claim_one, settle


@contextmanager
def asking(place: Place) -> Iterator[psycopg.Connection]:
    """Give a connection beside the store's."""
    with psycopg.connect(place.url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


def cut_all(place: Place) -> None:
    """End every connection to the database, as a server does that is restarted."""
    with asking(place) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def ears(place: Place) -> list[int]:
    """Return the backends that hold the lock of a daemon, and listen."""
    with asking(place) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ShareLock'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return [pid for (pid,) in rows]


# --- leases and rows of others ------------------------------------------------------------------------------------


def test_leases_count_by_the_databases_clock(daemons: list[SqlStore]):
    """Nodes whose clocks are an hour apart agree on who is alive."""
    one, other = daemons
    one.accept(acceptance("m-1"))
    claim_one(one, now=NOW)

    assert list(other.lost(datetime.now(UTC) + timedelta(hours=1))) == []
    one.accept(acceptance("m-2"))
    (over,) = one.claim(GEWERBE, now=NOW, limit=1, owner="node-1", lease=timedelta(0))
    assert [delivery.id for delivery in other.lost(NOW - timedelta(hours=1))] == [over.id]


def test_a_row_that_another_node_holds_delays_only_its_own_operation(daemons: list[SqlStore]):
    """A transaction that is left open (a node that hangs, an administrator at a prompt) does not fail the batch."""
    store = daemons[0]
    held, free = claimed(store, 2)
    with daemons[1]._foundation.writing.begin() as other:
        other.execute(sa.text("SELECT 1 FROM delivery WHERE id = :id FOR UPDATE"), {"id": held.id})
        batch = together(store, settling(store, held), settling(store, free), partial(store.accept, acceptance("m-1")))

    assert [type(answer) for answer in batch.failed] == [Unavailable]  # not for good: Dispatch tries until it is there
    assert isinstance(batch.answers[0], Unavailable)
    assert store.counts() == {(GEWERBE, "sending"): 1, (GEWERBE, "delivered"): 1, (GEWERBE, "waiting"): 1}
    settling(store, held)()
    assert store.delivery(held.id).state is State.DELIVERED


# --- what became of a commit whose answer was lost ----------------------------------------------------------------


@pytest.fixture
def cut(postgresql_place: Place) -> Iterator[tuple[SqlStore, Callable[..., None]]]:
    """Give a store behind a proxy, and what cuts its connection during a commit, the next one or a later one: before
    the server hears of it (``cut_up``) or before the answer comes back (``cut_down``).
    """
    url = sa.make_url(postgresql_place.url)
    with Proxy(url.port or 5432) as proxy:
        behind = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        store = replace(postgresql_place, url=behind).open()
        engine = store._foundation.writing

        def cut_next(toxic: str, commits: int = 0) -> None:
            left = iter(range(commits + 1))

            def at_commit(_connection: sa.Connection) -> None:
                if threading.current_thread() is store._writer._thread and next(left, None) == commits:
                    proxy.set(toxic, 0)

            sa.event.listen(engine, "commit", at_commit)
            sa.event.listen(engine, "invalidate", lambda *_: proxy.clear(), once=True)

        yield store, cut_next
        proxy.clear()
        store.close()


Cut = tuple[SqlStore, Callable[..., None]]


def test_a_commit_whose_answer_was_lost_is_looked_up_and_answered_as_if_nothing_had_happened(cut: Cut):
    store, cut_next = cut
    sent = claimed(store, 2)
    cut_next("cut_down", 1)  # after the one that stops the writer

    with capture_logs() as lines:
        batch = together(
            store,
            partial(store.accept, acceptance("m-1")),
            *(settling(store, one) for one in sent),
        )

    assert batch.failed == []
    assert not batch.answers[0].duplicate
    assert [(line["event"], line["state"]) for line in lines if line["event"] == "commit_looked_up"] == [
        ("commit_looked_up", "committed")
    ]  # fmt: skip
    assert store.counts() == {(GEWERBE, "delivered"): 2, (GEWERBE, "waiting"): 1}


def test_a_claim_whose_answer_was_lost_is_in_the_hands_of_who_asked(cut: Cut):
    store, cut_next = cut
    store.accept(acceptance("m-1"))
    cut_next("cut_down")

    (delivery,) = store.claim(GEWERBE, now=NOW, limit=1, owner="node-1", lease=LEASE)

    assert store.delivery(delivery.id) == delivery
    assert settle(store, delivery, EventKind.DELIVERED).state is State.DELIVERED


def test_a_commit_that_never_reached_the_server_stored_nothing_and_nobody_is_told_otherwise(cut: Cut):
    store, cut_next = cut
    (sent,) = claimed(store, 1)
    cut_next("cut_up", 1)

    with capture_logs() as lines:
        batch = together(store, partial(store.accept, acceptance("m-1")), settling(store, sent))

    assert [type(answer) for answer in batch.answers] == [Unavailable, Unavailable]
    assert [line["state"] for line in lines if line["event"] == "commit_looked_up"] == ["rolled back"]
    assert store.counts() == {(GEWERBE, "sending"): 1}
    settling(store, sent)()
    assert not store.accept(acceptance("m-1")).duplicate


def test_a_server_that_does_not_come_back_in_time_leaves_the_commits_fate_unknown(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
):
    """Nobody guesses: the sender is told to try again, and its repetition finds the first by its identity."""
    store, cut_next = cut
    monkeypatch.setattr(sharing, "LOOKUP_SECONDS", 0.0)
    sealed = type(store._writer._seal).sealed
    monkeypatch.setattr(store._writer, "_seal", _Away(store._writer._seal, sealed))
    given = acceptance("m-1")
    cut_next("cut_down")

    with pytest.raises(Unavailable):
        store.accept(given)

    assert store.accept(acceptance("m-1")) == replace(store.accept(acceptance("m-1")), message_id=given.message.id)
    assert store.counts() == {(GEWERBE, "waiting"): 1}


class _Away:
    """A seal whose server does not answer when it is asked what became of a commit."""

    def __init__(self, seal: sharing.Sharing, sealed: Callable[[sharing.Sharing, str], bool]) -> None:
        self.seal, self._seal, self._sealed = seal.seal, seal, sealed

    def sealed(self, mark: str) -> bool:
        engine, self._seal._engine = self._seal._engine, sa.create_engine("postgresql+psycopg://postgres@127.0.0.1:1/x")
        try:
            return self._sealed(self._seal, mark)
        finally:
            self._seal._engine = engine


def test_the_mark_of_a_commit_that_is_still_under_way_is_waited_for(daemons: list[SqlStore]):
    """The old connection is lost, and its server process has not finished yet: reading would see the mark before."""
    store = daemons[0]
    store.accept(acceptance("m-1"))
    seal, engine = store._writer._seal, daemons[1]._foundation.writing
    connection = engine.connect()
    transaction = connection.begin()
    mark = seal.seal(connection, [])
    found: list[bool] = []
    asking_ = threading.Thread(target=lambda: found.append(seal.sealed(mark)))
    asking_.start()
    until(lambda: _waits_for_a_lock(connection), "the look-up waits")
    transaction.commit()
    asking_.join(60)
    connection.close()

    assert found == [True]


def _waits_for_a_lock(connection: sa.Connection) -> bool:
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(connection.execute(waiting).scalar())


def test_marks_go_with_their_writer_and_those_of_killed_ones_after_a_day(postgresql_place: Place):
    first = postgresql_place.open()
    first.accept(acceptance("m-1"))
    with asking(postgresql_place) as connection:
        marks = "SELECT count(*) FROM setting WHERE name LIKE 'commit %'"
        assert connection.execute(marks).fetchone() == (1,)
        old = "01900000-0000-7000-8000-000000000000"  # of the year 2024
        connection.execute("INSERT INTO setting VALUES ('commit killed', %s), ('commit lately', %s)", (old, new_id()))
        second = postgresql_place.open()
        names = [name for (name,) in connection.execute("SELECT name FROM setting WHERE name LIKE 'commit %'")]
        first.close()
        second.close()

        assert len(names) == 2
        assert "commit lately" in names
        assert connection.execute(marks).fetchone() == (1,)


# --- notices ------------------------------------------------------------------------------------------------------


class Heard:
    """What a store's ears were told."""

    def __init__(self, store: SqlStore) -> None:
        self.due: list[set[str]] = []
        self.jobs = 0
        store.listen(lambda names: self.due.append(set(names)), self._job)

    def _job(self) -> None:
        self.jobs += 1

    @property
    def names(self) -> set[str]:
        return set().union(*self.due)


@pytest.fixture
def heard(daemons: list[SqlStore], postgresql_place: Place) -> Heard:
    """Give the ears of the first daemon, which are open."""
    listening = Heard(daemons[0])

    def hears() -> bool:
        daemons[1].release("probe/probe", by="test", now=NOW)
        return bool(listening.due)

    until(hears, "the first daemon hears the second")
    daemons[1].release("probe/last", by="test", now=NOW)
    until(lambda: {"probe/last"} in listening.due, "the last of the probes")  # they come in the order of the commits
    listening.due.clear()
    return listening


def test_what_another_node_makes_due_is_told_and_what_waits_for_its_time_is_not(daemons: list[SqlStore], heard: Heard):
    store = daemons[1]
    store.accept(acceptance("m-1", destinations=("a/accepted", "b/accepted")))
    store.accept(acceptance("m-2", destinations=("c/dead",), dead="no_route"))
    (dead,) = store.find_deliveries(Filter(destination="c/dead"))
    store.accept(acceptance("m-3", destinations=("d/deferred",)))
    sent = claim_one(store, "d/deferred")
    store.apply(Change((Settlement(sent, Event(EventKind.DEFERRED, NOW, due_at=NOW + SECOND)),)))
    until(lambda: {"a/accepted", "b/accepted", "d/deferred"} <= heard.names, "what was accepted")
    heard.due.clear()

    store.apply(Change((Settlement(dead, Event(EventKind.RESENT, NOW, due_at=NOW)),)))
    new = replace(dead, id=new_id(), destination="e/replayed", state=State.WAITING, reason="")
    store.apply(Change(deliveries=(new,), message_id=dead.message_id))
    store.hold(Control("f/held", "paused", "Wartung", NOW, "op"))
    store.release("f/held", by="op", now=NOW)

    until(lambda: "f/held" in heard.names, "what was released, the last")
    assert heard.due == [{"c/dead"}, {"e/replayed"}, {"f/held"}]
    assert heard.jobs == 0


def test_a_job_that_the_command_line_writes_is_told(postgresql_place: Place, heard: Heard):
    line = postgresql_place.open("cli")
    line.jobs.add(Job(new_id(), "close", "lea", "erledigt", NOW), ["d-1"])
    line.close()

    until(lambda: heard.jobs == 1, "the job is heard of")
    assert heard.due == []


def test_a_batch_is_one_notice(daemons: list[SqlStore], heard: Heard):
    store = daemons[1]
    together(store, *(partial(store.accept, acceptance(f"m-{n}", destinations=(f"d-{n % 3}/x",))) for n in range(12)))

    until(lambda: heard.due, "it is heard")
    store.release("last/x", by="op", now=NOW)
    until(lambda: "last/x" in heard.names, "what came after it")
    assert heard.due == [{"d-0/x", "d-1/x", "d-2/x"}, {"last/x"}]


def test_what_was_rolled_back_is_not_told(daemons: list[SqlStore], heard: Heard):
    store = daemons[1]
    store.accept(acceptance("m-1", destinations=("a/x",)))
    sent = claim_one(store, "a/x")
    new = replace(sent, id=new_id(), destination="b/x", state=State.WAITING)
    settle(store, sent, EventKind.DELIVERED)
    late = settling(store, sent, EventKind.DEFERRED)

    batch = together(store, lambda: store.apply(Change(
        (Settlement(sent, Event(EventKind.DELIVERED, NOW)),), (new,), sent.message_id)), late)  # fmt: skip
    store.release("last/x", by="op", now=NOW)

    until(lambda: "last/x" in heard.names, "what came after it")
    assert len(batch.failed) == 2
    assert heard.due == [{"a/x"}, {"last/x"}]


def test_what_a_node_writes_itself_it_is_not_told(daemons: list[SqlStore], heard: Heard):
    daemons[0].accept(acceptance("m-1", destinations=("own/x",)))
    daemons[1].accept(acceptance("m-2", destinations=("others/x",)))

    until(lambda: heard.due, "the other's is heard")
    assert heard.due == [{"others/x"}]


def test_notices_are_bounded_whatever_is_written():
    names = tuple(f"gemeinde-{number:04}/{'ü' * 40}" for number in range(500))
    rows = [{"destination": name, "state": "waiting"} for name in (*names, "x" * 9_000)]
    written = [("release", sharing.Release(row["destination"], "op", NOW, None)) for row in rows]

    told = list(notices("node-1", written))

    assert all(len(text.encode()) < 8_000 for _, text in told)
    assert sorted(name for _, text in told for name in text.split("\n")[1:]) == sorted(names)
    assert len(told) < 10


# --- connections that break ---------------------------------------------------------------------------------------


def test_lock_and_ears_come_back_after_the_connection_was_lost(
    daemons: list[SqlStore], heard: Heard, postgresql_place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(presence, "REBUILD_SECONDS", 0.05)
    before = ears(postgresql_place)
    assert len(before) == 2

    cut_all(postgresql_place)
    until(lambda: ears(postgresql_place), "the one that listens has its lock again")

    assert not set(ears(postgresql_place)) & set(before)
    line = postgresql_place.open("cli")
    assert not line.try_lock()
    line.close()
    heard.due.clear()

    def hears() -> bool:
        daemons[1].release("after/x", by="op", now=NOW)
        return "after/x" in heard.names

    until(hears, "it hears again")


def test_a_daemon_waits_for_its_lock_while_a_command_line_runs_jobs(
    daemons: list[SqlStore], heard: Heard, postgresql_place: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(presence, "REBUILD_SECONDS", 0.3)
    with asking(postgresql_place) as line:
        cut_all_but = (
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
        )
        oid = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        taken = f"SELECT pg_try_advisory_lock({presence.ADVISORY_KEY})"

        def alone() -> bool:
            line.execute(cut_all_but + oid)
            return bool(line.execute(taken).fetchone()[0])

        until(alone, "a command line has the lock alone")
        with pytest.raises(StoreBusy):
            postgresql_place.open()
        daemons[0].accept(acceptance("m-1"))  # nothing else stops
        line.execute("SELECT pg_advisory_unlock_all()")
    until(lambda: len(ears(postgresql_place)) == 1, "the daemon has its lock again")


def test_a_store_that_listens_closes_soon_also_while_the_server_is_away(tmp_path: Path):
    with fresh_database() as url:
        migrate(url)
        parsed = sa.make_url(url)
        with Proxy(parsed.port or 5432) as proxy:
            behind = parsed.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
            store = Place(behind, tmp_path).open()
            Heard(store)
            store.accept(acceptance("m-1"))
            proxy.set("refuse")
            proxy.set("cut_down", 0)
            with pytest.raises(Unavailable):
                store.check()
            closing = threading.Thread(target=store.close)
            closing.start()
            closing.join(60)

            assert not closing.is_alive()
