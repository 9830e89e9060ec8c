"""A job on many dead letters in a running hub, which is killed in between. The memory that it takes does not grow.

``XOEV_HUB_STORM=1`` (make storm) takes 10,000 of them, and measures what senders notice; the suite takes 400.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import requests

from hub.delivery import Delivery
from hub.store.api import Filter
from hub.store.sql import SqlStore
from tests.daemon import Daemon, until
from tests.dead_letters import DESTINATION, done_of, put_dead, reading, results_of, url_of
from tests.leinen import TOKENS, Leinen, folder_out, leinen
from tests.proving.record import STORM, record

COUNT = 10_000 if STORM else 400
GROWTH_MAX = 50_000  # kB
REASON = ("--reason", "Fachverfahren läuft wieder")
SECONDS = 1800.0 if STORM else 240.0


class Watched(threading.Thread):
    """Reads how much memory the daemon has, again and again, and remembers the most."""

    def __init__(self, hub: Daemon) -> None:
        super().__init__(daemon=True)
        self.hub, self.done = hub, threading.Event()
        self.most = 0

    def run(self) -> None:
        while not self.done.wait(0.1):
            if (process := self.hub.process) is not None:
                self.most = max(self.most, rss(process.pid))


def rss(pid: int) -> int:
    """Return the resident memory of a process in kB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def submitted(hub: Daemon, count: int, *more: str) -> str:
    """Submit the job as an operator does, and return its id as soon as it is written down."""
    asking = hub.start_cli("replay", "--state", "dead", "--confirm", str(count), *more, *REASON)
    with reading(url_of(hub.deployment.folder), hub.state) as store:
        (job,) = until(store.jobs.unfinished, "the job is written down")
    asking.kill()
    asking.wait()
    return job.id


@pytest.mark.timeout(2400 if STORM else 400)
def test_every_item_has_one_result_though_the_hub_is_killed_twice(tmp_path: Path) -> None:
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out/nordheim")})
    put_dead(url_of(tmp_path), tmp_path / "var", COUNT)
    hub = Daemon(deployment)
    watched = Watched(hub)
    with hub, reading(url_of(tmp_path), hub.state) as store:
        assert hub.process is not None
        idle = rss(hub.process.pid)
        watched.start()
        job = submitted(hub, COUNT, "--rate", "1000/s")
        for part in (COUNT // 4, COUNT // 2):
            until(lambda part=part: done_of(store, job) >= part, f"{part} are done", SECONDS)
            hub.kill()
            hub.start()
        until(lambda: is_over(store, job), "the job is over", SECONDS)
        until(lambda: len(arrived(tmp_path)) == COUNT, "all have arrived", SECONDS)
        watched.done.set()

        assert results_of(store, job) == {"done": COUNT}
        counted = Counter(one.state for one in every_delivery(store))
        assert counted == {"closed": COUNT, "delivered": COUNT}
        replaced = Counter(one.replay_of for one in every_delivery(store) if one.replay_of)
        assert (len(replaced), set(replaced.values())) == (COUNT, {1})
    growth = watched.most - idle
    assert growth <= GROWTH_MAX
    record(
        "P19",
        "a replay of many, the hub killed twice in between",
        {"items": COUNT, "kills": 2, "results": COUNT, "arrived twice": 0, "growth of memory in kB": growth},
        "XOEV_HUB_STORM=1 python -m pytest tests/promises/test_jobs_in_service.py",
    )


def is_over(store: SqlStore, job: str) -> bool:
    found = store.jobs.find(job)
    return found is not None and found.state == "done"


def arrived(folder: Path) -> list[Path]:
    return list((folder / "out/nordheim").glob("*.xml"))


def every_delivery(store: SqlStore) -> list[Delivery]:
    found: list[Delivery] = []
    after = 0
    while page := store.find_deliveries(Filter(destination=DESTINATION), after=after):
        found += page
        after = page[-1].seq
    return found


# --- what senders notice ------------------------------------------------------------------------------------------


@pytest.mark.skipif(not STORM, reason="measures time: XOEV_HUB_STORM=1 (make storm)")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rate", ["", "5/s"], ids=["no-rate", "five-a-second"])
def test_senders_do_not_notice_a_job(tmp_path: Path, rate: str) -> None:
    """The slowest of twenty receipts takes at most half as long again: alone, beside the job, alone, and so on."""
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out/nordheim"), "suedheim": folder_out("out/suedheim")})
    put_dead(url_of(tmp_path), tmp_path / "var", 1_500)
    with Daemon(deployment) as hub, reading(url_of(tmp_path), hub.state) as store:
        receipts(hub, 200)  # warm
        job = submitted(hub, 1_500, *(("--rate", rate) if rate else ()))
        alone, beside = [], []
        for _ in range(5):  # in turns: the machine has moods
            assert hub.cli("jobs", "pause", job, *REASON).returncode == 0
            alone += receipts(hub, 300)
            before = done_of(store, job)
            assert hub.cli("jobs", "resume", job, *REASON).returncode == 0
            beside += receipts(hub, 300)
            assert before < done_of(store, job) < 1_500, "the job has not run: this proves nothing"
    ratio = p95(beside) / p95(alone)
    assert ratio <= 1.5, (p95(alone), p95(beside))
    figures = {
        "receipts each": len(beside), "p95 alone, ms": round(p95(alone) * 1000, 1),
        "p95 beside it, ms": round(p95(beside) * 1000, 1), "ratio": round(ratio, 2),
    }  # fmt: skip
    command = "XOEV_HUB_STORM=1 python -m pytest tests/promises/test_jobs_in_service.py"
    record("P19", f"receipts while a job runs at {rate or 'its own pace'}", figures, command)


def receipts(hub: Daemon, count: int) -> list[float]:
    """Hand documents in over one connection, 40 a second, and return how long each receipt took."""
    found: list[float] = []
    headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKENS['portal']}"}
    with requests.Session() as session:
        for _ in range(count):
            body, begun = leinen(1), time.monotonic()
            assert session.post(hub.url, data=body, headers=headers, timeout=60).status_code == 202
            found.append(time.monotonic() - begun)
            time.sleep(max(0.025 - found[-1], 0))
    return found


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]
