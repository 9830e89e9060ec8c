"""Good traffic from a process of its own: what else the test's process does makes no receipt late.

with SenderApart(hub, body, every=0.05) as sender:
    alone = sender.during(lambda: None, 200)
    beside = sender.during(do_something)
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import requests

from tests.daemon import ROOT, Daemon
from tests.leinen import TOKENS

MARK = "UNIQUE"  # stands in the body for what makes each document another one


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the documents of one phase: of each its status, and the seconds until the answer."""

    answers: list[tuple[int, float]]

    @property
    def seconds(self) -> list[float]:
        """How long each receipt took."""
        return [seconds for status, seconds in self.answers if status == 202]

    def count(self, status: int) -> int:
        return sum(found == status for found, _ in self.answers)

    def p95(self) -> float:
        return sorted(self.seconds)[int(len(self.seconds) * 0.95)]


class SenderApart:
    """Hands a document in again and again, over one connection, while it is asked to."""

    def __init__(self, hub: Daemon, body: str, *, every: float, token: str = TOKENS["portal"]) -> None:
        self._order = {"url": hub.url, "token": token, "body": body, "every": every}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.apart"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._say(json.dumps(self._order))
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def during(self, what: Callable[[], object], at_least: int = 0) -> Sent:
        """Send while something is done, and until so many were sent; return what was answered."""
        self._say("go")
        what()
        self._say(str(at_least))
        assert self._process.stdout is not None
        return Sent([(status, seconds) for status, seconds in json.loads(self._process.stdout.readline())])

    def _say(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()


def main() -> None:
    """Take an order, then send between ``go`` and a number: so many at least."""
    told = open(0, "rb", buffering=0)  # noqa: SIM115  what is buffered, select would not see
    order = json.loads(told.readline())
    with requests.Session() as session:
        session.headers.update({"Content-Type": "application/xml", "Authorization": f"Bearer {order['token']}"})
        while told.readline():
            answers: list[tuple[int, float]] = []
            at_least = -1
            while len(answers) < at_least or at_least < 0:
                answers.append(_send(session, order))
                rest = max(order["every"] - answers[-1][1], 0)
                if at_least >= 0:
                    time.sleep(rest)
                elif select.select([told], [], [], rest)[0]:
                    at_least = int(told.readline())
            print(json.dumps(answers), flush=True)


def _send(session: requests.Session, order: dict[str, Any]) -> tuple[int, float]:
    key = str(uuid.uuid4())
    body = order["body"].replace(MARK, key).encode()
    begun = time.monotonic()
    try:
        answer = session.post(order["url"], data=body, headers={"Idempotency-Key": key}, timeout=60)
    except requests.ConnectionError:  # the hub ends an idle connection: the next document has another one
        return _send(session, order)
    return answer.status_code, time.monotonic() - begun


if __name__ == "__main__":
    main()
