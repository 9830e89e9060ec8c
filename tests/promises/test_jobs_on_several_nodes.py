"""A job on PostgreSQL with two daemons: one of them runs it, at its pace; when that one is killed, the other goes on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from hub.delivery import EventKind
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import migrate
from hub.store.api import Filter
from hub.store.sql import SqlStore
from tests.daemon import Daemon, until
from tests.dead_letters import done_of, put_dead, reading, results_of
from tests.leinen import Leinen, soap
from tests.servers import fresh_database

COUNT, RATE = 60, 20
REASON = ("--reason", "Fachverfahren läuft wieder")


@pytest.fixture
def database() -> Iterator[str]:
    with fresh_database() as url:
        migrate(url)
        yield url


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("nordheim", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def nodes(tmp_path: Path, database: str, procedure: SoapProcedure) -> Iterator[list[Daemon]]:
    made = [
        Daemon(
            Leinen(tmp_path / name, {"nordheim": soap(procedure.address)}),
            XOEV_HUB_STORE=database, XOEV_HUB_WORKERS="1",
        )
        for name in ("eins", "zwei")
    ]  # fmt: skip
    put_dead(database, tmp_path / "var", COUNT)
    with made[0], made[1]:
        yield made


@pytest.mark.timeout(400)
def test_one_node_runs_a_job_and_another_one_goes_on_when_it_is_killed(
    nodes: list[Daemon], database: str, procedure: SoapProcedure, tmp_path: Path
) -> None:
    with reading(database, tmp_path / "var") as store:
        command = ("replay", "--state", "dead", "--confirm", str(COUNT), "--rate", f"{RATE}/s", *REASON)
        asking = nodes[0].start_cli(*command)
        (job,) = until(store.jobs.unfinished, "the job is written down")
        until(lambda: done_of(store, job.id) >= COUNT // 4, "some are done")
        first = runner(database)
        killed = next(node for node in nodes if str(pid(node)) == first.split(":")[1])
        killed.kill()
        left = COUNT - done_of(store, job.id)
        until(lambda: is_over(store, job.id), "the other one has done the rest", 120)
        asking.kill()
        asking.wait()
        (other,) = [node for node in nodes if node is not killed]
        until(lambda: len(procedure.ledger.taken()) == COUNT, "all are delivered", 120)

        assert left > 0
        assert results_of(store, job.id) == {"done": COUNT}
        deliveries = store.find_deliveries(Filter(), limit=1000)
        replaced = Counter(one.replay_of for one in deliveries if one.replay_of)
        assert (len(replaced), set(replaced.values())) == (COUNT, {1})
        assert other.running
        assert fastest(store, job.id, RATE + 2) >= timedelta(seconds=1)


def pid(node: Daemon) -> int:
    assert node.process is not None
    return node.process.pid


def runner(database: str) -> str:
    """Return which node runs the job: host, process, start."""
    with psycopg.connect(database.replace("+psycopg", "")) as connection:
        ((name,),) = connection.execute("SELECT runner FROM job").fetchall()
    assert name.split(":")[0] == os.uname().nodename
    return str(name)


def is_over(store: SqlStore, job: str) -> bool:
    found = store.jobs.find(job)
    return found is not None and found.state == "done"


def fastest(store: SqlStore, job: str, count: int) -> timedelta:
    """Return the shortest time in which so many items of a job were done, one after the other."""
    closed = sorted(
        event.at
        for one in store.find_deliveries(Filter(state="closed"), limit=1000)
        for event in store.events(one.id)
        if event.kind is EventKind.CLOSED and event.job_id == job
    )
    return min(end - begin for begin, end in zip(closed, closed[count:], strict=False))
