"""Stores for the contract suite: each test gets an empty one of its own, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.store import migrate
from hub.store.sql import SqlStore
from tests.servers import fresh_database
from tests.storing import Place


@pytest.fixture(scope="session")
def migrated_database() -> Iterator[str]:
    """Give the name of a database with the newest tables, to copy: migrating takes longer than most tests."""
    with fresh_database() as url:
        migrate(url)
        yield url.rsplit("/", 1)[1]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Give the place of a store that a daemon can open."""
    state_dir = tmp_path / "var"
    if request.param == "sqlite":
        yield Place(f"sqlite:///{state_dir}/hub.db", state_dir)
        return
    with fresh_database(request.getfixturevalue("migrated_database")) as url:
        yield Place(url, state_dir)


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    """Give the place of a SQLite store."""
    return Place(f"sqlite:///{tmp_path}/var/hub.db", tmp_path / "var")


@pytest.fixture
def postgresql_place(migrated_database: str, tmp_path: Path) -> Iterator[Place]:
    """Give the place of a PostgreSQL store."""
    with fresh_database(migrated_database) as url:
        yield Place(url, tmp_path / "var")


@pytest.fixture
def daemons(postgresql_place: Place) -> Iterator[list[SqlStore]]:
    """Give one PostgreSQL store as two daemons have it."""
    opened = [postgresql_place.open(), postgresql_place.open()]
    yield opened
    for one in opened:
        one.close()


@pytest.fixture
def store(place: Place) -> Iterator[SqlStore]:
    """Give a store that is open as the daemon has it."""
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def nodes(place: Place) -> Iterator[list[SqlStore]]:
    """Give one store opened three times, each with connections and a writer of its own.

    On PostgreSQL as three daemons have it, on SQLite as a daemon and two command lines do.
    """
    on_sqlite = place.url.startswith("sqlite")
    opened = [place.open(), *(place.open("cli" if on_sqlite else "daemon") for _ in range(2))]
    yield opened
    for one in opened:
        one.close()
