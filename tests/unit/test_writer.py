"""Group commit: who shares a transaction, who is answered when, and what an error does to the neighbours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from hub.errors import Conflict, StoreError, Unavailable
from hub.store import writer as module
from hub.store.database import sqlite_engine
from hub.store.writer import Unexpected, Verb, Writer

TABLE = sa.table("number", sa.column("value", sa.Integer))


class Bench:
    """A writer over a table of numbers, whose thread a test can stop in order to fill the queue."""

    def __init__(self, folder: Path) -> None:
        self.engine = sqlite_engine(folder / "bench.db", writes=True)
        self.reading = sqlite_engine(folder / "bench.db", writes=False)
        self.commits = 0
        self.log: list[str] = []
        with self.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE number (value INTEGER PRIMARY KEY CHECK (value < 100))")
        sa.event.listen(self.engine, "commit", lambda _connection: self._count())
        self.writer = Writer(self.engine)
        self.insert = Verb("insert", self._alone, self._together)

    def _count(self) -> None:
        self.commits += 1

    def _alone(self, connection: sa.Connection, value: int) -> str:
        self.log.append(f"alone {value}")
        connection.execute(sa.insert(TABLE), {"value": value})
        return f"stored {value}"

    def _together(self, connection: sa.Connection, values: list[int]) -> list[str]:
        self.log.append(f"together {len(values)}")
        if 77 in values:
            raise Unexpected
        connection.execute(sa.insert(TABLE), [{"value": value} for value in values])
        return [f"stored {value}" for value in values]

    def stored(self) -> list[int]:
        with self.reading.begin() as connection:
            return list(connection.execute(sa.select(TABLE.c.value).order_by(TABLE.c.value)).scalars())

    def together(self, *operations: tuple[Verb, object]) -> list[object]:
        """Run operations from as many threads, all queued before the writer takes the first; return their answers."""
        busy, go_on = threading.Event(), threading.Event()

        def stop(_connection: sa.Connection, _value: None) -> None:
            busy.set()
            go_on.wait()

        def run(verb: Verb, value: object) -> object:
            try:
                return self.writer.run(verb, value)
            except Exception as error:
                return error

        with ThreadPoolExecutor(len(operations) + 1) as threads:
            stopped = threads.submit(run, Verb("stop", stop), None)
            busy.wait()
            answers = []
            for number, (verb, value) in enumerate(operations, start=1):
                answers.append(threads.submit(run, verb, value))
                while self.writer._queue.qsize() < number:  # in this order
                    pass
            go_on.set()
            stopped.result()
            return [answer.result() for answer in answers]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.writer.close()
    bench.engine.dispose()
    bench.reading.dispose()


def test_what_has_queued_up_shares_one_statement_and_one_commit(bench: Bench):
    answers = bench.together(*((bench.insert, number) for number in range(10)))

    assert answers == [f"stored {number}" for number in range(10)]
    assert bench.log == ["together 10"]
    assert bench.commits == 2  # the one that was under way, and the batch
    assert bench.stored() == list(range(10))


def test_a_batch_is_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "BATCH_MAX", 4)

    bench.together(*((bench.insert, number) for number in range(10)))

    assert bench.log == ["together 4", "together 4", "together 2"]


@pytest.mark.parametrize("bad", [3, 77, 100, "x\udc80", object()])
def test_one_bad_operation_never_fails_its_neighbours(bench: Bench, bad: object):
    bench.writer.run(bench.insert, 3)

    answers = bench.together((bench.insert, 1), (bench.insert, bad), (bench.insert, 2))

    assert (answers[0], answers[2]) == ("stored 1", "stored 2")
    assert (answers[1] == "stored 77") if bad == 77 else isinstance(answers[1], StoreError)
    assert bench.stored() == [1, 2, 3, *([77] if bad == 77 else [])]


def test_an_operation_that_refuses_itself_has_written_nothing(bench: Bench):
    def conflict(connection: sa.Connection, value: int) -> None:
        connection.execute(sa.insert(TABLE), {"value": value})
        raise Conflict("somebody else was first")

    answers = bench.together((bench.insert, 1), (Verb("conflict", conflict), 2))

    assert answers[0] == "stored 1"
    assert isinstance(answers[1], Conflict)
    assert bench.stored() == [1]


def test_the_errors_of_neighbours_are_their_own_and_quote_no_values(bench: Bench):
    bench.writer.run(bench.insert, 3)

    answers = bench.together((bench.insert, 3), (bench.insert, 3))

    assert answers[0] is not answers[1]
    assert {str(answer) for answer in answers} == {"the operation cannot be stored (SQLITE_CONSTRAINT_PRIMARYKEY)"}
    assert all(answer.__cause__ is None and answer.__context__ is None for answer in answers)


def test_nobody_is_answered_before_the_commit(bench: Bench):
    seen: list[list[int]] = []
    sa.event.listen(bench.engine, "commit", lambda _connection: seen.append(bench.stored()))

    bench.writer.run(bench.insert, 1)

    assert seen == [[]]  # just before the commit nobody else saw it
    assert bench.stored() == [1]


def test_a_full_queue_refuses_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "QUEUE_MAX", 2)
    bench = Bench(tmp_path)
    busy, go_on = threading.Event(), threading.Event()
    stop = Verb("stop", lambda _connection, _value: (busy.set(), go_on.wait()))

    with ThreadPoolExecutor(3) as threads:
        threads.submit(bench.writer.run, stop, None)
        busy.wait()
        queued = [threads.submit(bench.writer.run, bench.insert, number) for number in (1, 2)]
        while bench.writer._queue.qsize() < 2:
            pass
        with pytest.raises(Unavailable):
            bench.writer.run(bench.insert, 3)
        go_on.set()

    assert [future.result() for future in queued] == ["stored 1", "stored 2"]
    bench.writer.close()


def test_a_bug_ends_the_writer_and_leaves_nobody_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)

    def bug(_connection: sa.Connection, _value: None) -> None:
        raise LookupError("ours")

    answers = bench.together((bench.insert, 1), (Verb("bug", bug), None), (bench.insert, 2))

    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert bench.writer.failed == "crashed"
    assert bench.stored() == []
    with pytest.raises(Unavailable):
        bench.writer.run(bench.insert, 3)


def test_closing_writes_what_is_queued_and_then_refuses(bench: Bench):
    closing = threading.Event()

    def close_meanwhile(_connection: sa.Connection, _value: None) -> None:
        threading.Thread(target=lambda: (closing.set(), bench.writer.close())).start()
        closing.wait()

    answers = bench.together((Verb("close", close_meanwhile), None), (bench.insert, 1), (bench.insert, 2))

    assert answers == [None, "stored 1", "stored 2"]
    bench.writer.close()
    with pytest.raises(Unavailable):
        bench.writer.run(bench.insert, 3)


def test_an_end_that_queues_behind_operations_still_ends_the_writer(bench: Bench):
    busy, go_on = threading.Event(), threading.Event()

    def stop(_connection: sa.Connection, _value: None) -> None:
        busy.set()
        go_on.wait()

    with ThreadPoolExecutor(3) as threads:
        threads.submit(bench.writer.run, Verb("stop", stop), None)
        busy.wait()
        answer = threads.submit(bench.writer.run, bench.insert, 1)
        while bench.writer._queue.qsize() < 1:
            pass
        threads.submit(bench.writer.close)
        while bench.writer._queue.qsize() < 2:  # the operation and, behind it, the end
            pass
        go_on.set()
        answer.result()

    assert bench.stored() == [1]
    assert not bench.writer._thread.is_alive()
