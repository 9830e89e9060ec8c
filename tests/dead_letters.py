"""Many dead letters at once, written into a store before its daemon starts: handing them in would take minutes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hub.store import open_store
from hub.store.sql import SqlStore
from tests.leinen import leinen
from tests.storing import acceptance

DESTINATION = "nordheim/leinen"


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder}/var/hub.db"


def put_dead(url: str, state_dir: Path, count: int, body: Callable[[int], bytes] = lambda _number: leinen(0)) -> None:
    """Keep so many messages whose delivery was refused."""
    store = open_store(url, state_dir=state_dir, mode="daemon")

    def put(number: int) -> None:
        store.accept(
            acceptance(
                body=body(number), sender="portal", owner="nordheim", destinations=(DESTINATION,), dead="refused",
                type_="leinen/1.0/anmeldung",
            )
        )  # fmt: skip

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(put, range(count)))
    store.close()


@contextmanager
def reading(url: str, state_dir: Path) -> Iterator[SqlStore]:
    """Give a store beside its daemon, to read in."""
    store = open_store(url, state_dir=state_dir, mode="cli")
    try:
        yield store
    finally:
        store.close()


def done_of(store: SqlStore, job: str) -> int:
    """Return how many items of a job have a result."""
    progress = store.jobs.progress([job]).get(job, {})
    return sum(count for result, count in progress.items() if result != "left")


def results_of(store: SqlStore, job: str) -> Counter[str]:
    """Return the results of a job, each item read by itself."""
    found: Counter[str] = Counter()
    after = -1
    while page := store.jobs.items(job, after=after):
        found.update(one.result or "left" for one in page)
        after = page[-1].position
    return found
