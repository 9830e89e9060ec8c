"""Where messages are kept. ``open_store`` is the door, :mod:`hub.store.api` the contract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hub.errors import StoreBusy

if TYPE_CHECKING:
    from hub.store.sql import SqlStore

__all__ = ["StoreBusy", "folder_of", "migrate", "open_store", "utc_now"]


def utc_now() -> datetime:
    return datetime.now(UTC)


def open_store(
    url: str, *, state_dir: Path, mode: Literal["daemon", "cli"], clock: Callable[[], datetime] = utc_now
) -> SqlStore:
    """Open the store at ``url``. A daemon creates and migrates SQLite; nobody migrates PostgreSQL by opening it.

    Raises:
        Unavailable: It is not there, or does not answer; the text names where it was looked for.
        StoreBusy: Another daemon has it.
        StoreError: It cannot be trusted, or is of another version.
    """
    from hub.store.opening import open_url  # here, so that workers that need only the values do not load SQLAlchemy

    return open_url(url, state_dir=state_dir, mode=mode, clock=clock)


def folder_of(url: str) -> Path | None:
    """Return the folder of a SQLite store; ``None``: it is a server's, and its disk is not ours to look after."""
    kind, _, rest = url.partition(":///")
    return Path(rest.partition("?")[0]).parent if kind == "sqlite" else None


def migrate(url: str) -> str:
    """Bring a PostgreSQL database to the newest version and return that. Needs a role that may create tables.

    Raises:
        Unavailable: The server does not answer.
        StoreError: The tables are of a newer program.
    """
    from hub.store import migrating

    return migrating.migrate(url)
