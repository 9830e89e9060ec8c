"""What only SQLite has to promise: one daemon per file, files beside the rows, a disk that is full or fails."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.delivery import EventKind, State
from hub.errors import StoreBusy, StoreError, Unavailable
from hub.message import new_id
from hub.store import open_store
from hub.store.api import Audit, Filter, Payload, PayloadRole
from hub.store.tables import SCHEMA
from hub.store.writer import Verb
from tests.storing import GEWERBE, NOW, SECOND, Place, acceptance, claim_one, loaded, rejection, settle


def noise(size: int) -> bytes:
    """Return bytes that no compression makes smaller."""
    return random.Random(size).randbytes(size)


# --- whose store it is


def test_a_second_daemon_is_refused_at_once_also_through_a_symbolic_link(sqlite_place: Place, tmp_path: Path):
    first = sqlite_place.open()
    link = tmp_path / "link"
    link.symlink_to(sqlite_place.state_dir)
    (tmp_path / "hub.db").symlink_to(sqlite_place.state_dir / "hub.db")

    for url in (sqlite_place.url, f"sqlite:///{link}/hub.db", f"sqlite:///{tmp_path}/hub.db"):
        with pytest.raises(StoreBusy, match="another daemon has the store"):
            replace(sqlite_place, url=url).open()

    first.accept(acceptance())
    first.close()
    sqlite_place.open().close()


def test_a_killed_daemon_frees_the_store_and_what_it_was_sending_is_found(sqlite_place: Place):
    daemon = subprocess.Popen(
        [sys.executable, "-c", _DAEMON, sqlite_place.url, str(sqlite_place.state_dir)],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    message_id = daemon.stdout.readline().strip()
    with pytest.raises(StoreBusy):
        sqlite_place.open()
    daemon.send_signal(signal.SIGKILL)
    daemon.wait()
    daemon.stdout.close()

    store = sqlite_place.open()
    (lost,) = store.lost(None)

    assert (lost.message_id, lost.state, lost.attempts) == (message_id, State.SENDING, 1)
    assert settle(store, lost, EventKind.DEFERRED, reason="worker_lost").state is State.WAITING
    store.close()


_DAEMON = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from tests.storing import Place, acceptance, claim_one
    store = Place(sys.argv[1], Path(sys.argv[2])).open()
    receipt = store.accept(acceptance())
    claim_one(store)
    print(receipt.message_id, flush=True)
    time.sleep(60)
""")


def test_the_command_line_creates_nothing_and_says_where_it_looked(sqlite_place: Place):
    with pytest.raises(Unavailable, match=str(sqlite_place.state_dir / "hub.db")):
        sqlite_place.open("cli")
    assert not sqlite_place.state_dir.exists()


def test_the_command_line_works_beside_a_daemon_and_takes_the_lock_only_without_one(sqlite_place: Place):
    daemon = sqlite_place.open()
    daemon.accept(acceptance())
    line = sqlite_place.open("cli")
    line.audit(Audit(NOW, "lea", "cli", "list", "-"))

    assert len(line.find(Filter())[0]) == len(daemon.audits()) == 1
    assert not line.try_lock()
    daemon.close()
    assert line.try_lock()
    with pytest.raises(StoreBusy):
        sqlite_place.open()
    line.close()
    sqlite_place.open().close()


