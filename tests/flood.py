"""Documents from a process of its own, faster than a hub takes them: at a rate of their own, whatever it answers.

told = flooded(hub, Flood(rate=900, seconds=600))      # open: so many a second
told = flooded(hub, Flood(connections=48, seconds=10)) # closed: as fast as it answers
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields

from tests.daemon import ROOT, Daemon
from tests.leinen import TOKENS, leinen

TICK_SECONDS = 0.02
RUNNING_MAX = 1_000  # documents on their way: who sends them has a memory, too
ANSWER_SECONDS = 120.0
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Flood:
    """What is sent: ``rate`` documents a second, or, without one, the next of each connection after its answer."""

    seconds: float
    rate: float = 0.0
    connections: int = 0


@dataclass(slots=True)
class Told:
    """What the senders were told. Status 0: the connection ended without an answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of those that were accepted
    receipts: dict[str, str] = field(default_factory=dict)  # digest → id
    without_retry_after: int = 0
    took: float = 0.0

    @property
    def sent(self) -> int:
        return self.statuses.total()


def flooded(hub: Daemon, flood: Flood) -> Told:
    """Have it sent, and return what was told."""
    order = json.dumps(asdict(flood) | {"port": hub.deployment.port})
    done = subprocess.run(
        [sys.executable, "-m", "tests.flood"], cwd=ROOT, input=order, stdout=subprocess.PIPE, text=True, check=True
    )
    told = json.loads(done.stdout)
    statuses = Counter({int(status): count for status, count in told.pop("statuses").items()})
    return Told(statuses=statuses, **told)


class _Sending:
    def __init__(self, port: int) -> None:
        self._port = port
        self._free: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._number = 0
        self.told = Told()

    async def closed(self, connections: int, seconds: float) -> None:
        end = time.monotonic() + seconds

        async def one_after_the_other() -> None:
            while time.monotonic() < end:
                await self.one()

        await asyncio.gather(*(one_after_the_other() for _ in range(connections)))

    async def open(self, rate: float, seconds: float) -> None:
        started = last = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        due = 0.0
        while (now := time.monotonic()) - started < seconds:
            due, last = min(due + (now - last) * rate, RUNNING_MAX - len(running)), now
            for _ in range(int(due)):
                due -= 1
                task = asyncio.create_task(self.one())
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.sleep(TICK_SECONDS)
        await asyncio.gather(*running)

    async def one(self) -> None:
        self._number += 1
        body = leinen(name=str(self._number))
        head = f"POST /v1/messages HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {TOKENS['portal']}\r\n"
        head += f"Content-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        started = time.monotonic()
        try:
            status, headers, answer = await asyncio.wait_for(self._ask(head.encode() + body), ANSWER_SECONDS)
        except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError):
            status, headers, answer = 0, b"", b""
        self.told.statuses[status] += 1
        if status == 202:
            self.told.seconds.append(time.monotonic() - started)
            self.told.receipts[hashlib.sha256(body).hexdigest()] = json.loads(answer)["id"]
        elif status in (429, 503):
            self.told.without_retry_after += b"\r\nretry-after: " not in headers.lower()

    async def _ask(self, request: bytes) -> tuple[int, bytes, bytes]:
        while True:
            again = bool(self._free)
            reader, writer = self._free.pop() if again else await asyncio.open_connection("127.0.0.1", self._port)
            try:
                writer.write(request)
                headers = await reader.readuntil(b"\r\n\r\n")
            except (OSError, EOFError):
                writer.close()
                if again:  # the hub had ended it meanwhile, as it was idle
                    continue
                raise
            length = _LENGTH.search(headers)
            answer = await reader.readexactly(int(length[1])) if length else b""
            if b"\r\nconnection: close" in headers.lower():
                writer.close()
            else:
                self._free.append((reader, writer))
            return int(headers.split(b" ", 2)[1]), headers, answer


async def _send(order: Mapping[str, float]) -> Told:
    sending, started = _Sending(int(order["port"])), time.monotonic()
    if order["rate"]:
        await sending.open(order["rate"], order["seconds"])
    else:
        await sending.closed(int(order["connections"]), order["seconds"])
    sending.told.took = time.monotonic() - started
    return sending.told


if __name__ == "__main__":
    found = asyncio.run(_send(json.loads(sys.stdin.read())))
    print(json.dumps({one.name: getattr(found, one.name) for one in fields(found)}))
