"""A new program on the tables of each released one, with a full queue: all goes on. And one version back.

``tests/upgrades/NNNN.sql`` was written by the program of that version, killed with something in each state. A new schema
adds its file here when it is released; none is ever changed.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import migrate, migrating
from hub.store.tables import SCHEMA
from tests.accounts import entries
from tests.daemon import ROOT, Daemon, until
from tests.leinen import Leinen, leinen, soap
from tests.servers import fresh_database

RELEASED = sorted((ROOT / "tests" / "upgrades").glob("*.sql"))
ARRIVE = [3, 6, 7, 8, 9, 11, 12]  # what waited, was being sent, or stands in the job that was not done
PATIENCE = 120.0


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("nordheim", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, procedure: SoapProcedure) -> Iterator[Daemon]:
    """A daemon that does not run yet, over a store that is not there yet."""
    deployment = Leinen(tmp_path / "hub", {"nordheim": soap(procedure.address)})
    deployment.write()
    if request.param == "sqlite":
        yield (made := Daemon(deployment))
    else:
        with fresh_database() as url:
            yield (made := Daemon(deployment, XOEV_HUB_STORE=url))
    if made.running:
        made.kill()


def url_of(hub: Daemon) -> str:
    return hub.environment.get("XOEV_HUB_STORE", f"sqlite:///{hub.state}/hub.db")


def bring(dump: Path, hub: Daemon) -> None:
    """Put the tables of an old program where the hub looks for its store."""
    hub.state.mkdir(mode=0o700)
    text = dump.read_text("utf-8")
    found = re.search(r"^-- reference.key: ([0-9a-f]{64})$", text, re.MULTILINE)
    assert found is not None
    file = hub.state / "hub.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(text)
    (hub.state / "reference.key").write_text(found[1], encoding="ascii")
    if url_of(hub).startswith("postgresql"):
        copy(sa.create_engine(f"sqlite:///{file}"), sa.create_engine(url_of(hub)), dump.stem, found[1])
        file.unlink()


def copy(source: sa.Engine, target: sa.Engine, version: str, key: str) -> None:
    """Make the tables of that version on PostgreSQL, and fill them with the same rows."""
    with target.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(migrating.FOLDER))
        command.upgrade(config, version)
    tables = sa.MetaData()
    tables.reflect(target)
    with source.connect() as reading, target.begin() as writing:
        for table in tables.sorted_tables:
            same = sa.table(table.name, *(sa.column(column.name) for column in table.columns))
            rows = [fitting(table, dict(row)) for row in reading.execute(sa.select(same)).mappings()]
            if table.name != "alembic_version" and rows:
                writing.execute(sa.insert(table), rows)
        writing.execute(sa.insert(tables.tables["setting"]), [{"name": "reference_key", "value": key}])
        for name in ("message", "delivery", "reference", "control", "job", "audit"):
            number = "id" if name == "control" else "seq"
            newest = sa.select(sa.func.max(tables.tables[name].c[number])).scalar_subquery()
            writing.execute(sa.select(sa.func.setval(sa.func.pg_get_serial_sequence(name, number), newest)))
    source.dispose()
    target.dispose()


def fitting(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """SQLite knows no booleans."""
    return {name: bool(value) if isinstance(table.c[name].type, sa.Boolean) else value for name, value in row.items()}


def start(hub: Daemon) -> None:
    if url_of(hub).startswith("postgresql"):
        assert hub.cli("store", "migrate").returncode == 0
    hub.start()


def open_states(hub: Daemon) -> set[str]:
    """Ask the database, which is quicker than the command line."""
    engine = sa.create_engine(url_of(hub))
    with engine.connect() as connection:
        found = set(connection.exec_driver_sql("SELECT DISTINCT state FROM delivery").scalars())
    engine.dispose()
    return found & {"waiting", "sending"}


def states(listed: list[dict[str, Any]]) -> dict[int, str]:
    """Return the states of those of the old program by their documents' numbers: these were handed in in this order."""
    accepted = [one for one in listed if one["status"] != "rejected"]
    return {number: one["deliveries"][0]["state"] for number, one in enumerate(reversed(accepted), 1)}


def given(procedure: SoapProcedure) -> list[int]:
    """Return the numbers of the documents that the procedure was given, in order."""
    digests = {digest(number): number for number in range(1, 13)}
    return [digests[entry["sha256"]] for entry in entries(procedure) if entry["sha256"] in digests]


def digest(number: int) -> str:
    body = leinen(id_=f"00000000-0000-4000-8000-{number:012}", name=f"Hund {number}")
    return hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("dump", RELEASED, ids=[one.stem for one in RELEASED])
def test_a_full_queue_of_a_released_program_goes_on(hub: Daemon, procedure: SoapProcedure, dump: Path) -> None:
    bring(dump, hub)

    start(hub)
    until(lambda: sorted(given(procedure)) == ARRIVE, "all that was open has arrived, each once", PATIENCE)
    until(lambda: open_states(hub) == {"waiting"}, "and the hub knows it", PATIENCE)

    order = given(procedure)
    assert order.index(11) < order.index(12)
    listed = hub.messages()
    assert states(listed) == dict.fromkeys(ARRIVE, "delivered") | {
        1: "delivered", 2: "taken", 4: "dead", 5: "closed", 10: "waiting",
    }  # fmt: skip
    assert [one["code"] for one in listed if one["status"] == "rejected"] == ["schema_violation"]
    (first,) = hub.messages("--reference", "63-1")
    assert first["deliveries"][0]["values"] == {"aktenzeichen": "63-1"}
    again = hub.hand_in(leinen(id_="00000000-0000-4000-8000-000000000001", name="Hund 1"))
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert hub.hand_in(leinen()).status_code == 202
    assert "nordheim/andere" in hub.cli("doctor").stdout


def test_every_schema_before_this_one_has_its_full_queue_here() -> None:
    assert [one.stem for one in RELEASED] == [f"{number:04}" for number in range(1, int(SCHEMA))]


def test_a_program_works_on_tables_that_are_one_version_newer(hub: Daemon, procedure: SoapProcedure) -> None:
    """Nodes are updated one after the other: the tables first."""
    bring(RELEASED[-1], hub)
    engine = sa.create_engine(url_of(hub))
    if url_of(hub).startswith("postgresql"):
        migrate(url_of(hub))
    else:
        with engine.begin() as connection:
            migrating.upgrade(connection)
    newer = f"{int(SCHEMA) + 1:04}"
    with engine.begin() as connection:
        for table in ("message", "delivery", "event", "payload", "reference", "job", "job_item", "control", "setting"):
            connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN of_the_next_version TEXT")
        connection.exec_driver_sql("CREATE TABLE of_the_next_version (id TEXT)")
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{newer}'")
        connection.exec_driver_sql(
            "INSERT INTO event (delivery_id, revision, kind, at, reason, phase, code, actor)"
            " SELECT id, revision + 1, 'of_the_next_version', due_at, '', 'none', '', 'hub' FROM delivery"
            " WHERE state = 'closed'"
        )
    engine.dispose()

    hub.start()
    until(lambda: sorted(given(procedure)) == ARRIVE, "all that was open has arrived, each once", PATIENCE)

    assert hub.hand_in(leinen()).status_code == 202
    (closed,) = hub.messages("--reference", "ref-5")
    assert closed["deliveries"][0]["state"] == "closed"
    kinds = [one["kind"] for one in hub.show(closed["id"])["deliveries"][0]["events"]]
    assert kinds == ["claimed", "died", "closed"]
    with sa.create_engine(url_of(hub)).connect() as connection:
        assert migrating.version_of(connection) == newer
