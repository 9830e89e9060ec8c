"""Backup of a SQLite store, beside a running daemon, and its return. One rule: wholly or not at all.

    tables (SQLite's own copy of one moment) ─▶ payload files that they name ─▶ key, configuration ─▶ MANIFEST ─▶ rename

A file is written before the row that names it, and removed after it: what the copied tables name was there at their
moment. If a file was erased since, the tables are copied anew. On PostgreSQL everything is in the database, and its own
tools do this.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from hub.errors import StoreBusy, StoreError, Unavailable
from hub.store.database import Lock, no_store, sqlite_engine, sqlite_path, sync_folder
from hub.store.tables import message, payload

TABLES, KEY, PAYLOADS, DEPLOYMENT, MANIFEST = "hub.db", "reference.key", "payloads", "deployment", "MANIFEST.sha256"
TRIES = 3
ON_POSTGRESQL = "the store is on PostgreSQL: use pg_dump and pg_restore (docs/operating.md, Backup)"
NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class Saved:
    """What a backup holds. ``damaged`` names payloads whose files are gone or altered: they were so in the store."""

    messages: int
    files: int
    size_bytes: int
    damaged: tuple[str, ...]


def back_up(url: str, state_dir: Path, folder: Path, deployment: Mapping[str, bytes]) -> Saved:
    """Copy a store into a folder that is not there yet; with it go the files of the deployment, by name.

    Raises:
        Unavailable: There is no store, or it does not answer.
        StoreError: The folder is there already, or the store is on PostgreSQL.
        OSError: The folder cannot be written.
    """
    path = _file_of(url)
    if not path.is_file():
        raise no_store(path)
    if folder.exists():
        raise StoreError(f"{folder} is there already, expected a new folder for each backup")
    draft = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)  # of a backup that was cut off
    draft.mkdir(mode=0o700, parents=True)
    damaged = _copy_store(path, state_dir / PAYLOADS, draft)
    messages = _count_messages(draft / TABLES)
    _write(draft / KEY, (state_dir / KEY).read_bytes())
    for name, content in deployment.items():
        _write(draft / DEPLOYMENT / name, content)
    files = {str(one.relative_to(draft)): _digest(one) for one in _files_below(draft)}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    _write(draft / MANIFEST, lines.encode())
    size = sum(one.stat().st_size for one in _files_below(draft))
    for below in draft.rglob("*/"):
        sync_folder(below)
    sync_folder(draft)
    draft.rename(folder)
    sync_folder(folder.parent)
    return Saved(messages, len(files), size, damaged)


def _copy_store(path: Path, payloads: Path, draft: Path) -> tuple[str, ...]:
    """Copy tables and payload files until they belong together; return the payloads for which they never do."""
    damaged: list[str] = []
    for _ in range(TRIES):
        _copy_tables(path, draft / TABLES)
        named = _named_files(draft / TABLES)
        damaged = [id_ for id_, sha256 in named.items() if not _copy_payload(id_, sha256, payloads, draft / PAYLOADS)]
        if not damaged:
            break
    for one in _files_below(draft / PAYLOADS):
        if one.name not in named:
            one.unlink()  # erased since an earlier try
    return tuple(damaged)


def _copy_tables(path: Path, copy: Path) -> None:
    """Let SQLite copy the tables as they are at one moment; writers go on meanwhile.

    Raises:
        Unavailable: The store cannot be read.
        StoreError: What came out is not sound.
    """
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    engine = sqlite_engine(path, writes=False)
    try:
        with engine.connect() as connection, closing(sqlite3.connect(copy)) as target:
            source = connection.connection.driver_connection
            assert isinstance(source, sqlite3.Connection)
            source.backup(target)
            found = target.execute("PRAGMA quick_check(1)").fetchone()
    except (sqlite3.Error, sa.exc.SQLAlchemyError) as error:
        raise Unavailable(f"the store at {path} cannot be copied ({type(error).__name__})") from None
    finally:
        engine.dispose()
    if found != ("ok",):
        raise StoreError(f"{path}: SQLite says that the tables are damaged; expected a sound store")
    _sync(copy)


def _named_files(tables: Path) -> dict[str, str]:
    """Return the payloads that are files, with their digests."""
    engine = sqlite_engine(tables, writes=False)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.select(payload.c.id, payload.c.sha256).where(payload.c.storage == "file"))
            return {row.id: row.sha256 for row in rows}
    finally:
        engine.dispose()


def _copy_payload(id_: str, sha256: str, source: Path, target: Path) -> bool:
    """Copy one payload's file if it is not copied yet; false if it is gone or not what the tables say."""
    name = Path(id_[-2:], id_)  # as :mod:`hub.store.payloads` names it
    if not (target / name).exists():
        try:
            _write(target / name, (source / name).read_bytes())
        except FileNotFoundError:
            return False
    return _digest(target / name) == sha256


