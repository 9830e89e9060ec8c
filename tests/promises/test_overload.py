"""P24: overload is refused, not suffered: 503 and 429 with Retry-After, little memory, and all is well afterwards.

1,200 connections at once and 600 that drip in the suite, 10,000 and 1,000 by ``make storm``; the same rubbish 200 times,
10,000 by ``make storm``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import resource
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from hub.simulate import Answers, Ledger
from hub.simulate.soap import SoapProcedure
from tests.accounts import Receipt, Sender, account, missing
from tests.daemon import Daemon, until
from tests.leinen import TOKENS, Leinen, leinen, soap
from tests.proving.record import STORM, record

CONNECTIONS, SLOW, RUBBISH = (10_000, 1_000, 10_000) if STORM else (1_200, 600, 200)
MEMORY_MAX = 512_000_000
ANSWER_SECONDS = 120.0
COMMAND = f"{'XOEV_HUB_STORM=1 ' if STORM else ''}make test ARGS=tests/promises/test_overload.py"

pytestmark = pytest.mark.timeout(1800 if STORM else 400)


@pytest.fixture
def procedure(tmp_path: Path) -> Iterator[SoapProcedure]:
    made = SoapProcedure("nordheim", {}, Answers(), Ledger(tmp_path / "ledger.jsonl"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def hub(tmp_path: Path, procedure: SoapProcedure) -> Iterator[Daemon]:
    deployment = Leinen(tmp_path / "hub", {"nordheim": soap(procedure.address)})
    deployment.routes["senders"]["amt"] = {"rate": "20/h"}
    with Daemon(deployment) as running:
        yield running


@dataclass
class Told:
    """What many senders at once were told."""

    statuses: Counter[int] = field(default_factory=Counter)
    receipts: dict[bytes, str] = field(default_factory=dict)
    without_retry_after: int = 0


class Memory:
    """Looks, again and again, how much memory the daemon and its workers have together; what they share counts once."""

    def __init__(self, hub: Daemon) -> None:
        self._hub, self._stop, self.most = hub, threading.Event(), 0
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self.most = max(self.most, sum(_proportional_bytes(pid) for pid in self._hub.group()))


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


class _Sending(asyncio.Protocol):
    """One request, sent as soon as there is a connection: among ten thousand it would else wait behind all others."""

    def __init__(self, request: bytes) -> None:
        self._request, self._answer = request, bytearray()
        self.answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer += data

    def connection_lost(self, _error: Exception | None) -> None:
        if not self.answered.done():
            self.answered.set_result(bytes(self._answer))


async def blast(port: int, bodies: list[bytes]) -> Told:
    """Hand all of them in at once, each over a connection of its own."""
    told = Told()
    connecting = asyncio.Semaphore(
        200
    )  # all of them step by step would say what they want after the last has connected

    async def one(body: bytes) -> None:
        head = f"POST /v1/messages HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKENS['portal']}\r\n"
        head += f"Content-Type: application/xml\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        sending = _Sending(head.encode() + body)
        try:
            async with connecting:
                await asyncio.get_running_loop().create_connection(lambda: sending, "127.0.0.1", port)
            answer = await asyncio.wait_for(sending.answered, ANSWER_SECONDS)
        except (OSError, TimeoutError):
            answer = b""
        status = int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0
        told.statuses[status] += 1
        if status == 202:
            told.receipts[body] = answer.rpartition(b'"id": "')[2][:36].decode()
        elif status in (429, 503):
            told.without_retry_after += b"\r\nretry-after: " not in answer.lower()

    await asyncio.gather(*(one(body) for body in bodies))
    return told


def receipt_p99(hub: Daemon) -> float:
    """Return within how many seconds 99 of 100 got their receipt, by the hub's own clock: the senders starve, too."""
    bucket = re.compile(r'xoev_hub_receipt_seconds_bucket\{le="([^"]+)",source="online"\} ([0-9.]+)')
    buckets = [(float(le), float(count)) for le, count in bucket.findall(hub.asked("/metrics"))]
    wanted, low, below = 0.99 * buckets[-1][1], 0.0, 0.0
    for le, count in buckets:
        if count >= wanted:
            return low + (le - low) * (wanted - below) / (count - below)
        low, below = le, count
    return low


