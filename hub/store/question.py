"""Questions that are asked for every message, put to the driver itself.

SQLAlchemy makes their text and gives the connection; its transactions, executions and rows would cost several times
what the database needs to answer. One SELECT is of one moment by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from hub.store.database import unavailable


class Question:
    """A SELECT of at most one row, made once; its parameters are plain texts."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement

    def ask(self, engine: sa.Engine, **values: str) -> tuple[Any, ...] | None:
        """Return the row, if there is one.

        Raises:
            Unavailable: The store does not answer.
        """
        text, order, constants = _compiled(self.statement, engine.dialect)
        told = {**constants, **values}
        try:
            connection = engine.raw_connection()
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None
        try:
            cursor = connection.cursor()
            cursor.execute(text, told if order is None else tuple(told[name] for name in order))
            row: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
        except engine.dialect.loaded_dbapi.Error as error:
            connection.invalidate(error)  # whatever it was: the next one is a fresh one
            raise unavailable(error) from None
        else:
            return row
        finally:
            connection.close()


@cache
def _compiled(statement: sa.Select[Any], dialect: sa.Dialect) -> tuple[str, tuple[str, ...] | None, Mapping[str, Any]]:
    """Return the text, the order of its parameters (``None`` where the driver knows them by name), its constants."""
    compiled = statement.compile(dialect=dialect)
    order = tuple(compiled.positiontup) if compiled.positional and compiled.positiontup else None
    return str(compiled), order, dict(compiled.params)