def _count_messages(tables: Path) -> int:
    engine = sqlite_engine(tables, writes=False)
    try:
        with engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.count()).select_from(message)).scalar_one())
    finally:
        engine.dispose()


# --- back again ---------------------------------------------------------------------------------------------------


def check_backup(folder: Path) -> None:
    """Refuse what is not a whole backup, byte by byte as it was made.

    Raises:
        Unavailable: There is none.
        StoreError: Files are missing or altered.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        why = f"it has no {MANIFEST}" if folder.is_dir() else "there is no such folder"
        raise Unavailable(f"{folder} is not a backup: {why}")
    wrong = [name for name, digest in _promised(manifest) if not _is(folder / name, digest)]
    if wrong:
        more = f" and {len(wrong) - NAMED_MAX} more" if len(wrong) > NAMED_MAX else ""
        raise StoreError(f"{folder} is damaged: {', '.join(wrong[:NAMED_MAX])}{more} missing or altered")


def deployment_of(folder: Path) -> Mapping[str, bytes]:
    """Return the files of the deployment that a backup holds, by name."""
    base = folder / DEPLOYMENT
    return {str(one.relative_to(base)): one.read_bytes() for one in _files_below(base)}


def bring_back(folder: Path, url: str, state_dir: Path) -> None:
    """Put a checked backup where a store is to be. The tables come last: before them there is no store.

    Raises:
        StoreBusy: A daemon is there.
        StoreError: There is something already that would be overwritten, or the store is on PostgreSQL.
        OSError: It cannot be written.
    """
    path = _file_of(url)
    _refuse_to_overwrite(path, state_dir)
    for place in {path.parent, state_dir}:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = Lock(path)
    if not lock.acquire():
        raise StoreBusy(f"a daemon has the store {path} (it holds {lock.path})")
    try:
        for one in _files_below(folder / PAYLOADS):
            _write(state_dir / PAYLOADS / one.relative_to(folder / PAYLOADS), one.read_bytes())
        _write(state_dir / KEY, (folder / KEY).read_bytes())
        fresh = path.with_name(f".{path.name}.restoring")
        fresh.unlink(missing_ok=True)
        shutil.copyfile(folder / TABLES, fresh)
        fresh.chmod(0o600)
        _sync(fresh)
        fresh.rename(path)
        sync_folder(path.parent)
    finally:
        lock.release()


def _refuse_to_overwrite(path: Path, state_dir: Path) -> None:
    tables = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    for one in [*tables, state_dir / KEY, *_files_below(state_dir / PAYLOADS)]:
        if one.exists():
            raise StoreError(f"{one} is there already, and nothing is overwritten; expected an empty state folder")


# --- files --------------------------------------------------------------------------------------------------------


def _file_of(url: str) -> Path:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(ON_POSTGRESQL)
    return sqlite_path(parsed)


def _files_below(folder: Path) -> Iterator[Path]:
    yield from sorted(one for one in folder.rglob("*") if one.is_file())


def _promised(manifest: Path) -> list[tuple[str, str]]:
    lines = (line.partition("  ") for line in manifest.read_text("utf-8").splitlines())
    return [(name, digest) for digest, _, name in lines]


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and _digest(file) == digest


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _write(file: Path, content: bytes) -> None:
    """Write a file that survives a power cut once its folder is synced; nobody else may read it."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(fd)


def _sync(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
