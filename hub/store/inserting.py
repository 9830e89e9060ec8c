"""The two ways in which rows come into a table."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from hub.store.payloads import Row


def insert_rows(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> None:
    """Insert rows that cannot be there yet, all with one statement."""
    listed = list(rows)
    if listed:
        connection.execute(sa.insert(table), listed)


def insert_new(connection: sa.Connection, table: sa.Table, rows: Iterable[Row]) -> int:
    """Insert the rows that are not there yet and return how many these were.

    No error on conflict: on PostgreSQL it would end the transaction, and with it the neighbours'.
    """
    listed = list(rows)
    if not listed:
        return 0
    insert = sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
    # Without the option the count of an INSERT is gone with its cursor on psycopg, and reads -1.
    return connection.execute(
        insert.on_conflict_do_nothing(), listed, execution_options={"preserve_rowcount": True}
    ).rowcount