def test_nobody_else_on_the_machine_can_read_it(sqlite_place: Place):
    old = os.umask(0)
    try:
        store = sqlite_place.open()
        store.accept(acceptance(body=noise(1_500_000)))
    finally:
        os.umask(old)

    for path in (sqlite_place.state_dir, *sqlite_place.state_dir.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    store.close()


def test_what_is_kept_in_memory_is_no_store(tmp_path: Path):
    for url in ("sqlite://", "sqlite:///:memory:", "mysql://127.0.0.1/hub", "var/hub.db"):
        with pytest.raises(StoreError):
            open_store(url, state_dir=tmp_path / "var", mode="daemon")


def test_what_is_no_database_is_unavailable_and_the_text_says_where(sqlite_place: Place, tmp_path: Path):
    sqlite_place.open().close()
    (sqlite_place.state_dir / "hub.db").write_bytes(b"<antrag/>" * 1000)
    (tmp_path / "file").touch()

    for place in (sqlite_place, replace(sqlite_place, url=f"sqlite:///{tmp_path}/file/hub.db")):
        with pytest.raises(Unavailable, match=str(tmp_path)):
            place.open()


def test_a_database_of_a_newer_program_is_refused(sqlite_place: Place):
    sqlite_place.open().close()
    _execute(sqlite_place, "UPDATE alembic_version SET version_num = '0009'")

    with pytest.raises(StoreError, match="update it"):
        sqlite_place.open()
    _execute(sqlite_place, f"UPDATE alembic_version SET version_num = '{SCHEMA}'")
    sqlite_place.open().close()


# --- files beside the rows


def test_large_payloads_are_files_that_only_their_message_keeps(sqlite_place: Place):
    body = noise(1_500_000)
    given = acceptance("m-1", body=body)
    store = sqlite_place.open()
    store.accept(given)
    store.accept(acceptance("m-1", body=body))  # a repetition leaves nothing behind
    with pytest.raises(StoreError):
        store.accept(acceptance("m-1", body=body + b"x"))

    assert [path.name for path in _files(sqlite_place)] == [given.payloads[0].id]
    assert loaded(store, claim_one(store))[1].body == body
    store.close()


def test_a_payload_file_and_its_folders_are_synced_before_the_commit_that_names_it(
    sqlite_place: Place, monkeypatch: pytest.MonkeyPatch
):
    said: list[tuple[str, int]] = []
    sync = os.fsync

    def fsync(fd: int) -> None:
        sync(fd)
        said.append((os.readlink(f"/proc/self/fd/{fd}"), os.fstat(fd).st_size))

    given = acceptance(body=noise(3_000_000))
    (name,) = (payload.id for payload in given.payloads)
    root = sqlite_place.state_dir / "payloads"
    with contextlib.closing(sqlite_place.open()) as store:
        sa.event.listen(store._foundation.writing, "commit", lambda _: said.append(("commit", 0)))
        # Seen is not synced: the process that made it may have been killed before it could.
        (root / name[-2:]).mkdir(mode=0o700)
        monkeypatch.setattr(os, "fsync", fsync)
        store.accept(given)
        monkeypatch.undo()

    before = said[: said.index(("commit", 0))]
    synced = [path for path, _ in before]
    assert (str(root / name[-2:] / name), 3_000_000) in before, "the whole file"
    assert synced.index(str(root / name[-2:])) > synced.index(str(root / name[-2:] / name)), "then its name"
    assert str(root) in synced, "and the folder's"


def test_a_disk_that_fills_up_at_the_second_file_keeps_neither(sqlite_place: Place, monkeypatch: pytest.MonkeyPatch):
    first = acceptance(body=noise(3_000_000))
    second = Payload(new_id(), PayloadRole.OUTGOING, noise(6_000_000))
    with contextlib.closing(sqlite_place.open()) as store:
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, usual[1]))
        try:
            with pytest.raises(Unavailable):
                store.accept(replace(first, payloads=(*first.payloads, second)))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        left = list(_files(sqlite_place))
        store.accept(first)

    assert left == [], "what is left would keep the disk full until the next start"
    assert [path.name for path in _files(sqlite_place)] == [first.payloads[0].id]


def test_a_retry_after_an_uncertain_commit_does_not_harm_the_file_of_the_first(sqlite_place: Place):
    given = acceptance("m-1", body=noise(1_500_000))
    store = sqlite_place.open()
    store.accept(given)

    assert store.accept(given).duplicate
    with pytest.raises(StoreError):
        store.accept(replace(given, payloads=(replace(given.payloads[0], body=noise(1_600_000)),)))
    assert loaded(store, claim_one(store))[1] == given.payloads[0]
    store.close()


