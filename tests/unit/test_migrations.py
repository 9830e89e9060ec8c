"""The migrations make exactly the tables of the program, at once or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from hub.errors import StoreError
from hub.store import migrate, migrating
from hub.store.database import sqlite_engine
from hub.store.tables import SCHEMA, metadata
from tests.servers import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Give an engine on a database with the newest tables."""
    if request.param == "sqlite":
        engine = sqlite_engine(tmp_path / "hub.db", writes=True)
        with engine.begin() as connection:
            migrating.upgrade(connection)
        yield engine
        engine.dispose()
        return
    with fresh_database() as url:
        migrate(url)
        engine = sa.create_engine(url)
        yield engine
        engine.dispose()


def test_the_migrations_make_the_tables_that_the_program_uses(migrated: sa.Engine):
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})

        assert compare_metadata(context, metadata) == []


def test_the_partial_indexes_have_the_conditions_of_the_program(tmp_path: Path):
    engine = sqlite_engine(tmp_path / "hub.db", writes=True)  # PostgreSQL, made by the same lines, rewrites conditions
    with engine.begin() as connection:
        migrating.upgrade(connection)
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql LIKE '%WHERE%'").all()
    made = {name: re.sub(r"\s+", " ", sql.partition(" WHERE ")[2]) for name, sql in rows if "INDEX" in sql}

    wanted = {
        index.name: str(index.dialect_options["sqlite"]["where"].compile(engine)).replace(f"{table.name}.", "")
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert made == wanted
    engine.dispose()


def test_the_program_knows_the_newest_migration():
    script = ScriptDirectory(str(migrating.FOLDER))

    assert script.get_heads() == [SCHEMA]
    found = sorted(path.name for path in (migrating.FOLDER / "versions").glob("0*.py"))
    assert found == ["0001_first.py", "0002_operators.py"]


def test_migrating_twice_changes_nothing(migrated: sa.Engine):
    with migrated.begin() as connection:
        migrating.upgrade(connection)

        assert migrating.version_of(connection) == SCHEMA


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path):
    engine = sqlite_engine(tmp_path / "hub.db", writes=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE setting (name TEXT)")

    with pytest.raises(sa.exc.OperationalError), engine.begin() as connection:
        migrating.upgrade(connection)

    with engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["setting"]
    engine.dispose()


@pytest.mark.parametrize(("version", "said"), [("0004", "update it"), ("abc", "no version"), (None, "store migrate")])
def test_tables_that_the_program_cannot_use_are_refused_with_what_to_do(version: str | None, said: str):
    with pytest.raises(StoreError, match=said):
        migrating.refuse_foreign(version)


def test_tables_of_the_next_version_can_still_be_used():
    migrating.refuse_foreign("0003")
    migrating.refuse_foreign(SCHEMA)
