"""What every message needs of the database, put to the driver itself.

SQLAlchemy makes the text, knows the types and owns connection and transaction; its executions and rows would cost
several times what the database needs for its part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from hub.store.database import unavailable


class Question:
    """A SELECT of at most one row, made once; its parameters are plain texts. One SELECT is of one moment by itself."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement

    def ask(self, engine: sa.Engine, **values: str) -> tuple[Any, ...] | None:
        """Return the row, if there is one.

        Raises:
            Unavailable: The store does not answer.
        """
        ready = _ready(self.statement, engine.dialect, tuple(values))
        try:
            connection = engine.raw_connection()
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None
        try:
            cursor = connection.cursor()
            cursor.execute(ready.text, ready.parameters(values))
            row: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
        except engine.dialect.loaded_dbapi.Error as error:
            connection.invalidate(error)  # whatever it was: the next one is a fresh one
            raise unavailable(error) from None
        else:
            return row
        finally:
            connection.close()


def run_many(connection: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run a statement once for each of these rows, which have the same keys; return how many rows were written.

    Raises:
        DBAPIError: As from SQLAlchemy's own execution.
    """
    ready = _ready(statement, connection.dialect, tuple(rows[0]))
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    try:
        told: Any = [ready.parameters(row) for row in rows]
        cursor.executemany(ready.text, told)
        return int(cursor.rowcount)
    except connection.dialect.loaded_dbapi.Error as error:
        raise _wrapped(connection, driver, ready.text, error) from None
    finally:
        cursor.close()


@dataclass(frozen=True, slots=True)
class _Ready:
    """A statement as the driver takes it."""

    text: str
    names: tuple[str, ...]
    positional: bool
    constants: Mapping[str, Any]
    processors: Mapping[str, Callable[[Any], Any]]  # of those whose values the driver would not understand

    def parameters(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        told = {**self.constants, **values}
        for name, process in self.processors.items():
            told[name] = process(told[name])
        if self.positional:
            return tuple([told[name] for name in self.names])
        return {name: told[name] for name in self.names}


@cache
def _ready(statement: sa.Select[Any] | sa.Insert | sa.Update, dialect: sa.Dialect, keys: tuple[str, ...]) -> _Ready:
    if isinstance(statement, sa.Insert):
        statement = statement.inline()  # a key that the database gives is not asked for
    compiled = statement.compile(dialect=dialect, column_keys=None if isinstance(statement, sa.Select) else list(keys))
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    processors = {
        name: process
        for name, bind in compiled.binds.items()
        if (process := bind.type.dialect_impl(dialect).bind_processor(dialect)) is not None
    }
    names = tuple(compiled.positiontup or ()) if compiled.positional else tuple(compiled.binds)
    constants = {name: bind.value for name, bind in compiled.binds.items() if name not in keys}
    return _Ready(str(compiled), names, compiled.positional, constants, processors)


def _wrapped(connection: sa.Connection, driver: Any, text: str, error: Any) -> BaseException:
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
