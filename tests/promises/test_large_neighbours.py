"""Large documents beside small ones: receipts of the small are hardly later, and the memory of the large comes back.

``XOEV_HUB_SOAK=200`` hands in so many large documents (`make soak`); the figures are printed.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.anlagen import MB, Anlagen, antrag, pdf
from tests.daemon import Daemon, children_of, until
from tests.leinen import TOKENS, folder_out, leinen, soap

SOAK = int(os.environ.get("XOEV_HUB_SOAK", "12"))
SENDERS = 3  # of large documents at once
SIZES = (31.5, 3.0, 6.0, 12.0, 21.0)  # MB of the attachment: the first makes 42 MB, the others what glibc likes to keep
TURNS = 2
SMALL = 60  # receipts per turn without a large one beside them
LARGE = 4  # per turn, two at once: as many as there are workers
FLOOR_SECONDS = (
    0.250  # below this nobody waits for anybody, on however busy a machine; a worker that is kept is kept for seconds
)

# A process of its own, so that what measures the small ones is not busy with the large ones itself.
SENDER = """\
import concurrent.futures, http.client, sys
host, token, *files = sys.argv[1:]
def send(name):
    connection = http.client.HTTPConnection(host, timeout=120)
    with open(name, "rb") as body:
        head = {"Content-Type": "application/xml", "Authorization": "Bearer " + token}
        head["Content-Length"] = str(body.seek(0, 2))
        body.seek(0)
        connection.request("POST", "/v1/messages", body, head)
    return connection.getresponse().status
with concurrent.futures.ThreadPoolExecutor(2) as threads:
    print(*threads.map(send, files))
"""


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("fach", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


def deployment(folder: Path, **large: Mapping[str, Any]) -> Anlagen:
    return Anlagen(folder, {"nordheim": folder_out("out/klein")}, large, mapped=frozenset({"akten"}))


# --- how much later


def test_a_stream_of_42_mb_documents_delays_small_receipts_at_most_threefold(tmp_path: Path) -> None:
    made = deployment(tmp_path / "hub", akten=folder_out("out/akten"), original=folder_out("out/original"))
    with Daemon(made) as hub:
        alone, beside = compared(hub, tmp_path)

    for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
        print(f"{name} alone {quantile(alone, share) * 1000:.1f} ms, beside {quantile(beside, share) * 1000:.1f} ms")
    assert len(beside) >= SMALL, "the large ones have taken their time"
    assert quantile(beside, 0.95) <= max(3 * quantile(alone, 0.95), FLOOR_SECONDS)
    assert quantile(beside, 0.99) <= max(3 * quantile(alone, 0.99), 2 * FLOOR_SECONDS)


def compared(hub: Daemon, folder: Path) -> tuple[list[float], list[float]]:
    """Return how long receipts of small documents took, without and with large ones beside them, turn by turn."""
    attachment = pdf(int(31.5 * MB))
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(SMALL):
        receipt(hub)  # threads and connections come with the first

    for turn in range(TURNS):
        alone += [receipt(hub) for _ in range(SMALL)]
        files = [folder / f"gross-{turn}-{number}.xml" for number in range(LARGE)]
        for file in files:
            file.write_bytes(antrag(attachment))
        with stream(hub, files) as large:
            while large.poll() is None:
                beside.append(receipt(hub))
        until(lambda: not hub.messages("--state", "open"), "what came is delivered", 120)
    return alone, beside


def receipt(hub: Daemon) -> float:
    """Hand a small document in; return how many seconds its receipt took."""
    body, started = leinen(), time.monotonic()
    assert hub.hand_in(body).status_code == 202
    return time.monotonic() - started


@contextmanager
def stream(hub: Daemon, files: list[Path]) -> Iterator[subprocess.Popen[str]]:
    host = f"127.0.0.1:{hub.deployment.port}"
    command = [sys.executable, "-c", SENDER, host, TOKENS["portal"], *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sending:
        yield sending
        said, _ = sending.communicate(timeout=300)
    assert said.split() == ["202"] * len(files)


def quantile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[math.ceil(len(seconds) * share) - 1]


# --- how much memory


def test_memory_stays_bounded_and_is_given_back(tmp_path: Path, procedure: SoapProcedure) -> None:
    made = deployment(tmp_path / "hub", akten=folder_out("out/akten"), fach=soap(procedure.address))
    attachments = [pdf(int(size * MB), number) for number, size in enumerate(SIZES)]

    def hand_in(number: int) -> None:
        delivered(hub, antrag(attachments[number // 2 % len(attachments)] if number % 2 else attachments[0]))

    with Daemon(made) as hub, ThreadPoolExecutor(SENDERS) as senders:
        for _ in range(30):
            receipt(hub)
        list(senders.map(hand_in, range(SENDERS)))  # what is loaded on first use is no growth
        before = settled(hub)
        with watched(hub) as most:
            list(senders.map(hand_in, range(SOAK)))
        after = settled(hub)
        spooled = list((hub.state / "spool").iterdir())

    print(f"{SOAK} documents: PSS of all processes {before} MB before, {most[0]} MB at most, {after} MB after")
    assert after <= before + 40, "what the large ones took has been given back"
    assert most[0] <= before + 1200, "and there was never more of it than some copies of those in hand"
    assert spooled == []


def delivered(hub: Daemon, body: bytes) -> None:
    answer = hub.hand_in(body)
    assert answer.status_code == 202, answer.text
    id_ = answer.json()["id"]
    until(lambda: hub.status(id_).json()["status"] == "delivered", "it is delivered", 120)
    for path in (hub.deployment.folder / "out" / "akten").glob("*.xml"):
        path.unlink(missing_ok=True)


def settled(hub: Daemon) -> int:
    """Return the PSS of all the hub's processes in MB once the extra workers have gone."""
    until(lambda: len(hub.workers()) == 2, "the standing workers are alone again")
    return min(pss(hub) for _ in range(5))


@contextmanager
def watched(hub: Daemon) -> Iterator[list[int]]:
    """Give the largest PSS of all processes so far, in MB."""
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.05):
            most[0] = max(most[0], pss(hub))

    with ThreadPoolExecutor(1) as thread:
        watching = thread.submit(watch)
        try:
            yield most
        finally:
            stop.set()
        watching.result()  # what was not watched to the end says nothing


def pss(hub: Daemon) -> int:
    assert hub.process is not None
    return sum(map(_pss, _tree(hub.process.pid))) // 1000


def _tree(pid: int) -> list[int]:
    return [pid, *(below for child in children_of(pid) for below in _tree(child))]


def _pss(pid: int) -> int:
    """Return the proportional set size of a process in kB, nothing if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
