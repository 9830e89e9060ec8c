"""Backup beside a running hub, and the return of everything that it holds, on another machine."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hub.delivery import Delivery
from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from hub.store import backup, migrate
from hub.store.api import Filter
from hub.store.backup import back_up
from hub.store.sql import SqlStore
from tests.accounts import Sender, account, entries, missing
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen, soap
from tests.servers import fresh_database, program
from tests.servers import missing as missing_program
from tests.storing import NOW, SECOND, Place, acceptance, claim_one, loaded, rejection

LARGE = "a" * 1_200_000
PATIENCE = 120.0


@pytest.fixture
def procedures(tmp_path: Path) -> Iterator[list[SoapProcedure]]:
    made = [SoapProcedure(town, {}, Answers(), Ledger(tmp_path / f"{town}.jsonl")) for town in ("nordheim", "suedheim")]
    for one in made:
        one.start()
    yield made
    for one in made:
        one.stop()


def deployment(folder: Path, procedures: list[SoapProcedure]) -> Leinen:
    made = Leinen(folder, {one.name: soap(one.address, max_in_flight=2) for one in procedures})
    made.routes["inbound"]["online"]["max_body"] = "5MB"
    made.write()
    return made


def test_what_is_backed_up_under_load_arrives_after_its_return_on_another_machine(
    tmp_path: Path, procedures: list[SoapProcedure]
) -> None:
    nord, sued = procedures
    nord.answers.set([{"slow": "20ms"}])
    sued.answers.set([{"hang": "300s"}, "ok"])
    with Daemon(deployment(tmp_path / "old", procedures)) as hub:
        sender, south = Sender(hub), Sender(hub)
        south.hand_in(leinen(1, halter=LARGE))
        until(lambda: entries(sued), "one is being sent, and not answered")
        with sender.streaming(leinen):
            sender.hand_in(leinen(halter=LARGE))
            until(lambda: len(sender.receipts) >= 25, "25 receipts", PATIENCE)
            promised = sender.receipts
            done = hub.cli("backup", str(tmp_path / "saved"), "--json")
            wanted = len(sender.receipts) + 10
            until(lambda: len(sender.receipts) >= wanted, "the hub goes on", PATIENCE)
        hub.kill()

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["messages"] >= len(promised)
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        "hub.db", "payloads", "reference.key", "deployment", "MANIFEST.sha256",
    }  # fmt: skip
    assert (
        subprocess.run(["sha256sum", "--check", "--quiet", "MANIFEST.sha256"], cwd=tmp_path / "saved").returncode == 0
    )
    assert not list((tmp_path / "saved" / "deployment").rglob("secrets/*"))

    other = Daemon(deployment(tmp_path / "new", procedures))
    back = other.cli("restore", str(tmp_path / "saved"))
    assert back.returncode == 0, back.stderr
    with other:
        until(lambda: not open_ones(other), "nothing is open", PATIENCE)
        sender._receipts = {one.sha256: one for one in promised}  # what came later was not saved
        until(lambda: not missing(sender, nord), "everything that was promised by then has arrived", PATIENCE)
        assert account(other, sender, nord).keys() == {"delivered"}
        assert account(other, south, sued) == {"delivered": 1}
        (receipt,) = south.receipts
        (delivery,) = other.show(receipt.id)["deliveries"]
        assert ("deferred", "worker_lost") in [(one["kind"], one["reason"]) for one in delivery["events"]]
        assert other.cli("doctor").returncode == 0, other.cli("doctor").stdout
        assert "restore" in [one["action"] for one in audits(other)]


def open_ones(hub: Daemon) -> list[object]:
    return list(hub.messages("--state", "open"))


def audits(hub: Daemon) -> list[dict[str, str]]:
    with closing(sqlite3.connect(hub.state / "hub.db")) as connection:
        rows = connection.execute("SELECT action, actor FROM audit").fetchall()
    return [{"action": action, "actor": actor} for action, actor in rows]


def test_on_an_empty_machine_the_configuration_comes_back_too(tmp_path: Path) -> None:
    old = Leinen(tmp_path / "old", {"nordheim": folder_out("out")})
    old.file("hub.toml", 'state_dir = "state"\n')
    hub = Daemon(old)
    hub.state = old.folder / "state"
    with hub:
        given = hub.hand_in(leinen()).json()["id"]
        until(lambda: hub.status(given).json()["status"] == "delivered", "it is delivered")
        assert hub.cli("backup", str(tmp_path / "saved")).returncode == 0

    fresh = Daemon(old)
    fresh.deployment = Leinen.__new__(Leinen)
    fresh.deployment.folder = tmp_path / "fresh"
    done = fresh.cli("restore", str(tmp_path / "saved"))

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "fresh" / "state" / "hub.db").is_file()
    shutil.copytree(old.folder / "secrets", tmp_path / "fresh" / "secrets")
    (tmp_path / "fresh" / "out").mkdir()
    assert fresh.cli("check").returncode == 0
    assert fresh.cli("doctor").returncode == 0
    assert fresh.show(given)["status"] == "delivered"


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Daemon, Path]:
    """A hub that does not run, and a backup of its store."""
    hub = Daemon(Leinen(tmp_path / "old", {"nordheim": folder_out("out")}))
    hub.deployment.write()
    store = Place(f"sqlite:///{hub.state}/hub.db", hub.state).open()
    store.accept(acceptance("m-1", body=LARGE.encode()))
    store.close()
    folder = tmp_path / "saved"
    done = hub.cli("backup", str(folder))
    assert done.returncode == 0, done.stderr
    return hub, folder


@pytest.mark.parametrize("left", ["var/hub.db", "var/hub.db-wal", "var/reference.key", "var/payloads/ab/x-ab"])
def test_nothing_is_overwritten(saved: tuple[Daemon, Path], tmp_path: Path, left: str) -> None:
    _, folder = saved
    new = Daemon(Leinen(tmp_path / "new", {"nordheim": folder_out("out")}))
    new.deployment.write()
    new.deployment.file(left, "mine")

    done = new.cli("restore", str(folder))

    assert done.returncode == 1
    assert f"{Path(left).name} is there already" in done.stderr
    assert [path.read_text("utf-8") for path in new.state.rglob("*") if path.is_file()] == ["mine"]


@pytest.mark.parametrize("harm", ["altered", "missing"])
@pytest.mark.parametrize("what", ["hub.db", "reference.key", "payloads"])
def test_a_backup_that_is_not_whole_is_refused_before_anything_is_written(
    saved: tuple[Daemon, Path], tmp_path: Path, what: str, harm: str
) -> None:
    _, folder = saved
    file = next((folder / what).rglob("*-*")) if what == "payloads" else folder / what
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "altered":
        file.write_bytes(content)
    else:
        file.unlink()
    new = Daemon(Leinen(tmp_path / "new", {"nordheim": folder_out("out")}))
    new.deployment.write()

    done = new.cli("restore", str(folder))

    assert (done.returncode, file.name in done.stderr) == (1, True)
    assert not new.state.exists()


def test_a_payload_that_is_damaged_in_the_store_is_named_and_the_rest_is_saved(
    saved: tuple[Daemon, Path], tmp_path: Path
) -> None:
    hub, _ = saved
    (file,) = (hub.state / "payloads").glob("*/*")
    file.write_bytes(b"b" + file.read_bytes()[1:])

    done = hub.cli("backup", str(tmp_path / "again"), "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout)["damaged"] == [file.name]
    assert (tmp_path / "again" / "MANIFEST.sha256").is_file()


def test_a_folder_that_is_there_a_store_that_is_not_and_a_daemon_that_runs(saved: tuple[Daemon, Path]) -> None:
    hub, folder = saved
    assert hub.cli("backup", str(folder)).returncode == 1
    assert hub.cli("restore", str(folder.parent)).returncode == 69  # no backup
    shutil.rmtree(hub.state)
    assert hub.cli("backup", str(folder.parent / "another")).returncode == 69
    assert not (folder.parent / "another").exists()


def test_a_file_that_is_erased_while_the_tables_are_copied_is_no_damage(
    sqlite_place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = sqlite_place.open()
    store.reject(rejection(body=LARGE.encode()))
    store.accept(acceptance("m-1", body=LARGE.encode()))
    copies: list[int] = []
    copy = backup._copy_tables  # what happens just after it cannot be brought about otherwise

    def copy_then_erase(path: Path, target: Path) -> None:
        copy(path, target)
        copies.append(store.erase_rejected("online-services", before=NOW + SECOND, up_to=0))

    monkeypatch.setattr(backup, "_copy_tables", copy_then_erase)

    saved = back_up(sqlite_place.url, sqlite_place.state_dir, tmp_path / "saved", {})

    assert (copies, saved.damaged) == ([1, 0], ())
    assert len(list((tmp_path / "saved" / "payloads").glob("*/*"))) == 1
    store.close()


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return Place(f"sqlite:///{tmp_path}/var/hub.db", tmp_path / "var")


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def test_a_dump_of_postgresql_holds_everything(tmp_path: Path) -> None:
    """The manual's two commands; nothing is beside the database, neither key nor payload file."""
    dump, load = program("pg_dump"), program("pg_restore")
    if dump is None or load is None:
        missing_program("pg_dump and pg_restore are not installed")
    with fresh_database() as old, fresh_database() as new:
        migrate(old)
        store = Place(old, tmp_path).open()
        store.accept(acceptance("m-1", body=LARGE.encode()))
        store.accept(acceptance("m-2"))
        sending = claim_one(store)
        saved = str(tmp_path / "hub.dump")
        subprocess.run([dump, "--format=custom", f"--file={saved}", plain(old)], check=True, timeout=60)
        store.close()
        subprocess.run([load, "--no-owner", "--exit-on-error", f"--dbname={plain(new)}", saved], check=True, timeout=60)

        restored = Place(new, tmp_path).open()
        assert restored.counts() == {("wolfsburg/gewerbe", "sending"): 1, ("wolfsburg/gewerbe", "waiting"): 1}
        assert [one.id for one in restored.lost(None)] == [sending.id]
        assert restored.accept(acceptance("m-2")).duplicate
        assert sorted(len(loaded(restored, one)[1].body) for one in all_deliveries(restored)) == [9, len(LARGE)]
        restored.check()
        restored.close()


def all_deliveries(store: SqlStore) -> Sequence[Delivery]:
    return store.find_deliveries(Filter())


def plain(url: str) -> str:
    return url.replace("+psycopg", "")


def test_backup_of_postgresql_says_what_to_use_instead(tmp_path: Path) -> None:
    with fresh_database() as url:
        migrate(url)
        hub = Daemon(Leinen(tmp_path, {"nordheim": folder_out("out")}), XOEV_HUB_STORE=url)
        hub.deployment.write()

        done = hub.cli("backup", str(tmp_path / "saved"))

        assert (done.returncode, "pg_dump" in done.stderr) == (1, True)
