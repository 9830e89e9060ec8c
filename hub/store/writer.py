"""Group commit. One thread writes; what has queued up meanwhile shares one transaction and one sync.

    callers ─▶ queue ─▶ batch ─▶ together, in one transaction ──────────────▶ commit ─▶ answers
                                  └─ one is not as expected: roll back, each alone ─▶ answers

One rule: nobody is answered before the commit. There are no timers: a lone operation is written at once, and while the
disk works the next batch gathers by itself. Where the database is another machine, the answer to a commit may be lost:
then it is looked up.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hub.errors import HubError, StoreError, Unavailable
from hub.log import get_log
from hub.store.database import Trouble, diagnose, error_token, unavailable

log = get_log(__name__)

CRASHED = "crashed"  # the token of our own bug
BATCH_MAX = 64
QUEUE_MAX = 1024

V = TypeVar("V")
R = TypeVar("R")


class Unexpected(Exception):
    """Written together, not every row was as expected; one by one will tell whose. It never leaves the writer."""


@dataclass(frozen=True)
class Verb(Generic[V, R]):
    """A kind of operation: how one is written, and how many are in fewer statements.

    ``together`` raises :class:`Unexpected` unless all have succeeded. Both only write; the writer commits.
    """

    name: str
    alone: Callable[[sa.Connection, V], R]
    together: Callable[[sa.Connection, Sequence[V]], Sequence[R]] | None = None


class Seal(Protocol):
    """What ends each transaction where the server may keep a commit and lose its answer."""

    def seal(self, connection: sa.Connection, written: Sequence[tuple[str, Any]]) -> str:
        """Mark the transaction that wrote these (verb, value), and return the mark."""

    def sealed(self, mark: str) -> bool:
        """Return whether the transaction with this mark was committed; false also if nobody can tell."""


@dataclass(eq=False)
class _Waiting:
    """An operation in the queue, and the place where its caller waits."""

    verb: Verb[Any, Any]
    value: Any = field(repr=False)
    answer: Future[Any] = field(default_factory=Future)


class Writer:
    """Writes for all threads of this process. Ends by :meth:`close`, or when the disk can no longer be trusted."""

    def __init__(self, engine: sa.Engine, seal: Seal | None = None) -> None:
        self._engine, self._seal = engine, seal
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(QUEUE_MAX)
        self._gate = threading.Lock()  # between "is it open?" and "into the queue" nobody may close it
        self._ended = ""
        self.failed: str | None = None  # a short token, once it has ended by a failure
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def run(self, verb: Verb[V, R], value: V) -> R:
        """Write one operation and return its result once it is committed.

        Raises:
            Unavailable: Nothing can be stored; also when the commit's fate is unknown.
            HubError: What the operation itself raises; then it has written nothing.
        """
        waiting = _Waiting(verb, value)
        with self._gate:
            if self._ended:
                raise Unavailable(self._ended)
            try:
                self._queue.put_nowait(waiting)
            except queue.Full:
                raise Unavailable("the store is behind, its queue is full") from None
        result: R = waiting.answer.result()
        return result

    def close(self) -> None:
        """Write what is queued, then end."""
        with self._gate:
            self._ended = self._ended or "the store is closed"
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    # --- the thread

    def _work(self) -> None:
        batch: list[_Waiting] = []
        token: str | None = CRASHED
        try:
            while self.failed is None and (batch := self._next_batch()):
                self._write(batch)
            token = self.failed
        finally:
            self.failed = token
            if token is not None:
                log.error("store_failed", code=token)
            with self._gate:
                self._ended = self._ended or "the store has failed"
            while batch:
                _refuse(batch, self._ended)
                batch = self._next_batch(block=False)

    def _next_batch(self, *, block: bool = True) -> list[_Waiting]:
        """Return what is queued; nothing once the end is reached."""
        batch: list[_Waiting] = []
        try:
            while len(batch) < BATCH_MAX:
                waiting = self._queue.get(block=block and not batch)
                if waiting is None:
                    if batch:
                        self._queue.put(None)  # the end comes after this batch, not instead of it
                    break
                batch.append(waiting)
        except queue.Empty:
            pass
        return batch

    def _write(self, batch: list[_Waiting]) -> None:
        """Write a batch and answer everybody in it."""
        mark: str | None = None
        try:
            with self._engine.begin() as connection:
                results = _together(connection, batch)
                if self._seal is not None:
                    mark = self._seal.seal(connection, [(waiting.verb.name, waiting.value) for waiting in batch])
        except (Unexpected, HubError, SQLAlchemyError, ValueError, TypeError, ArithmeticError) as error:
            # These are what values can make a driver raise; anything else is our own bug and ends the writer.
            if not self._committed(mark, error):
                self._failed(batch, error)
                return
        for waiting in batch:
            waiting.answer.set_result(results[waiting])

    def _committed(self, mark: str | None, error: Exception) -> bool:
        """Tell whether it was only the answer to the commit that was lost. Without a mark it did not come to that."""
        if self._seal is None or mark is None or _trouble(error) is not Trouble.PASSING:
            return False
        return self._seal.sealed(mark)

    def _failed(self, batch: list[_Waiting], error: Exception) -> None:
        """Find out whose fault it was, if it was an operation's; else nobody's operation is stored."""
        trouble = _trouble(error)
        if trouble in (Trouble.OPERATION, Trouble.CONTENDED) and len(batch) > 1:
            for waiting in batch:
                if self.failed is None:
                    self._write([waiting])
            return  # whoever is left after a breakdown is refused when the thread ends
        if trouble is Trouble.BROKEN:
            self.failed = error_token(error)  # the loop ends; what failed at a sync must not be tried again
        for waiting in batch:
            waiting.answer.set_exception(_for_caller(error, trouble))


def _together(connection: sa.Connection, batch: Sequence[_Waiting]) -> dict[_Waiting, Any]:
    """Write a batch sorted by verb. Its operations come from different threads, so that any order is right."""
    kinds: dict[str, list[_Waiting]] = {}
    for waiting in batch:
        kinds.setdefault(waiting.verb.name, []).append(waiting)
    results: dict[_Waiting, Any] = {}
    for group in kinds.values():
        verb = group[0].verb
        if verb.together is None or len(group) == 1:
            results.update((waiting, verb.alone(connection, waiting.value)) for waiting in group)
        else:
            answers = verb.together(connection, [waiting.value for waiting in group])
            results.update(zip(group, answers, strict=True))
    return results


def _refuse(batch: Sequence[_Waiting], why: str) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(Unavailable(why))


def _trouble(error: Exception) -> Trouble:
    if isinstance(error, DBAPIError):
        return diagnose(error)
    return Trouble.PASSING if isinstance(error, sa.exc.TimeoutError) else Trouble.OPERATION


def _for_caller(error: Exception, trouble: Trouble) -> HubError:
    """Return what the caller is told. A driver's own text may quote values and ends here."""
    if isinstance(error, HubError):
        return error
    if trouble is not Trouble.OPERATION:
        return unavailable(error)
    return StoreError(f"the operation cannot be stored ({error_token(error)})")
