"""How the hub opens a database, and what it refuses to work on. One rule: what says "stored" has been synced.

SQLite: one file, one writing daemon by a lock beside the file's real path, WAL with FULL sync, a local disk.
PostgreSQL: the server's own promises, asked for and refused if they are off.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from enum import Enum
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DBAPIError

from hub.errors import StoreError, Unavailable

BUSY_SECONDS = 5.0  # how long a connection waits for another process's transaction
REMOTE = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"}
)  # locks and syncs are not to be trusted
VOLATILE = frozenset({"tmpfs", "ramfs"})
SAFE = {"fsync": {"on"}, "full_page_writes": {"on"}, "synchronous_commit": {"on", "remote_write", "remote_apply"}}
PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA secure_delete=ON",
    "PRAGMA cell_size_check=ON",
    "PRAGMA temp_store=MEMORY",
)


class Lock:
    """Says whose store it is: an flock, which the kernel gives back when its process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        # The real path, so that a second daemon is found out even when it comes through a symbolic link.
        self.path = Path(f"{os.path.realpath(path)}.lock")
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free; never waits."""
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def sqlite_path(url: sa.URL) -> Path:
    """Return the file of a SQLite URL.

    Raises:
        StoreError: It names no file: what is kept in memory is not kept.
    """
    if not url.database or url.database == ":memory:":
        raise StoreError("the store needs a file: sqlite:////absolute/path/hub.db")
    return Path(url.database)


def create_file(path: Path) -> None:
    """Create folder (0700) and database file (0600) if they are missing, durably."""
    if not path.parent.is_dir():
        path.parent.mkdir(mode=0o700, parents=True)
        sync_folder(path.parent.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_remote_disk(path: Path) -> None:
    """Refuse network file systems, warn of memory.

    Raises:
        StoreError: The file system cannot keep what SQLite promises.
    """
    kind, _ = file_system(Path(os.path.realpath(path)).parent)
    if kind in REMOTE:
        raise StoreError(f"{path}: a store on {kind} loses messages, expected a local disk (or PostgreSQL)")
    if kind in VOLATILE:
        logging.getLogger(__name__).warning("store_in_memory path=%s file_system=%s", path, kind)


def file_system(folder: Path) -> tuple[str, str]:
    """Return type and options of the file system that holds the folder, as /proc/self/mountinfo has them.

    Both are empty where there is no such file.
    """
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "", ""
    best, kind, options = "", "", ""
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = left.split()[4]
        if len(mount) >= len(best) and folder.is_relative_to(mount):
            best, kind, options = mount, right.split()[0], left.split()[5]
    return kind, options


# --- engines ------------------------------------------------------------------------------------------------------


class _Hinting(SQLiteCompiler):
    """Writes hints where SQLite reads them: behind the name of the table. It knows no sizes and chooses blindly."""

    def get_from_hint_text(self, table: sa.FromClause, text: str | None) -> str | None:  # noqa: ARG002
        return text


def sqlite_engine(path: Path, *, writes: bool) -> sa.Engine:
    """Return an engine whose transactions are ours: IMMEDIATE where it writes, refusing to write where it reads."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        hide_parameters=True,
        connect_args={"timeout": BUSY_SECONDS},
        pool_size=1 if writes else 8,
        max_overflow=1 if writes else 24,
        pool_timeout=10,
    )
    engine.dialect.statement_compiler = _Hinting

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions by its own rules
        for pragma in PRAGMAS:
            connection.execute(pragma)
        if not writes:
            connection.execute("PRAGMA query_only=ON")
        if writes and connection.execute("PRAGMA synchronous").fetchone() != (2,):
            raise StoreError(f"{path}: SQLite does not sync fully, expected synchronous=FULL")
        # Asked for above, and silently not done where the file system has no shared memory. In another mode the last
        # commit may be rolled back after a power cut, full sync or not.
        if writes and connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            raise StoreError(f"{path}: SQLite keeps no write-ahead log here, expected journal_mode=WAL")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        text = "BEGIN IMMEDIATE" if writes else "BEGIN"
        driver: Any = connection.connection.dbapi_connection
        try:
            driver.execute(text)  # straight to the driver: it is before everything
        except sqlite3.Error as error:
            raise wrapped(connection, driver, text, error) from None

    return engine


