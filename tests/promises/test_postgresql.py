"""Daemons on PostgreSQL, as their operators run them: two roles, several nodes, kill -9, a server that crashes.

The server is the tests' own. Roles, rights and hub.toml are those of examples/postgresql, word for word.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.delivery import Event, EventKind
from hub.job import ItemResult, Job, Steering
from hub.message import new_id
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store.api import Audit, Change, Control, Filter, Payload, PayloadRole, Reference, Settlement
from hub.store.rights import RIGHTS
from tests import storing
from tests.accounts import Sender, account, entries, missing
from tests.daemon import ROOT, Daemon, until
from tests.leinen import Leinen, leinen, soap
from tests.postgres import Server
from tests.servers import program

EXAMPLE = ROOT / "examples" / "postgresql"
LEASE_SECONDS = 120.0  # a lease of 30 s and what a busy machine needs
names = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with the roles of the example, and its database as template of those that the tests use."""
    with Server() as running:
        psql(running, "roles.sql")
        yield running


@pytest.fixture(scope="module")
def migrated(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server after ``store migrate`` by the owner and the owner's grants."""
    hub = node(tmp_path_factory.mktemp("owner"), server, {}, user="hub_owner", database="hub")
    done = hub.cli("store", "migrate")
    assert done.returncode == 0, done.stderr
    psql(server, "rights.sql", user="hub_owner", database="hub")
    return server


@pytest.fixture
def database(migrated: Server) -> str:
    """The name of a database of the test's own, as the owner has left it."""
    name = f"hub_{next(names)}"
    execute(migrated, f"CREATE DATABASE {name} TEMPLATE hub OWNER hub_owner")
    execute(migrated, f"GRANT CONNECT ON DATABASE {name} TO hub")
    return name


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("nordheim", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


def psql(server: Server, file: str, user: str = "postgres", database: str = "postgres") -> None:
    """Run a file of the example as its first line says."""
    command = [program("psql") or "psql", "-h", "127.0.0.1", "-p", str(server.port), "-U", user, "-d", database]
    done = subprocess.run(
        [*command, "-v", "ON_ERROR_STOP=1", "-f", str(EXAMPLE / file)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def execute(
    server: Server, statement: str, user: str = "postgres", database: str = "postgres"
) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url(database, user).replace("+psycopg", ""), autocommit=True) as connection:
        done = connection.execute(statement)
        return done.fetchall() if done.description else []


def node(
    folder: Path, server: Server, procedures: dict[str, dict[str, Any]], *, database: str, user: str = "hub"
) -> Daemon:
    """Return a daemon on a database, with the example's hub.toml, but for where the server is."""
    deployment = Leinen(folder, procedures)
    text = (EXAMPLE / "hub.toml").read_text("utf-8")
    text = re.sub(r"(?m)^store = .*$", f'store = "{server.url(database, user)}"', text)
    deployment.file("hub.toml", re.sub(r'(?m)^state_dir = "[^"]*"', 'state_dir = "var"', text))
    deployment.write()
    return Daemon(deployment)


# --- two roles ----------------------------------------------------------------------------------------------------


def test_the_example_grants_what_the_program_needs_and_no_more() -> None:
    granted: dict[str, set[str]] = {}
    for rights, tables in re.findall(r"GRANT (.*) ON (.*) TO hub;", (EXAMPLE / "rights.sql").read_text("utf-8")):
        granted |= {table: set(rights.split(", ")) for table in tables.split(", ")}

    assert granted == {table: set(rights) for table, rights in RIGHTS.items()}


def test_the_manual_shows_the_example_word_for_word() -> None:
    manual = (ROOT / "docs" / "operating.md").read_text("utf-8")

    for name in ("roles.sql", "rights.sql", "hub.toml"):
        assert (EXAMPLE / name).read_text("utf-8").strip() in manual, name


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (n INTEGER)", "ALTER TABLE delivery ADD COLUMN n INTEGER", "DROP TABLE job",
        "TRUNCATE setting", "CREATE INDEX mine ON delivery (state)", "UPDATE event SET kind = 'delivered'",
        "DELETE FROM audit", "UPDATE audit SET actor = 'x'", "UPDATE payload SET bytes = NULL",
        "UPDATE alembic_version SET version_num = '0009'", "ALTER TABLE event DISABLE TRIGGER ALL",
    ],
)  # fmt: skip
def test_the_daemons_role_may_neither_change_tables_nor_what_is_recorded(migrated: Server, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(migrated, statement, user="hub", database="hub")


def test_everything_that_the_program_writes_is_within_the_daemons_rights(
    migrated: Server, database: str, tmp_path: Path
) -> None:
    store = storing.Place(migrated.url(database, "hub"), tmp_path).open()
    receipt = store.accept(storing.acceptance("m-1", dead="refused", references=(Reference("key:az", "A-1"),)))
    store.accept(storing.acceptance("m-2"))
    store.reject(storing.rejection(references=(Reference("key:az", "A-2"),)))
    claimed = storing.claim_one(store)
    (dead,) = store.find_deliveries(Filter(state="dead"))
    job = store.jobs.add(Job(new_id(), "resend", "lea", "behoben", storing.NOW), [dead.id])
    assert store.jobs.take(job.id, "node-1", storing.LEASE)
    store.hold(Control(storing.GEWERBE, "paused", "Wartung", storing.NOW, "lea"))
    store.audit(Audit(storing.NOW, "lea", "cli", "pause", storing.GEWERBE, "Wartung"))
    store.keep_snapshot("snap-1", {"routes.yaml": b"version: 1"}, {}, storing.NOW)

    assert store.renew("node-1", now=storing.NOW, lease=storing.LEASE, only=[claimed.id]) == 1
    reply = Payload(new_id(), PayloadRole.REPLY, b"<ok/>", delivery_id=claimed.id)
    delivered = Settlement(claimed, Event(EventKind.DELIVERED, storing.NOW), (reply,), (Reference("receipt", "77"),))
    store.apply(Change((delivered,), message_id=claimed.message_id))
    store.apply(
        Change((Settlement(dead, Event(EventKind.RESENT, storing.NOW)),), item=ItemResult(job.id, dead.id, "done"))
    )
    assert store.jobs.steer(Steering(job.id, "done", "hub", "", storing.NOW))
    assert store.release(storing.GEWERBE, by="lea", now=storing.NOW)
    assert store.erase_rejected("online-services", before=storing.NOW + storing.SECOND, up_to=0) == 1
    assert store.find(Filter(reference="A-1"))[0][0].id == receipt.message_id
    ids, _ = store.settled("online-services", before=storing.NOW + storing.SECOND)
    assert store.erase_settled(ids) == 1
    assert store.take_turn("retention", storing.SECOND, lambda still: still())
    assert len(store.announce("snap-1", {storing.GEWERBE})) == 1
    assert store.snapshot("snap-1")
    store.check()
    store.close()


def test_a_daemon_on_tables_that_are_not_there_says_what_to_do(migrated: Server, tmp_path: Path) -> None:
    execute(migrated, "CREATE DATABASE empty OWNER hub_owner")
    daemon = node(tmp_path, migrated, {}, database="empty")

    assert daemon.spawn().wait(90) == 69
    assert "run `xoev-hub store migrate`" in daemon.log.read_text("utf-8")
    done = daemon.cli("store", "migrate")  # with the daemon's role
    assert (done.returncode, "migrate as their owner" in done.stderr) == (1, True)
    assert "next: xoev-hub store migrate, as the owner of the tables" in daemon.cli("doctor").stdout


def test_a_daemon_on_tables_that_are_too_new_says_what_to_do(migrated: Server, database: str, tmp_path: Path) -> None:
    execute(migrated, "UPDATE alembic_version SET version_num = '0009'", "hub_owner", database)
    daemon = node(tmp_path, migrated, {}, database=database)

    assert daemon.spawn().wait(90) == 69
    assert "of version 0009" in (said := daemon.log.read_text("utf-8"))
    assert "update it" in said


@pytest.mark.parametrize(("taken", "named"), [("ALL", "SELECT on"), ("UPDATE", "UPDATE on delivery")])
def test_a_daemon_whose_role_lacks_a_right_names_it(
    migrated: Server, database: str, tmp_path: Path, taken: str, named: str
) -> None:
    execute(migrated, f"REVOKE {taken} ON delivery FROM hub", "hub_owner", database)
    daemon = node(tmp_path, migrated, {}, database=database)

    assert daemon.spawn().wait(90) == 69
    assert named in (said := daemon.log.read_text("utf-8"))
    assert "rights.sql" in said


# --- the whole way ------------------------------------------------------------------------------------------------


def test_what_has_a_receipt_arrives_also_after_kill_9(
    migrated: Server, database: str, tmp_path: Path, procedure: SoapProcedure
) -> None:
    procedure.answers.set([{"slow": "10ms"}])
    with node(tmp_path / "hub", migrated, {"nordheim": soap(procedure.address)}, database=database) as hub:
        sender = Sender(hub)
        for _ in range(2):
            with sender.streaming(leinen):
                wanted = len(sender.receipts) + 25
                until(lambda: len(sender.receipts) >= wanted, "25 receipts")  # noqa: B023
                hub.kill()
            hub.start()
            sender.hand_in_again()

        until(lambda: not missing(sender, procedure), "everything has arrived", LEASE_SECONDS)
        until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it", LEASE_SECONDS)
        assert not sender.refused
        shown = hub.show(sender.receipts[0].id)
        assert shown["status"] == "delivered"


def test_operators_act_beside_a_daemon(
    migrated: Server, database: str, tmp_path: Path, procedure: SoapProcedure
) -> None:
    """Reject, pause, resume, replay, read: each statement that the daemon's role needs."""
    with node(tmp_path / "hub", migrated, {"nordheim": soap(procedure.address)}, database=database) as hub:
        refused = hub.hand_in(leinen(alter="alt")).json()["id"]
        procedure.answers.set([{"code": "17"}, "ok"])
        dead = hub.hand_in(leinen()).json()["id"]
        until(lambda: hub.status(dead).json()["status"] == "attention", "it is refused by the procedure")

        assert hub.cli("pause", "nordheim/leinen", "--reason", "Wartung").returncode == 0
        assert hub.cli("replay", dead, "--reason", "behoben").returncode == 0
        assert hub.cli("resume", "nordheim/leinen", "--reason", "Wartung beendet").returncode == 0
        until(lambda: hub.status(dead).json()["status"] in ("delivered", "closed"), "it has arrived")
        assert hub.cli("messages", "show", dead, "--payload", "received", "--reason", "Ticket 4711").returncode == 0
        assert hub.show(refused)["status"] == "rejected"
        assert hub.cli("reload").returncode == 0
        assert "error" not in {line["level"] for line in log_lines(hub)}


def log_lines(hub: Daemon) -> list[dict[str, Any]]:
    return [json.loads(line) for line in hub.log.read_text("utf-8").splitlines() if line.startswith("{")]


# --- several nodes ------------------------------------------------------------------------------------------------


@pytest.fixture
def two(migrated: Server, database: str, tmp_path: Path, procedure: SoapProcedure) -> Iterator[list[Daemon]]:
    """Two daemons on one database, which deliver to one procedure."""
    settings = {"nordheim": soap(procedure.address, max_in_flight=2)}
    first = node(tmp_path / "a", migrated, settings, database=database)
    with first, node(tmp_path / "b", migrated, settings, database=database) as second:
        yield [first, second]


def attempts(hub: Daemon) -> float:
    found = re.findall(r"^xoev_hub_attempt_seconds_count\{[^}]*\} ([0-9.e+]+)$", hub.asked("/metrics"), re.MULTILINE)
    return sum(map(float, found))


def test_two_nodes_share_one_destination_and_each_delivery_goes_out_once(
    two: list[Daemon], procedure: SoapProcedure
) -> None:
    first, second = two
    procedure.answers.set([{"slow": "40ms"}])
    sender, other = Sender(first), Sender(second)

    with sender.streaming(leinen):
        until(lambda: attempts(second) > 5, "the second node delivers what only the first was given", LEASE_SECONDS)
    for _ in range(10):
        other.hand_in(leinen())
    until(lambda: not missing(sender, procedure) | missing(other, procedure), "everything has arrived", LEASE_SECONDS)

    given = [entry["delivery"] for entry in entries(procedure)]
    assert len(given) == len(set(given)) == len(sender.receipts) + len(other.receipts)
    assert attempts(first) > 0
    until(lambda: account(first, sender, procedure).keys() == {"delivered"}, "both know it", LEASE_SECONDS)


def test_what_a_killed_node_was_sending_is_taken_over_by_the_other_once(
    two: list[Daemon], procedure: SoapProcedure, migrated: Server, database: str
) -> None:
    procedure.answers.set([{"hang": "300s"}, "ok"])
    sender = Sender(two[0])
    sender.hand_in(leinen())
    until(lambda: entries(procedure), "the procedure has it, and does not answer")
    ((owner,),) = execute(migrated, "SELECT lease_owner FROM delivery WHERE state = 'sending'", database=database)
    pids = {str(hub.process.pid): hub for hub in two if hub.process}
    killed = pids.pop(owner.split(":")[1])
    (survivor,) = pids.values()

    killed.kill()
    until(lambda: not missing(sender, procedure), "the other has taken over", LEASE_SECONDS)

    (receipt,) = sender.receipts
    until(lambda: survivor.show(receipt.id)["status"] == "delivered", "and knows it")
    (delivery,) = survivor.show(receipt.id)["deliveries"]
    told = [(event["kind"], event["reason"]) for event in delivery["events"]]
    assert told == [("claimed", None), ("deferred", "worker_lost"), ("claimed", None), ("delivered", None)]
    assert [(entry["answer"], entry["delivery"]) for entry in entries(procedure)] == [
        ("hang", delivery["id"]), ("ok", delivery["id"]),
    ]  # fmt: skip
    killed.start()
    assert killed.hand_in(leinen()).status_code == 202


# --- the server is away -------------------------------------------------------------------------------------------


def test_while_the_server_is_away_nothing_is_promised_and_afterwards_all_goes_on(
    migrated: Server, database: str, tmp_path: Path, procedure: SoapProcedure
) -> None:
    procedure.answers.set([{"slow": "20ms"}])
    with node(tmp_path / "hub", migrated, {"nordheim": soap(procedure.address)}, database=database) as hub:
        sender, process = Sender(hub), hub.process
        with sender.streaming(leinen):
            until(lambda: len(sender.receipts) >= 20, "20 receipts")
            migrated.crash()
            until(lambda: hub.hand_in(leinen()).status_code == 503, "senders are told to come again")
            until(lambda: not hub.ready(), "the hub says that it is not ready")
            assert hub.asked("/livez") == "ok\n"
            refused = hub.hand_in(leinen())
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["Retry-After"]
            migrated.start()
            until(hub.ready, "it is ready again, by itself", LEASE_SECONDS)
            wanted = len(sender.receipts) + 10
            until(lambda: len(sender.receipts) >= wanted, "new receipts", LEASE_SECONDS)

        sender.hand_in_again()
        until(lambda: not missing(sender, procedure), "everything has arrived", LEASE_SECONDS)
        until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it", LEASE_SECONDS)
        assert not sender.refused
        assert hub.process is process
        assert hub.running
        until(lambda: locks(migrated, database) == 1, "it has its lock again")


def locks(server: Server, database: str) -> int:
    statement = (
        "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
        f" WHERE locktype = 'advisory' AND granted AND datname = '{database}'"
    )
    ((count,),) = execute(server, statement)
    return int(count)
