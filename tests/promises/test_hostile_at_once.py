"""P25: the hostile corpus all at once, over HTTP, byte for byte, as files and in a queue, beside good traffic.

One by one each case is judged in the tests named ``hostile``. Here all come together: every one lands in its class
again, good documents go on, the daemon and its memory stay as they are. Cases whose point is to be slow have their
bounds in ``test_http_hostile.py``; here they are only connections among others.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.apart import MARK, SenderApart, Sent
from tests.daemon import until
from tests.leinen import TOKENS, Leinen
from tests.promises.test_hostile_xml import CANARY, HOSTILE, MESSAGE, Case, RunningHub, listed, load
from tests.promises.test_http_hostile import BY_CONTRACT, PACED, WITHOUT_TOKEN
from tests.proving.record import STORM, record
from tests.queue_inbox import Inbox
from tests.servers import amqp_url
from tests.soap_peer import canary_server

ROUNDS = 10 if STORM else 1
GOOD_AT_LEAST, GOOD_EVERY = 200, 0.025
SLOW = PACED | {"H07", "H27"}  # they end when their time is over, a minute and more (H27: below this hub's limit)
COMMAND = "make test ARGS=tests/promises/test_hostile_at_once.py"
AMT = {"Authorization": f"Bearer {TOKENS['amt']}", "Content-Type": "application/xml"}

pytestmark = pytest.mark.timeout(3600 if STORM else 600)


class Everywhere(RunningHub):
    """The hub of the one-by-one tests, with a folder and a queue besides."""

    def __init__(self, queue: str, reject_to: str) -> None:
        super().__init__()
        self.queue, self.reject_to = queue, reject_to

    def deployment(self) -> Leinen:
        made = super().deployment()
        made.file("secrets/broker", amqp_url())
        made.routes["inbound"]["ablage"] = {"adapter": "folder", "path": "in", "sender": "portal", "every": "300ms"}
        made.routes["inbound"]["schlange"] = {
            "adapter": "amqp", "url": "file:secrets/broker", "queue": self.queue, "reject_to": self.reject_to,
            "sender": "portal", "max_body": "100MB", "insecure": "test",
        }  # fmt: skip
        self.inbox = made.folder / "in"
        self.inbox.mkdir()
        return made


@pytest.fixture
def queue() -> Iterator[Inbox]:
    inbox = Inbox(amqp_url())
    yield inbox
    inbox.delete()


@pytest.fixture
def everywhere(queue: Inbox) -> Iterator[Everywhere]:
    topology = queue.topology
    topology.queue("rejected-here")
    hub = Everywhere(f"{topology.name}.in", f"{topology.exchange}/rejected-here")
    yield hub
    hub.end()


def raw_cases() -> dict[str, Any]:
    found = json.loads((HOSTILE / "cases.json").read_text("utf-8"))["cases"]
    return {case["id"]: case for case in found if case["group"] == "http" and case["id"] not in PACED}


def send_raw(case: dict[str, Any], port: int) -> int:
    """Send a case byte for byte, and return the status of the one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=90) as sender:
        answer = b""
        try:
            sender.sendall(request_of(case))
            while chunk := sender.recv(65536):
                answer += chunk
        except OSError:
            pass
    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") <= 1
    return int(answer.split(b" ", 2)[1]) if answer else 0


def request_of(case: dict[str, Any]) -> bytes:
    request = (HOSTILE / "cases" / case["file"]).read_bytes().replace(b"/in/antrag", b"/v1/messages", 1)
    if case["id"] not in WITHOUT_TOKEN:
        newline = b"\r\n" if b"\r\n" in request else b"\n"
        login = b"Authorization: Bearer " + TOKENS["portal"].encode()
        request = request.replace(newline, newline + login + newline, 1)
    return request


def judged(hub: Everywhere, case: Case) -> str:
    """Return the code under which a case ends; who is told to come again comes again."""
    while (verdict := hub(case)).code == "unavailable":
        threading.Event().wait(0.5)
    assert CANARY not in verdict.told
    return verdict.code


def files(folder: Path, cases: dict[str, Case]) -> int:
    """Drop every case as a file, and those whose hostility is in the name or in what they are."""
    names = [os.fsencode(f"{id_}.xml") for id_ in cases]
    bodies = [case.body for case in cases.values()]
    names += [b"-rf.xml", b"a\nb.xml", b"\x1b[2J.xml", b"..%2f..%2fx.xml", b"\xff.xml"]
    bodies += [MESSAGE] * 5
    for name, body in zip(names, bodies, strict=True):
        hidden = os.path.join(os.fsencode(folder), b".new")
        with open(hidden, "wb") as file:
            file.write(body)
        os.rename(hidden, os.path.join(os.fsencode(folder), name))
    os.mkfifo(folder / "pipe.xml")
    return len(names)


