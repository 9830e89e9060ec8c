"""Where messages end up, and how they are counted there: a queue, a SOAP procedure, a folder.

Each counts what has arrived, and tells how long the documents were under way that arrived since it was cleared.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from bench import messages, processes
from bench.messages import ROOT

BROKER = "amqp://guest:guest@127.0.0.1:5672/%2F"
WSDL = ROOT / "hub" / "simulate"
QUICK = "?heartbeat=0&socket_timeout=5&stack_timeout=5&blocked_connection_timeout=5&connection_attempts=1"


class Missing(Exception):
    """What a scenario needs is not there; the text says what, in a few words."""


class Sink(Protocol):
    """A place where messages arrive."""

    def settings(self) -> dict[str, Any]:
        """Return the settings of a destination of the hub that delivers there."""

    def clear(self) -> None:
        """Forget what has arrived."""

    def count(self) -> int:
        """Return how many have arrived since then."""

    def watch(self) -> contextlib.AbstractContextManager[list[float]]:
        """Give a list that holds, once this has ended, how long each took that came meanwhile, in seconds."""

    def close(self) -> None:
        """Take away what was made for it."""


class Queue:
    """A durable queue behind an exchange, both of our own: the broker may be somebody's."""

    def __init__(self, name: str) -> None:
        """Make both.

        Raises:
            Missing: No broker lets us in.
        """
        self.name = name
        try:
            self._connection = connect()
        except (AMQPError, OSError) as error:
            raise Missing(f"no RabbitMQ on 127.0.0.1:5672 ({type(error).__name__})") from None
        self._channel: BlockingChannel = self._connection.channel()
        self._channel.exchange_declare(name, "fanout", durable=False)
        self._channel.queue_declare(name, durable=True)
        self._channel.queue_bind(name, name)

    def settings(self) -> dict[str, Any]:
        return {"adapter": "amqp", "url": "env:BENCH_AMQP_URL", "exchange": self.name, "routing_key": "bench"}

    def clear(self) -> None:
        self._channel.queue_purge(self.name)

    def count(self) -> int:
        return int(self._channel.queue_declare(self.name, passive=True).method.message_count)

    @contextmanager
    def watch(self) -> Iterator[list[float]]:
        """Count as a consumer: only so is known when a message arrives."""
        took: list[float] = []
        ended = threading.Event()
        consumer = threading.Thread(target=self._consume, args=(took, ended), daemon=True)
        consumer.start()
        try:
            yield took
        finally:
            ended.set()
            consumer.join(10)

    def close(self) -> None:
        self._channel.queue_delete(self.name)
        self._channel.exchange_delete(self.name)
        self._connection.close()

    def _consume(self, took: list[float], ended: threading.Event) -> None:
        connection = connect()
        channel = connection.channel()
        channel.basic_qos(prefetch_count=500)

        def arrived(_channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
            due = messages.due_at(body)
            if due is not None:
                took.append(time.time() - due)

        channel.basic_consume(self.name, arrived, auto_ack=True)
        while not ended.is_set():
            connection.process_data_events(0.2)
        connection.close()


class Procedure:
    """A SOAP procedure in a process of its own, so that its work is not the hub's."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.soap_stub"], cwd=ROOT, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())

    def settings(self) -> dict[str, Any]:
        return {
            "adapter": "soap",
            "wsdl": "wsdl/procedure.wsdl",
            "address": f"http://127.0.0.1:{self._port}/ws",
            "service": "Fachverfahren",
            "port": "Fachverfahren11",
            "operation": "Uebergeben",
            "parameters": {
                "mandant": "{municipality}",
                "xml": {"payload": "base64"},
                "pruefsumme": {"digest": "sha256", "of": "payload"},
                "vorgang": {"value": "delivery_id"},
            },
            "reply": {"ok": {"xpath": "//rc", "equals": ["0"]}},
            "on_unclear": "retry",
        }

    def clear(self) -> None:
        self._ask("/clear")

    def count(self) -> int:
        return int(self._ask("/count"))

    @contextmanager
    def watch(self) -> Iterator[list[float]]:
        took: list[float] = []
        yield took
        took += self._ask("/took")

    def close(self) -> None:
        processes.end(self._process, 2)

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=10) as answer:
            return json.load(answer)


class Folder:
    """A folder that a procedure would empty."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()

    def settings(self) -> dict[str, Any]:
        return {"adapter": "folder", "path": str(self._folder)}

    def clear(self) -> None:
        for path in self._folder.glob("*.xml"):
            path.unlink()

    def count(self) -> int:
        return sum(1 for _ in self._folder.glob("*.xml"))

    @contextmanager
    def watch(self) -> Iterator[list[float]]:
        took: list[float] = []
        yield took
        for path in self._folder.glob("*.xml"):
            due = messages.due_at(path.read_bytes())
            if due is not None:
                took.append(path.stat().st_ctime - due)  # a rename is a change of the file's own record

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def connect() -> pika.BlockingConnection:
    """Return a connection to the broker; who waits for it waits for seconds, not for minutes."""
    return pika.BlockingConnection(pika.URLParameters(BROKER + QUICK))
