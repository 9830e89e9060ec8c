"""Which version of the tables a database has, and how it gets the newest. Migrations add; they never take away.

A program one version older than the tables can still work with them, so that nodes are updated one after the other.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import sqlalchemy as sa

from hub import crashpoint
from hub.errors import NotMigrated, StoreError, Unavailable
from hub.store.database import NOT_PERMITTED, error_token, postgresql_engine, why_unreachable
from hub.store.inserting import insert_new
from hub.store.tables import SCHEMA, setting

FOLDER = Path(__file__).parent / "migrations"
MIGRATE_KEY = 0x786F6577  # one migration at a time, whoever starts it
REFERENCE_KEY = "reference_key"

_version = sa.table("alembic_version", sa.column("version_num", sa.Text))


def version_of(connection: sa.Connection) -> str | None:
    """Return the version of a database's tables; None if it has none."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.select(_version.c.version_num)).scalar()
    return found


def upgrade(connection: sa.Connection) -> None:
    """Bring the tables to the newest version, in the connection's transaction.

    Raises:
        StoreError: They are of a newer program.
    """
    version = version_of(connection)
    if version == SCHEMA:
        return
    refuse_foreign(version, may_be_old=True)
    if version is not None and version > SCHEMA:
        return
    # Imported here: it takes a quarter of a second, and only a new program has something to migrate.
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")
    crashpoint.reached("during-migration")


def refuse_foreign(version: str | None, *, may_be_old: bool = False) -> None:
    """Refuse tables that this program cannot work with.

    Raises:
        StoreError: With what to do about it.
    """
    if version is not None and not version.isdecimal():
        raise StoreError(f"the store's tables are of version {version}, which no version of this program has made")
    found = int(version or "0")
    if found > int(SCHEMA) + 1:
        raise StoreError(f"the store's tables are of version {version}, this program knows {SCHEMA}: update it")
    if found < int(SCHEMA) and not may_be_old:
        raise NotMigrated(
            f"the store's tables are of version {version or 'none'}, this program needs {SCHEMA}: "
            "run `xoev-hub store migrate`"
        )


def migrate(url: str) -> str:
    """Bring a PostgreSQL database to the newest version and return that. Needs a role that may create tables.

    Raises:
        Unavailable: The server does not answer.
        StoreError: The tables are of a newer program, or the role may not create any.
    """
    engine = postgresql_engine(sa.make_url(url))
    try:
        with engine.begin() as connection:
            # An index over millions of rows takes its time; the lock, too, while another node migrates.
            for name in ("statement_timeout", "lock_timeout"):
                connection.execute(sa.select(sa.func.set_config(name, "0", True)))
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(MIGRATE_KEY)))
            upgrade(connection)
            # All nodes must find each other's references; the first migration draws the key for them.
            insert_new(connection, setting, [{"name": REFERENCE_KEY, "value": secrets.token_hex(32)}])
    except sa.exc.SQLAlchemyError as error:
        if error_token(error) == NOT_PERMITTED:
            raise StoreError("the store's role may not create tables: migrate as their owner") from None
        where = engine.url.render_as_string(hide_password=True)
        raise Unavailable(f"the store at {where} does not answer ({why_unreachable(error)})") from None
    finally:
        engine.dispose()
    return SCHEMA
