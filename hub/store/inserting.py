"""The two ways in which rows come into a table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import sqlalchemy as sa

from hub.store.driver import run_many
from hub.store.payloads import Row


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> None:
    """Insert rows that cannot be there yet, all with one statement."""
    listed = list(rows)
    if listed:
        run_many(connection, _insert(table), listed)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> int:
    """Insert the rows that are not there yet and return how many these were.

    No error on conflict: on PostgreSQL it would end the transaction, and with it the neighbours'.
    """
    listed = list(rows)
    if not listed:
        return 0
    return run_many(connection, _insert_new(table, connection.dialect.name), listed)


# Making a statement costs more than running it: what every message needs is made once.


@cache
def _insert(table: sa.Table) -> sa.Insert:
    return sa.insert(table)


@cache
def _insert_new(table: sa.Table, dialect: str) -> sa.Insert:
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table).on_conflict_do_nothing()
    from sqlalchemy.dialects import postgresql  # here: who lists what is on SQLite does not wait for it

    return postgresql.insert(table).on_conflict_do_nothing()