def test_a_file_whose_transaction_never_happened_is_swept_at_the_next_start(sqlite_place: Place):
    given = acceptance(body=noise(1_500_000))
    store = sqlite_place.open()
    store.accept(given)
    store.close()
    orphan = next(_files(sqlite_place)).with_name("01900000-0000-7000-8000-000000000000")
    orphan.write_bytes(b"half")

    again = sqlite_place.open()

    assert [path.name for path in _files(sqlite_place)] == [given.payloads[0].id]
    again.close()


def test_a_file_that_is_gone_is_an_error_that_names_the_payload(sqlite_place: Place):
    given = acceptance(body=noise(1_500_000))
    store = sqlite_place.open()
    store.accept(given)
    next(_files(sqlite_place)).unlink()

    with pytest.raises(StoreError, match=given.payloads[0].id):
        loaded(store, claim_one(store))
    store.close()


def test_what_was_erased_is_in_no_file(sqlite_place: Place):
    marker = b"Erika-Musterfrau-Geheim"
    store = sqlite_place.open()
    store.reject(rejection(body=marker))
    store.erase_rejected("online-services", before=NOW + SECOND, up_to=0)
    store.close()

    assert not [path for path in sqlite_place.state_dir.iterdir() if path.is_file() and marker in path.read_bytes()]


# --- a disk that is full, and one that fails


def test_a_full_disk_refuses_and_takes_again_when_there_is_room(sqlite_place: Place):
    store = sqlite_place.open()
    store.accept(acceptance("m-1"))
    _limit_pages(sqlite_place, store, full=True)

    with pytest.raises(Unavailable):
        for number in range(50):
            store.accept(acceptance(f"full-{number}", body=noise(500_000)))
    stored = sum(store.counts().values())
    _limit_pages(sqlite_place, store, full=False)

    assert not store.accept(acceptance("m-2")).duplicate
    assert sum(store.counts().values()) == stored + 1
    store.close()


def test_after_an_error_of_the_disk_nothing_is_written_any_more(sqlite_place: Place):
    store = sqlite_place.open()
    store.accept(acceptance("m-1"))
    size = (sqlite_place.state_dir / "hub.db-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
        with pytest.raises(Unavailable):
            store.accept(acceptance("m-2", body=noise(500_000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    with pytest.raises(Unavailable):
        store.accept(acceptance("m-3"))
    with pytest.raises(Unavailable):
        store.check()
    assert store.failed.startswith("SQLITE_IOERR")
    store.close()

    again = sqlite_place.open()
    assert again.counts() == {(GEWERBE, "waiting"): 1}
    assert not again.accept(acceptance("m-2")).duplicate
    again.close()


def test_somebody_who_holds_the_database_makes_it_unavailable_and_not_broken(sqlite_place: Place, monkeypatch):
    monkeypatch.setattr("hub.store.database.BUSY_SECONDS", 0.05)
    store = sqlite_place.open()
    other = sqlite3.connect(sqlite_place.state_dir / "hub.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable):
        store.accept(acceptance("m-1"))
    other.execute("ROLLBACK")
    other.close()

    assert not store.accept(acceptance("m-1")).duplicate
    store.close()


def _files(place: Place):
    return (path for path in (place.state_dir / "payloads").rglob("*") if path.is_file())


def _execute(place: Place, statement: str) -> None:
    connection = sqlite3.connect(place.state_dir / "hub.db")
    with connection:
        connection.execute(statement)
    connection.close()


def _limit_pages(place: Place, store, *, full: bool) -> None:
    """Let the database grow by a few pages only, as on a disk that is nearly full."""

    def limit(connection: sa.Connection, _value: None) -> None:  # it counts for the connection that writes
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 40 if full else 1_000_000}")

    store._writer.run(Verb("limit", limit), None)
