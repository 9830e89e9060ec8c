"""What a store costs that has grown: `python -m bench.growth [--messages N] [--store sqlite|postgresql] [--json FILE]`.

    cost    accept, claim and settle a message in an empty store and in a full one, in turn; CPU and time, as a ratio
    pages   the first page of listings in the full one
    purge   receipts while nothing is erased, and while 100,000 messages are: the p99 of both, as a ratio

In one process, without a daemon: it is the store that grows. A full store is filled by the database's own means.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from hub.daemon.retention import Retention
from hub.delivery import EventKind
from hub.deployment import Source
from hub.plugin import Settings
from hub.store import migrate
from hub.store.api import Filter
from hub.store.sql import SqlStore
from tests.growing import SOURCE, fill, received
from tests.servers import fresh_database
from tests.storing import Place, acceptance, claim_one, settle

BODY = b"x" * 2_500  # 10 KB of XML, packed
PURGED = 100_000
ROUND = 200
SENDERS = 4


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="in the full store; each has two deliveries")
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where the stores lie; a disk, not memory")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder) as name, _two(options.store, Path(name)) as (empty, full):
        began = time.monotonic()
        fill(full.url, options.messages, body=BODY)
        found: dict[str, Any] = {"store": options.store, "deliveries": 2 * options.messages}
        found["filled in s"] = round(time.monotonic() - began)
        stores = empty.open(), full.open()
        found |= _cost(*stores, options.rounds)
        found |= _pages(stores[1], options.messages)
        found |= _purge(stores[1], min(PURGED, options.messages // 2))
        for store in stores:
            store.close()
    for what, figure in found.items():
        sys.stdout.write(f"{what:34} {figure}\n")
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


@contextmanager
def _two(kind: str, folder: Path) -> Iterator[tuple[Place, Place]]:
    if kind == "sqlite":
        places = [Place(f"sqlite:///{folder}/{name}/hub.db", folder / name) for name in ("empty", "full")]
        for place in places:
            place.open().close()
        yield places[0], places[1]
        return
    with fresh_database() as first, fresh_database() as second:
        for url in (first, second):
            migrate(url)
        yield Place(first, folder), Place(second, folder)


# --- cost per message ---------------------------------------------------------------------------------------------


def _cost(empty: SqlStore, full: SqlStore, rounds: int) -> dict[str, Any]:
    figures: dict[str, list[tuple[float, float]]] = {"empty": [], "full": []}
    for _ in range(rounds + 1):
        for name, store in (("empty", empty), ("full", full)):
            figures[name].append(_round(store))
    cpu, took = ({name: min(one[at] for one in rest[1:]) for name, rest in figures.items()} for at in (0, 1))
    return {
        "CPU us per message, empty": round(cpu["empty"]), "CPU us per message, full": round(cpu["full"]),
        "CPU full : empty": round(cpu["full"] / cpu["empty"], 2),
        "ms per message, empty": round(took["empty"] / 1000, 2), "ms per message, full": round(took["full"] / 1000, 2),
        "time full : empty": round(took["full"] / took["empty"], 2),
    }  # fmt: skip


def _round(store: SqlStore) -> tuple[float, float]:
    """Take messages in and deliver them, one after the other; return CPU and time for each, in microseconds."""
    cpu, began = time.process_time(), time.monotonic()
    for _ in range(ROUND):
        store.accept(acceptance(body=BODY, destinations=("bench/one",)))
        settle(store, claim_one(store, "bench/one"), EventKind.DELIVERED)
    return (time.process_time() - cpu) / ROUND * 1e6, (time.monotonic() - began) / ROUND * 1e6


def _pages(store: SqlStore, count: int) -> dict[str, Any]:
    asked: dict[str, Callable[[], object]] = {
        "newest": lambda: store.find(Filter(), limit=100),
        "dead": lambda: store.find(Filter(state="dead"), limit=100),
        "by destination, in the middle": lambda: store.find(
            Filter(destination="statistik/las"), limit=100, after=str(count // 2)
        ),
        "by municipality": lambda: store.find(Filter(municipality="town-120"), limit=100),
        "by type": lambda: store.find(Filter(type="antrag/1.0/antrag.0105"), limit=100),
        "counts (metrics)": store.counts,
    }
    return {f"page, ms: {name}": _median(ask) for name, ask in asked.items()}


def _median(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        began = time.monotonic()
        ask()
        times.append((time.monotonic() - began) * 1000)
    return round(statistics.median(times), 1)


# --- purge --------------------------------------------------------------------------------------------------------


def _purge(store: SqlStore, wanted: int) -> dict[str, Any]:
    calm = _receipts(store, lambda: time.sleep(10))
    source = Source(SOURCE, "http", Settings(), (), keep_accepted=timedelta(days=1))
    clock = lambda: received(wanted) + timedelta(days=1, seconds=1)  # noqa: E731
    began = time.monotonic()
    rest = threading.Event().wait
    busy = _receipts(store, lambda: Retention(store, clock, rest).erase({SOURCE: source}, lambda: None))
    took = time.monotonic() - began
    return {
        "erased": wanted, "erased in s": round(took), "receipts a second, calm": calm[2],
        "receipts a second, erasing": busy[2], "receipt p50 ms, calm": calm[0], "receipt p50 ms, erasing": busy[0],
        "receipt p99 ms, calm": calm[1], "receipt p99 ms, erasing": busy[1],
        "p99 erasing : calm": round(busy[1] / calm[1], 2),
    }  # fmt: skip


def _receipts(store: SqlStore, meanwhile: Callable[[], object]) -> tuple[float, float, int]:
    """Take messages in while something else happens; return p50 and p99 of a receipt, and how many a second."""
    times: list[float] = []
    over = threading.Event()

    def hand_in() -> None:
        while not over.is_set():
            began = time.monotonic()
            store.accept(acceptance(body=BODY, destinations=("bench/two",)))
            times.append((time.monotonic() - began) * 1000)
            over.wait(0.01)  # a sender is no machine gun

    threads = [threading.Thread(target=hand_in) for _ in range(SENDERS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    meanwhile()
    over.set()
    for thread in threads:
        thread.join()
    rate = round(len(times) / (time.monotonic() - began))
    cuts = statistics.quantiles(times, n=100)
    return round(cuts[49], 2), round(cuts[98], 2), rate


if __name__ == "__main__":
    sys.exit(main())