async def drip(port: int, count: int, stop: threading.Event) -> int:
    """Open connections that send a byte now and then; return how many the hub has ended."""
    ended = 0

    async def one() -> None:
        nonlocal ended
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /v1/messages HTTP/1.1\r\nX-a: ")
            while not stop.is_set():
                writer.write(b"b")
                await writer.drain()
                try:
                    if not await asyncio.wait_for(reader.read(1000), 1):
                        break
                except TimeoutError:
                    continue
        except OSError:
            pass
        ended += 1

    await asyncio.gather(*(one() for _ in range(count)))
    return ended


def test_ten_thousand_at_once_are_taken_or_told_to_come_again(hub: Daemon, procedure: SoapProcedure) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 30_000), hard))
    bodies = [leinen(name=str(number)) for number in range(CONNECTIONS)]

    with Memory(hub) as memory:
        told = asyncio.run(blast(hub.deployment.port, bodies))
        until(lambda: hub.hand_in(leinen(name="danach")).status_code == 202, "it takes again", 30)

    # 408: this process had no time to say within ten seconds what it wants.
    assert told.statuses.keys() <= {202, 503, 408, 0}, told.statuses
    assert told.statuses[408] <= CONNECTIONS // 20
    assert told.statuses[202] and told.statuses[503], "no overload: this proves nothing"
    assert told.without_retry_after == 0
    assert memory.most <= MEMORY_MAX
    sender = Sender(hub)
    promised = {hashlib.sha256(body).hexdigest(): id_ for body, id_ in told.receipts.items()}
    sender._receipts = {sha256: Receipt(id_, sha256) for sha256, id_ in promised.items()}
    until(lambda: not missing(sender, procedure), "all that has a receipt has arrived", 120)
    until(lambda: account(hub, sender, procedure).keys() == {"delivered"}, "the hub knows it", 120)
    figures = {
        "connections at once": CONNECTIONS, "accepted": told.statuses[202], "told to come again": told.statuses[503],
        "told that they are slow": told.statuses[408], "no answer": told.statuses[0], "accepted and lost": 0, "most memory, MB": memory.most // 1_000_000,
        "accepted p99, seconds": round(receipt_p99(hub), 2),
    }  # fmt: skip
    record("P24", "connections at once", figures, COMMAND)


def test_many_that_drip_stop_nobody(hub: Daemon) -> None:
    stop, ended = threading.Event(), []
    thread = threading.Thread(target=lambda: ended.append(asyncio.run(drip(hub.deployment.port, SLOW, stop))))
    with Memory(hub) as memory:
        thread.start()
        answers = Counter(hub.hand_in(leinen(name=str(number))).status_code for number in range(30))
        until(lambda: not thread.is_alive(), "the hub has ended them all", 90)
        until(lambda: hub.hand_in(leinen(name="danach")).status_code == 202, "it takes again", 30)
    stop.set()
    thread.join(30)

    assert answers == {202: 30}
    assert ended == [SLOW]
    assert memory.most <= MEMORY_MAX
    figures = {"slow connections": SLOW, "ended by the hub": ended[0], "good ones meanwhile": answers[202]}
    record("P24", "connections that drip", figures | {"most memory, MB": memory.most // 1_000_000}, COMMAND)


def test_a_sender_that_is_too_fast_is_told_when_to_come_again_and_nobody_else_notices(hub: Daemon) -> None:
    answers = [hub.hand_in(leinen(name=str(number)), sender="amt") for number in range(25)]

    assert [answer.status_code for answer in answers] == [202] * 20 + [429] * 5
    refused = answers[-1]
    assert refused.json()["code"] == "rate"
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600 // 20
    assert hub.hand_in(leinen(), sender="portal").status_code == 202
    assert 'xoev_hub_messages_refused_total{code="rate",source="online"} 5.0' in hub.asked("/metrics")  # once each
    record("P24", "a sender above its rate", {"rate": "20/h", "handed in": 25, "refused with 429": 5}, COMMAND)


def test_the_same_rubbish_again_and_again_is_one_record_with_a_counter(hub: Daemon) -> None:
    rubbish = leinen(alter="drei")

    ids = {hub.hand_in(rubbish).json()["id"] for _ in range(RUBBISH)}

    (message,) = hub.messages("--state", "rejected")
    assert ids == {message["id"]}
    assert message["repeated"] == RUBBISH - 1
    shown = hub.cli("messages", "list", "--state", "rejected").stdout
    assert f"schema_violation ×{RUBBISH}" in shown
    record("P24", "the same rubbish again and again", {"handed in": RUBBISH, "records": 1}, COMMAND)