class Corpus:
    """All cases, and what is found wrong with how they end."""

    def __init__(self, hub: Everywhere, queue: Inbox, url: str, secret: Path) -> None:
        self._hub, self._queue = hub, queue
        self.cases = {id_: load(id_, url, str(secret)) for id_ in listed()}
        self.small = {id_: case for id_, case in self.cases.items() if len(case.body) < 1_000_000}
        self.raw = raw_cases()
        self.wrong: list[tuple[str, str]] = []
        self.dropped = 0

    def all_at_once(self) -> None:
        """Send everything, again and again, and wait until all of it has been judged."""
        port = self._hub.daemon.deployment.port
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in SLOW & self.raw.keys()]
        for sender, id_ in zip(slow, sorted(SLOW & self.raw.keys()), strict=True):
            sender.sendall(request_of(self.raw[id_]))
        self.dropped = files(self._hub.inbox, self.small)
        with ThreadPoolExecutor(24) as threads:
            for _ in range(ROUNDS):
                self._round(threads, port)
        until(lambda: left(self._hub.inbox) == 1, "every file has been judged; the pipe stays", 240)
        until(lambda: self._queue.topology.depth("in") == 0, "the queue is empty", 240)
        for sender in slow:
            sender.close()

    def _round(self, threads: ThreadPoolExecutor, port: int) -> None:
        xml = {id_: threads.submit(judged, self._hub, case) for id_, case in self.cases.items()}
        http = {id_: threads.submit(send_raw, self.raw[id_], port) for id_ in self.raw.keys() - SLOW}
        for case in self.small.values():
            self._queue.publish(case.body)
        self.wrong += [(id_, one.result()) for id_, one in xml.items() if one.result() not in self.cases[id_].expected]
        for id_, status in http.items():
            if status.result() not in (BY_CONTRACT.get(id_, self.raw[id_]["http"]), 503):
                self.wrong.append((id_, str(status.result())))


def test_the_whole_corpus_at_once_beside_good_traffic(everywhere: Everywhere, queue: Inbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    daemon = everywhere.daemon
    good = MESSAGE.replace(b"</a:name>", f" {MARK}</a:name>".encode()).decode()
    with canary_server() as (url, hits), SenderApart(daemon, good, every=GOOD_EVERY) as sender:
        corpus = Corpus(everywhere, queue, url, secret)
        sender.during(lambda: None, GOOD_AT_LEAST)  # warm
        alone = sender.during(lambda: None, GOOD_AT_LEAST)
        beside = sender.during(corpus.all_at_once)
        after = sender.during(lambda: None, GOOD_AT_LEAST)

    assert corpus.wrong == []
    assert hits == []
    assert CANARY not in daemon.log.read_text("utf-8")
    assert daemon.ready()
    assert requests.post(daemon.url, data=b"<a/>", headers=AMT, timeout=60).status_code == 422
    assert "xoev_hub_worker_deaths_total 0.0" in daemon.asked("/metrics")
    assert judged_files(everywhere.inbox) == corpus.dropped
    told = Sent(alone.answers + after.answers)
    assert {status for status, _ in told.answers + beside.answers} <= {202, 503}
    ratio = beside.p95() / told.p95()
    figures = {
        "documents": len(corpus.cases), "raw requests": len(corpus.raw), "files": len(corpus.small) + 6,
        "in a queue": len(corpus.small), "rounds": ROUNDS, "in the wrong class": 0, "canary hits": 0,
        "good ones beside them": len(beside.seconds), "good p95 alone, ms": round(told.p95() * 1000, 1),
        "beside them, ms": round(beside.p95() * 1000, 1), "ratio": round(ratio, 2),
        "good ones told to come again": beside.count(503),
    }  # fmt: skip
    print(figures)
    assert len(beside.seconds) >= GOOD_AT_LEAST
    assert ratio <= 2 or not STORM  # in the suite other tests take the processor from one of the two and not the other
    record("P25", "the hostile corpus, all at once beside good traffic", figures, COMMAND)


def left(folder: Path) -> int:
    return sum(entry.name not in ("done", "rejected") for entry in os.scandir(folder))


def judged_files(folder: Path) -> int:
    """Return how many files were taken or rejected; each rejected one says why beside it."""
    rejected = [entry.name for entry in os.scandir(folder / "rejected")]
    reasons = [name for name in rejected if name.endswith(".findings.json")]
    documents = [name for name in rejected if not name.endswith(".json")]
    assert len(reasons) == len(documents)
    return len(documents) + len(list(os.scandir(folder / "done")))