def postgresql_engine(url: sa.URL) -> sa.Engine:
    """Return an engine on which no statement, lock or dead peer waits for ever.

    Raises:
        StoreError: The driver is not installed.
    """
    # The last is half a lease: a node that is stopped in the middle of a transaction must not hold others up for long.
    options = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=15000"
    arguments: dict[str, Any] = {
        "connect_timeout": 5,
        "tcp_user_timeout": 15000,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "application_name": "xoev-hub",
        "options": " ".join(filter(None, [options, str(url.query.get("options", ""))])),
    }
    try:
        return sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            hide_parameters=True,
            connect_args=arguments,
            pool_size=8,
            max_overflow=24,
            pool_timeout=10,
            pool_pre_ping=True,
        )
    except ImportError:
        raise StoreError("PostgreSQL needs its driver: install xoev-hub[postgres]") from None


def postgresql_reading(engine: sa.Engine) -> sa.Engine:
    """Return the same engine for reading: all that a transaction reads is of one moment, as it is on SQLite."""
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def refuse_unsafe_server(connection: sa.Connection) -> None:
    """Refuse a server that answers before it has stored.

    Raises:
        StoreError: A setting is off that durability stands on.
    """
    for name, allowed in SAFE.items():
        value = connection.execute(sa.select(sa.func.current_setting(name))).scalar_one()
        if value not in allowed:
            raise StoreError(f"PostgreSQL runs with {name}={value}, expected {' or '.join(sorted(allowed))}")


# --- what an error means ------------------------------------------------------------------------------------------


class Trouble(Enum):
    OPERATION = "the operation is wrong; its neighbours are not"
    CONTENDED = "somebody else holds what the operation needs; later it may succeed, its neighbours now"
    PASSING = "nothing can be stored at the moment"
    BROKEN = "nobody knows what is on disk; never write again with this process"


_SQLITE_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}
_SQLITE_OPERATION = {
    sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISUSE,
}  # fmt: skip
# Connection lost, out of resources (53100: disk full), shut down by an operator, read-only, failed system call.
_POSTGRESQL_PASSING = ("08", "25006", "53", "57P", "58")
# Serialization failure, deadlock, lock not available, statement_timeout.
_POSTGRESQL_CONTENDED = {"40001", "40P01", "55P03", "57014"}


UNREACHABLE_MAX = 300
NOT_PERMITTED = "42501"


def diagnose(error: DBAPIError) -> Trouble:
    """Return what a database's error says about the transaction in which it happened."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # extended codes: higher bits
        if code in _SQLITE_OPERATION:
            return Trouble.OPERATION
        return Trouble.PASSING if code in _SQLITE_PASSING else Trouble.BROKEN
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (isinstance(error, sa.exc.OperationalError) and state is None):
        return Trouble.PASSING
    if isinstance(error, sa.exc.InterfaceError) or (state or "").startswith(_POSTGRESQL_PASSING):
        return Trouble.PASSING
    return Trouble.CONTENDED if state in _POSTGRESQL_CONTENDED else Trouble.OPERATION


def wrapped(connection: sa.Connection, driver: Any, text: str, error: Any) -> BaseException:
    """Return the error as SQLAlchemy would have raised it; a connection that is gone is not used again."""
    dialect = connection.dialect
    gone = dialect.is_disconnect(error, driver, None)
    if gone:
        connection.invalidate(error)
    base = dialect.loaded_dbapi.Error
    instance: Any = sa.exc.DBAPIError.instance
    wrapped: BaseException = instance(
        text, None, error, base, hide_parameters=True, connection_invalidated=gone, dialect=dialect
    )
    return wrapped


def error_token(error: Exception) -> str:
    """Return a short name for an error. The driver's own text may quote values and must not be passed on."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or type(cause).__name__)


def why_unreachable(error: Exception) -> str:
    """Return why a server was not reached: what libpq says before a statement is sent quotes no value of one."""
    if (token := error_token(error)) != sa.exc.OperationalError.__name__:
        return token
    return " ".join(str(getattr(error, "orig", error)).split())[-UNREACHABLE_MAX:]


def no_store(path: Path) -> Unavailable:
    """Return the error for who looks for a store that nobody has made yet."""
    makes = "xoev-hub run makes it, xoev-hub store migrate, too; if it is elsewhere, -c names its routes.yaml"
    return Unavailable(f"there is no store at {path}; {makes}")


def unavailable(error: Exception) -> Unavailable:
    """Return the error for callers."""
    return Unavailable(f"the store does not answer ({error_token(error)})")
