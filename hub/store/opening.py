"""Opening a store: what differs between SQLite and PostgreSQL, and between a daemon and the command line.

              daemon                                             command line
SQLite        creates, locks, migrates, sweeps                   finds it or says where it looked; may lock later
PostgreSQL    checks settings, version, rights; shares a lock    checks the version; may take the lock alone
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from hub.errors import NotMigrated, StoreBusy, StoreError, Unavailable
from hub.message import new_id
from hub.store.database import (
    NOT_PERMITTED,
    Lock,
    create_file,
    error_token,
    no_store,
    postgresql_engine,
    postgresql_reading,
    refuse_remote_disk,
    refuse_unsafe_server,
    sqlite_engine,
    sqlite_path,
    sync_folder,
    why_unreachable,
)
from hub.store.foundation import Foundation
from hub.store.migrating import REFERENCE_KEY, refuse_foreign, upgrade, version_of
from hub.store.payloads import Payloads
from hub.store.rights import refuse_poor_role
from hub.store.rows import RowMaker
from hub.store.sql import SqlStore
from hub.store.turns import among_nodes
from hub.store.upkeep import select_setting

Mode = Literal["daemon", "cli"]
Clock = Callable[[], datetime]


def open_url(url: str, *, state_dir: Path, mode: Mode, clock: Clock) -> SqlStore:
    """Do what :func:`hub.store.open_store` promises."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError("the store's URL cannot be read, expected sqlite:////… or postgresql+psycopg://…") from None
    opener = {"sqlite": _open_sqlite, "postgresql": _open_postgresql}.get(parsed.get_backend_name())
    if opener is None:
        raise StoreError(f"unknown kind of store {parsed.drivername!r}, expected sqlite or postgresql+psycopg")
    try:
        return SqlStore(opener(parsed, state_dir, mode, clock))
    except sa.exc.SQLAlchemyError as error:
        where = parsed.render_as_string(hide_password=True)
        if error_token(error) == NOT_PERMITTED:
            text = f"the role {parsed.username} may not use the tables at {where}: run `xoev-hub store migrate`"
            text += " and grant it its rights (examples/postgresql/rights.sql), as the owner"
            raise NotMigrated(text) from None
        raise Unavailable(f"the store at {where} does not answer ({why_unreachable(error)})") from None
    except OSError as error:
        raise Unavailable(f"the store cannot be opened: {error.filename}: {error.strerror}") from None


# --- SQLite -------------------------------------------------------------------------------------------------------


def _open_sqlite(url: sa.URL, state_dir: Path, mode: Mode, clock: Clock) -> Foundation:
    path = sqlite_path(url)
    lock = Lock(path)
    if mode == "daemon":
        _prepare_folders(path, state_dir)
        if not lock.acquire():
            raise StoreBusy(f"another daemon has the store {path} (it holds {lock.path}); stop that one first")
    elif not path.is_file():
        raise no_store(path)
    writing, reading = sqlite_engine(path, writes=True), sqlite_engine(path, writes=False)
    payloads = Payloads(state_dir / "payloads")
    with ExitStack() as undo:
        undo.callback(lock.release)
        undo.callback(writing.dispose)
        undo.callback(reading.dispose)
        if mode == "daemon":
            create_file(path)
            with writing.begin() as connection:
                upgrade(connection)
                payloads.sweep(connection)
        with reading.begin() as connection:
            refuse_foreign(version_of(connection))
        key = _key_of_file(state_dir / "reference.key", create=mode == "daemon")
        maker = RowMaker(payloads, key)
        return Foundation(writing, reading, maker, clock, lock.acquire, undo.pop_all().close)


def _prepare_folders(path: Path, state_dir: Path) -> None:
    for folder in (path.parent, state_dir, state_dir / "payloads"):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, parents=True)
            sync_folder(folder.parent)
    refuse_remote_disk(path)


def _key_of_file(path: Path, *, create: bool) -> bytes:
    """Return the key of the references' digests; a daemon draws it once.

    Raises:
        Unavailable: It is not there or cannot be read.
    """
    try:
        if create and not path.exists():
            draft = path.with_suffix(".new")  # renamed when complete: half a key would be a wrong key for ever
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
            sync_folder(path.parent)
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise Unavailable(f"there is no readable key at {path}") from None


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def _open_postgresql(url: sa.URL, _state_dir: Path, mode: Mode, clock: Clock) -> Foundation:
    engine = postgresql_engine(url)
    from hub.store.presence import Presence  # here, as they need what only PostgreSQL needs
    from hub.store.sharing import Sharing

    presence, sharing = Presence(engine), Sharing(engine, new_id())
    with ExitStack() as undo:
        undo.callback(engine.dispose)
        undo.callback(presence.release)
        with engine.begin() as connection:
            refuse_unsafe_server(connection)
            refuse_foreign(version_of(connection))
            key = bytes.fromhex(select_setting(connection, REFERENCE_KEY) or "")
        if not key:
            raise NotMigrated("the store has no reference key: run `xoev-hub store migrate`")
        if mode == "daemon":
            with engine.begin() as connection:
                refuse_poor_role(connection)
            if not presence.acquire(shared=True):
                raise StoreBusy("a command line is running jobs on this store; try again when it has finished")
            sharing.sweep()
        undo.callback(sharing.close)
        return Foundation(
            engine, postgresql_reading(engine), RowMaker(Payloads(None), key), clock, presence.acquire,
            undo.pop_all().close, sharing, partial(presence.listen, sharing.node), sharing.node, among_nodes(engine),
        )  # fmt: skip
