"""Operations that share one batch of a store's writer for certain, and what came of it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from hub.delivery import Delivery, Event, EventKind
from hub.errors import HubError
from hub.store.api import Change, Settlement
from hub.store.sql import SqlStore
from hub.store.writer import Verb
from tests.daemon import until
from tests.storing import GEWERBE, LEASE, NOW, acceptance

Call = Callable[[], Any]


@dataclass
class Batch:
    """What operations answered that were written in one batch, and how often the writer tried."""

    answers: list[Any]
    failed: list[HubError]
    commits: int
    rollbacks: int


def together(store: SqlStore, *calls: Call) -> Batch:
    """Run operations from as many threads, all queued before the writer takes the first of them."""
    busy, go_on = threading.Event(), threading.Event()

    def stop(_connection: sa.Connection, _value: None) -> None:
        busy.set()
        assert go_on.wait(60)

    def run(call: Call) -> Any:
        try:
            return call()
        except HubError as error:
            return error

    ends: Counter[str] = Counter()

    def count(name: str, _connection: sa.Connection) -> None:
        ends[name] += threading.current_thread() is store._writer._thread  # others read meanwhile

    engine = store._foundation.writing
    watching = {name: partial(count, name) for name in ("commit", "rollback")}
    for name, watch in watching.items():
        sa.event.listen(engine, name, watch)
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        stopped = threads.submit(store._writer.run, Verb("stop", stop), None)
        assert busy.wait(60)
        running = []
        for number, call in enumerate(calls, start=1):
            running.append(threads.submit(run, call))
            until(lambda: store._writer._queue.qsize() == number, "it is in the queue")  # noqa: B023
        go_on.set()
        stopped.result(60)
        answers = [one.result(60) for one in running]
    for name, watch in watching.items():
        sa.event.remove(engine, name, watch)
    failed = [answer for answer in answers if isinstance(answer, HubError)]
    return Batch(answers, failed, ends["commit"] - 1, ends["rollback"])


def settling(store: SqlStore, before: Delivery, kind: EventKind = EventKind.DELIVERED, **beside: Any) -> Call:
    """Return the call that says how an attempt ended."""
    return partial(store.apply, Change((Settlement(before, Event(kind, NOW), **beside),), message_id=before.message_id))


def claimed(store: SqlStore, count: int) -> list[Delivery]:
    """Accept so many messages and claim their deliveries."""
    for number in range(count):
        store.accept(acceptance(f"given-{number}"))
    return list(store.claim(GEWERBE, now=NOW, limit=count, owner="node-1", lease=LEASE))
