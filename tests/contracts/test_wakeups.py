"""How a daemon learns of what another process wrote: PostgreSQL tells it, and the sweep finds what nobody told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from hub import deliverers
from hub.config.process import ProcessSettings
from hub.daemon import engine as daemon
from hub.daemon.engine import Engine, utc_now
from hub.delivery import State
from hub.service import Hub
from hub.store import presence
from hub.store.sql import SqlStore
from tests.daemon import until
from tests.leinen import Leinen, folder_out
from tests.storing import Place, acceptance

DESTINATION = "nordheim/leinen"
NEVER = 3600.0
KILL = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Place], Engine]]:
    """Give what starts a daemon over a store. Its sweeps are those that the test has set before."""
    made: list[Engine] = []

    def start_one(place: Place) -> Engine:
        hub = Leinen(tmp_path, {"nordheim": folder_out("out/nord")})
        engine = Engine(hub.write(), ProcessSettings(place.state_dir, place.url, workers=1))
        made.append(engine)
        engine.start()
        return engine

    yield start_one
    for engine in made:
        engine.stop()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that looks by itself once an hour."""
    monkeypatch.setattr(deliverers, "SWEEP_SECONDS", NEVER)
    monkeypatch.setattr(daemon, "JOBS_EVERY_SECONDS", NEVER)


def delivered(store: SqlStore, id_: str) -> bool:
    record = store.message(id_)
    assert record is not None
    return [one.state for one in record.deliveries] == [State.DELIVERED]


def test_what_another_process_accepted_is_sent_long_before_the_sweep(
    start: Callable[[Place], Engine], postgresql_place: Place, deaf: None
):
    start(postgresql_place)
    line = postgresql_place.open("cli")
    receipts = []

    def arrived() -> bool:  # one that is written before the ears are open is for the sweep
        receipts.append(line.accept(acceptance(destinations=(DESTINATION,))))
        return any(delivered(line, one.message_id) for one in receipts)

    until(arrived, "the daemon heard of one")
    last = line.accept(acceptance(destinations=(DESTINATION,)))
    until(lambda: delivered(line, last.message_id), "from then on it hears of each")
    until(lambda: all(delivered(line, one.message_id) for one in receipts), "and finds those before it, too")
    line.close()


def test_what_the_command_line_resumes_and_asks_for_is_done_long_before_the_sweep(
    start: Callable[[Place], Engine], postgresql_place: Place, deaf: None
):
    start(postgresql_place)
    line = postgresql_place.open("cli")
    hub = Hub(line, utc_now, actor="lea", via="cli")
    hub.pause(DESTINATION, "Wartung", None)
    held = line.accept(acceptance(destinations=(DESTINATION,)))
    dead = line.accept(acceptance(destinations=(DESTINATION,), dead="gave_up"))
    (delivery,) = line.message(dead.message_id).deliveries

    def resumed() -> bool:
        hub.resume(DESTINATION, "Wartung beendet")
        return delivered(line, held.message_id)

    until(resumed, "what was held back goes on")
    job = hub.submit("resend", [delivery.id], "behoben")
    until(lambda: line.jobs.find(job.id).state == "done", "the job is run")
    until(lambda: delivered(line, dead.message_id), "what was resent arrives")
    line.close()


def test_without_notices_the_sweep_finds_it(
    start: Callable[[Place], Engine], place: Place, monkeypatch: pytest.MonkeyPatch
):
    """SQLite knows no notices; on PostgreSQL the connection that listens is killed, and does not come back."""
    monkeypatch.setattr(presence, "REBUILD_SECONDS", NEVER)
    start(place)
    if place.url.startswith("postgresql"):
        with psycopg.connect(place.url.replace("+psycopg", ""), autocommit=True) as connection:
            oid = " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            killed = connection.execute(KILL + oid).fetchall()
            assert killed == [(True,)]
            until(lambda: connection.execute(KILL + oid).fetchall() == [], "it is gone")
    line = place.open("cli")
    dead = line.accept(acceptance(destinations=(DESTINATION,), dead="gave_up"))
    waiting = line.accept(acceptance(destinations=(DESTINATION,)))
    (delivery,) = line.message(dead.message_id).deliveries
    Hub(line, utc_now, actor="lea", via="cli").submit("resend", [delivery.id], "behoben")

    until(lambda: delivered(line, waiting.message_id), "the sweep has found what was accepted")
    until(lambda: delivered(line, dead.message_id), "and the job")
    line.close()
