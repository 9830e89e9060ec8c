"""What every message needs of the database, put to the driver itself.

SQLAlchemy makes the text, knows the types and owns connection and transaction; its executions and rows would cost
several times what the database needs for its part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from hub.store.database import unavailable, wrapped

ROWS_MAX = 32  # of one INSERT


class Readers:
    """Connections for questions. On SQLite they stay at hand: a pool takes several times what a question takes."""

    def __init__(self, engine: sa.Engine) -> None:
        self.dialect = engine.dialect
        self._engine = engine
        self._free: deque[sa.PoolProxiedConnection] | None = deque() if engine.dialect.name == "sqlite" else None

    def ask(self, text: str, parameters: Any) -> tuple[Any, ...] | None:
        """Return the first row.

        Raises:
            Unavailable: The store does not answer.
        """
        try:
            connection = self._take()
        except sa.exc.SQLAlchemyError as error:
            raise unavailable(error) from None
        try:
            cursor = connection.cursor()
            cursor.execute(text, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
            cursor.close()
        except self.dialect.loaded_dbapi.Error as error:
            connection.invalidate(error)  # whatever it was: the next one is a fresh one
            connection.close()
            raise unavailable(error) from None
        self._give(connection)
        return row

    def close(self) -> None:
        """Close what is at hand; what is asked from now on has connections of its own."""
        free, self._free = self._free, None
        while free:
            free.pop().close()

    def _take(self) -> sa.PoolProxiedConnection:
        if self._free:
            try:
                return self._free.pop()
            except IndexError:
                pass  # another thread was first
        return self._engine.raw_connection()

    def _give(self, connection: sa.PoolProxiedConnection) -> None:
        if self._free is None:
            connection.close()
        else:
            self._free.append(connection)


class Question:
    """A SELECT of at most one row, made once; its parameters are plain texts. One SELECT is of one moment by itself."""

    def __init__(self, statement: sa.Select[Any]) -> None:
        self.statement = statement

    def ask(self, readers: Readers, **values: str) -> tuple[Any, ...] | None:
        """Return the row, if there is one.

        Raises:
            Unavailable: The store does not answer.
        """
        ready = _ready(self.statement, readers.dialect, tuple(values))
        return readers.ask(ready.text, ready.parameters(values))


def fetch(connection: sa.Connection, statement: sa.Select[Any], **values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT as the driver gives them, within the connection's transaction.

    Raises:
        DBAPIError: As from SQLAlchemy's own execution.
    """
    ready = _ready(statement, connection.dialect, tuple(values))
    driver = connection.connection.dbapi_connection
    assert driver is not None
    cursor = driver.cursor()
    try:
        cursor.execute(ready.text, ready.parameters(values))
        return [tuple(row) for row in cursor.fetchall()]
    except connection.dialect.loaded_dbapi.Error as error:
        raise wrapped(connection, driver, ready.text, error) from None
    finally:
        cursor.close()


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
        if ready.values is not None:
            return sum(_insert(cursor, ready, portion) for portion in _portions(told))
        cursor.executemany(ready.text, told)
        return int(cursor.rowcount)
    except connection.dialect.loaded_dbapi.Error as error:
        raise wrapped(connection, driver, ready.text, error) from None
    finally:
        cursor.close()


def _portions(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield the rows by powers of two: so there are few statements, and SQLite has them all ready."""
    at = 0
    while at < len(rows):
        size = min(1 << (len(rows) - at).bit_length() - 1, ROWS_MAX)
        yield rows[at : at + size]
        at += size


def _insert(cursor: Any, ready: _Ready, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows with one statement. SQLite's driver lets other threads in at each; they would be as many as rows."""
    cursor.execute(_of_rows(ready, len(rows)), tuple(chain.from_iterable(rows)))
    return int(cursor.rowcount)


@cache
def _of_rows(ready: _Ready, count: int) -> str:
    assert ready.values is not None
    start, end = ready.values
    return ready.text[:start] + ", ".join([ready.text[start:end]] * count) + ready.text[end:]


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """A statement as the driver takes it."""

    text: str
    pick: Callable[[Mapping[str, Any]], tuple[Any, ...] | dict[str, Any]]
    constants: Mapping[str, Any]
    processors: Sequence[tuple[str, Callable[[Any], Any]]]  # of those whose values the driver would not understand
    values: tuple[int, int] | None = None  # of an INSERT that may have several rows: where its only one stands

    def parameters(self, values: Mapping[str, Any]) -> tuple[Any, ...] | dict[str, Any]:
        told = {**self.constants, **values}
        for name, process in self.processors:
            told[name] = process(told[name])
        return self.pick(told)


@cache
def _ready(statement: sa.Select[Any] | sa.Insert | sa.Update, dialect: sa.Dialect, keys: tuple[str, ...]) -> _Ready:
    if isinstance(statement, sa.Insert):
        statement = statement.inline()  # a key that the database gives is not asked for
    compiled = statement.compile(dialect=dialect, column_keys=None if isinstance(statement, sa.Select) else list(keys))
    assert isinstance(compiled, sa.sql.compiler.SQLCompiler)
    processors = {
        name: process
        for bind, name in compiled.bind_names.items()
        if (process := _processor(bind.type, dialect)) is not None
    }
    # What is IN a list that the statement holds is written out; nothing else may be of unknown length.
    written = compiled.construct_expanded_state(
        {name: bind.value for bind, name in compiled.bind_names.items()}, escape_names=False
    )
    names = tuple(written.positiontup or ()) if compiled.positional else tuple(written.parameters)
    constants = {
        name: processors[name](value) if name in processors else value  # a list is written out under other names
        for name, value in written.parameters.items()
        if name not in keys
    }
    of_rows = [(name, process) for name, process in processors.items() if name in keys]
    values = _values(written.statement, len(names)) if dialect.name == "sqlite" and compiled.isinsert else None
    return _Ready(written.statement, _picker(names, positional=compiled.positional), constants, of_rows, values)


def _picker(
    names: tuple[str, ...], *, positional: bool
) -> Callable[[Mapping[str, Any]], tuple[Any, ...] | dict[str, Any]]:
    if not positional:
        return lambda told: {name: told[name] for name in names}
    if len(names) < 2:  # of one name an itemgetter gives no tuple
        return lambda told: tuple([told[name] for name in names])
    return itemgetter(*names)


def _values(text: str, parameters: int) -> tuple[int, int] | None:
    """Return where the row of an INSERT stands, if all its parameters do."""
    start = text.index(" VALUES (") + len(" VALUES ")
    depth = 0
    for end in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            return (start, end + 1) if text.count("?", start, end) == parameters == text.count("?") else None
    return None


def _processor(type_: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Callable[[Any], Any] | None:
    """Return what makes a value of this type one of the driver's; our own types without the layers above them."""
    if isinstance(type_, sa.types.TypeDecorator) and type_.impl_instance.bind_processor(dialect) is None:
        return partial(type_.process_bind_param, dialect=dialect)
    return type_.dialect_impl(dialect).bind_processor(dialect)
