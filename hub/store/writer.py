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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hub import crashpoint
from hub.errors import HubError, StoreError, Unavailable
from hub.log import get_log
from hub.store.database import Trouble, diagnose, error_token, unavailable
from hub.store.verb import Unexpected as Unexpected  # noqa: PLC0414  # who writes finds all of it here
from hub.store.verb import Verb as Verb  # noqa: PLC0414

log = get_log(__name__)

CRASHED = "crashed"  # the token of our own bug
BATCH_MAX = 64
QUEUE_MAX = 1024

V = TypeVar("V")
R = TypeVar("R")


class Seal(Protocol):
    """What ends each transaction where the server may keep a commit and lose its answer."""

    def seal(self, connection: sa.Connection, written: Sequence[tuple[str, Any]]) -> str:
        """Mark the transaction that wrote these (verb, value), and return the mark."""

    def sealed(self, mark: str) -> bool:
        """Return whether the transaction with this mark was committed; false also if nobody can tell."""


class _Waiting:
    """Operations of one kind in the queue, and the place where their caller waits.

    A bare lock is the place: a future or a condition costs a multiple of it, and this is done for every message.
    """

    __slots__ = ("_done", "answers", "values", "verb")

    def __init__(self, verb: Verb[Any, Any], values: Sequence[Any]) -> None:
        self.verb, self.values = verb, values
        self.answers: Sequence[Any] | None = None  # results and errors, in the order of the values
        self._done = threading.Lock()
        self._done.acquire()

    def answer(self, answers: Sequence[Any]) -> None:
        self.answers = answers
        self._done.release()

    def wait(self) -> Sequence[Any]:
        self._done.acquire()
        assert self.answers is not None
        return self.answers


class Writer:
    """Writes for all threads of this process. Ends by :meth:`close`, or when the disk can no longer be trusted."""

    def __init__(self, engine: sa.Engine, seal: Seal | None = None) -> None:
        self._engine, self._seal = engine, seal
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # between "is it open?" and "into the queue" nobody may close it
        self._ended = ""
        self._connection: sa.Connection | None = None  # of the thread
        self.failed: str | None = None  # a short token, once it has ended by a failure
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._thread.start()

    def run(self, verb: Verb[V, R], value: V) -> R:
        """Write one operation and return its result once it is committed.

        Raises:
            Unavailable: Nothing can be stored; also when the commit's fate is unknown.
            HubError: What the operation itself raises; then it has written nothing.
        """
        (answer,) = self.run_all(verb, (value,))
        if isinstance(answer, HubError):
            raise answer
        return answer

    def run_all(self, verb: Verb[V, R], values: Sequence[V]) -> Sequence[R | HubError]:
        """Write several operations of a kind with one sync; return each one's result, or what :meth:`run` would raise.

        They share nothing but the sync: one that fails never takes the others with it.

        Raises:
            Unavailable: None of them was begun.
        """
        waiting = _Waiting(verb, values)
        with self._gate:
            if self._ended:
                raise Unavailable(self._ended)
            if self._queue.qsize() >= QUEUE_MAX:
                raise Unavailable("the store is behind, its queue is full")
            self._queue.put(waiting)
        return waiting.wait()

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
            if self._connection is not None:
                self._connection.close()
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
        count = 0
        try:
            while count < BATCH_MAX:
                waiting = self._queue.get(block=block and not batch)
                if waiting is None:
                    if batch:
                        self._queue.put(None)  # the end comes after this batch, not instead of it
                    break
                batch.append(waiting)
                count += len(waiting.values)
        except queue.Empty:
            pass
        return batch

    def _write(self, batch: list[_Waiting]) -> None:
        """Write a batch and answer everybody in it."""
        mark: str | None = None
        try:
            with self._transaction() as connection:
                results = _together(connection, batch)
                if self._seal is not None:
                    written = [(waiting.verb.name, value) for waiting in batch for value in waiting.values]
                    mark = self._seal.seal(connection, written)
                crashpoint.reached("inside-commit")
        except (Unexpected, HubError, SQLAlchemyError, ValueError, TypeError, ArithmeticError) as error:
            # These are what values can make a driver raise; anything else is our own bug and ends the writer.
            if not self._committed(mark, error):
                self._failed(batch, error)
                return
        crashpoint.reached("after-commit")
        for waiting, answers in results:
            waiting.answer(answers)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Give a transaction, on SQLite always of the same connection: taking it from the pool and giving it back each
        time costs as much as the statements.
        """
        if self._engine.dialect.name != "sqlite":
            with self._engine.begin() as connection:
                yield connection
            return
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            yield self._connection

    def _committed(self, mark: str | None, error: Exception) -> bool:
        """Tell whether it was only the answer to the commit that was lost. Without a mark it did not come to that."""
        if self._seal is None or mark is None or _trouble(error) is not Trouble.PASSING:
            return False
        return self._seal.sealed(mark)

    def _failed(self, batch: list[_Waiting], error: Exception) -> None:
        """Find out whose fault it was, if it was an operation's; else nobody's operation is stored."""
        trouble = _trouble(error)
        if trouble in (Trouble.OPERATION, Trouble.CONTENDED) and sum(len(waiting.values) for waiting in batch) > 1:
            for waiting in batch:
                self._write_alone(waiting)
            return  # whoever is left after a breakdown is refused when the thread ends
        if trouble is Trouble.BROKEN:
            self.failed = error_token(error)  # the loop ends; what failed at a sync must not be tried again
        for waiting in batch:
            waiting.answer([_for_caller(error, trouble)] * len(waiting.values))

    def _write_alone(self, waiting: _Waiting) -> None:
        """Write each operation in a transaction of its own."""
        answers: list[Any] = []
        for value in waiting.values:
            if self.failed is not None:
                answers.append(Unavailable("the store has failed"))
                continue
            one = _Waiting(waiting.verb, (value,))
            self._write([one])
            answers += one.wait()
        waiting.answer(answers)


def _together(connection: sa.Connection, batch: Sequence[_Waiting]) -> list[tuple[_Waiting, Sequence[Any]]]:
    """Write a batch sorted by verb. Its operations come from different threads, so that any order is right."""
    kinds: dict[str, list[_Waiting]] = {}
    for waiting in batch:
        kinds.setdefault(waiting.verb.name, []).append(waiting)
    results: list[tuple[_Waiting, Sequence[Any]]] = []
    for group in kinds.values():
        verb = group[0].verb
        values = [value for waiting in group for value in waiting.values]
        if verb.together is None or len(values) == 1:
            answers: Sequence[Any] = [verb.alone(connection, value) for value in values]
        else:
            answers = verb.together(connection, values)
        at = 0
        for waiting in group:
            results.append((waiting, answers[at : at + len(waiting.values)]))
            at += len(waiting.values)
    return results


def _refuse(batch: Sequence[_Waiting], why: str) -> None:
    for waiting in batch:
        if waiting.answers is None:
            waiting.answer([Unavailable(why)] * len(waiting.values))


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
