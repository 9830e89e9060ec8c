"""The load generator: one process, one thread, keep-alive connections to the loopback, bounded in count and time.

Closed: every connection sends the next document as soon as it has the receipt of the last. Paced: one document at
each due time, and the time of its receipt counts from when it was due, so that a hub that stalls cannot hide it.
An order comes as JSON on stdin, the result goes as JSON to stdout.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field

from bench import messages

ANSWER_SECONDS = 30.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """What to send. ``rate`` per second, or as fast as ``connections`` allow; ends by ``seconds`` or ``count``."""

    port: int
    path: str
    token: str = ""
    kilobytes: int = 10
    connections: int = 16
    seconds: float = 4.0
    count: int = 6000
    rate: float | None = None
    towns: int = 1


@dataclass(slots=True)
class Load:
    """What came of it. Times are in seconds, sorted."""

    sent: int = 0
    accepted: int = 0
    seconds: float = 0.0
    receipts: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)


class _Connection:
    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.since = 0.0
        self.busy = False
        self._got = bytearray()

    def status(self) -> int | None:
        """Read what is there; return the status once the answer is complete."""
        chunk = self.sock.recv(65536)
        if not chunk:
            raise ConnectionError("the connection was closed before the answer")
        self._got += chunk
        end = self._got.find(b"\r\n\r\n")
        length = _LENGTH.search(self._got) if end >= 0 else None
        if end < 0 or length is None or len(self._got) < end + 4 + int(length[1]):
            return None
        status = int(self._got[9:12])
        self._got.clear()
        return status


class _Generator:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._template = messages.Template.of(messages.document(order.kilobytes))
        token = f"Authorization: Bearer {order.token}\r\n" if order.token else ""
        head = f"POST {order.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{token}Content-Type: application/xml\r\n"
        self._head = head.encode() + b"Content-Length: %d\r\n\r\n"
        self._salt = time.time_ns() // 1000 % 1_000_000 * 1_000_000  # two loads of one microsecond differ all the same
        self._selector = selectors.DefaultSelector()
        self._statuses: Counter[int] = Counter()
        self._idle: deque[_Connection] = deque()
        for _ in range(order.connections):
            self._connect()
        self.load = Load()

    def run(self) -> Load:
        started = time.time()
        end, next_due = started + self._order.seconds, started
        while True:
            now = time.time()
            more = self.load.sent < self._order.count and now < end
            while more and self._idle and next_due <= now:
                self._send(self._idle.popleft(), next_due if self._order.rate else time.time())
                more = self.load.sent < self._order.count
                next_due += 1 / self._order.rate if self._order.rate else 0
            if not more and len(self._idle) == self._order.connections:
                break
            waiting = max(next_due - time.time(), 0) if more and self._idle else ANSWER_SECONDS
            self._receive(waiting)
        self.load.seconds = time.time() - started
        self.load.receipts.sort()
        self.load.statuses = dict(self._statuses)
        return self.load

    def _send(self, connection: _Connection, due: float) -> None:
        number = self.load.sent
        body = self._template.fill(self._salt + number, number % self._order.towns, due)
        connection.since, connection.busy = due, True
        connection.sock.sendall(self._head % len(body) + body)
        self.load.sent += 1

    def _receive(self, seconds: float) -> None:
        ready = self._selector.select(seconds)
        if not ready and seconds == ANSWER_SECONDS:
            raise TimeoutError("no answer")
        for key, _ in ready:
            connection: _Connection = key.data
            if not connection.busy:  # closed by its other end, after some seconds without a request
                self._replace(connection)
                continue
            status = connection.status()
            if status is not None:
                connection.busy = False
                self._statuses[status] += 1
                self.load.accepted += status == 202
                self.load.receipts.append(time.time() - connection.since)
                self._idle.append(connection)

    def _connect(self) -> None:
        connection = _Connection(self._order.port)
        self._selector.register(connection.sock, selectors.EVENT_READ, connection)
        self._idle.append(connection)

    def _replace(self, connection: _Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        self._idle.remove(connection)
        self._connect()


def run(order: Order) -> Load:
    """Send what is ordered, and return what came of it."""
    return _Generator(order).run()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(run(Order(**json.load(sys.stdin))))))
