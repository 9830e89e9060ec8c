"""What a Python developer would write instead: the yardstick's Dramatiq and Celery applications, run as they are.

Their queues have fixed names, written in them. So none of these may be there before, and all are taken away afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker

from bench import processes
from bench.sinks import Missing, Queue, connect
from bench.subjects import Subject, spawn
from hub.loopback import free_port

START_SECONDS = 60.0
OUT = "e2e_out"  # where all of them publish
SERVER = ("uvicorn", "httptools", "uvloop", "starlette", "lxml")
_LACKING = "import importlib.util as u, sys; print(*(n for n in sys.argv[1:] if u.find_spec(n) is None))"
_BOTH = '{worker} & a=$!; "$PYTHON" -m uvicorn app:app --port $PORT --no-access-log --log-level warning & b=$!'
_END = 'trap "kill $a $b" TERM; wait; wait'  # the trap ends the first of them


@dataclass(frozen=True, slots=True)
class Peer:
    """An application behind uvicorn, and its workers: two processes, as the hub has."""

    name: str
    worker: str  # a command of the shell
    modules: tuple[str, ...]
    queues: tuple[str, ...]  # the first is the one that its workers consume
    exchanges: tuple[str, ...] = ()
    consumers: int = 1


PEERS = (
    Peer(
        "dramatiq",
        '"$PYTHON" -m dramatiq app -p 2 -t 2',
        ("dramatiq", "pika", *SERVER),
        ("dq_in", "dq_in.DQ", "dq_in.XQ"),
        consumers=2,
    ),
    Peer(
        "celery",
        'C_FORCE_ROOT=1 "$PYTHON" -m celery -A app:c worker -c 2 -l ERROR'
        " --without-gossip --without-mingle --without-heartbeat",
        ("celery", "kombu", "amqp", *SERVER),
        ("celery_in",),
        ("celery_in", "celery.pidbox", "reply.celery.pidbox", "celeryev"),
    ),
)


def find(peer: Peer, yardstick: Path | None) -> Path:
    """Return the folder of a peer's application, beside the yardstick's prototype.

    Raises:
        Missing: It is not there, or the Python lacks a module that it imports.
    """
    folder = yardstick.parents[1] / "peers" / peer.name if yardstick else None
    if folder is None or not (folder / "app.py").is_file():
        raise Missing(f"no {folder / 'app.py' if folder else 'yardstick, beside which it lies'}")
    try:
        asked = [_python(), "-c", _LACKING, *peer.modules]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30, cwd="/")  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"{_python()} does not run ({type(error).__name__})") from None
    if lacking := done.stdout.split():
        raise Missing(f"{_python()} has no {', '.join(lacking)} (XOEV_BENCH_PEERS_PYTHON)")
    return folder


@contextmanager
def queue(peer: Peer) -> Iterator[Queue]:
    """Give the queue into which a peer publishes; take away all that it and the peer have made at the broker.

    Raises:
        Missing: One of the queues is there already: it may be somebody's.
    """
    with connect() as connection:
        for name in (*peer.queues, OUT):
            if _consumers(connection, name) is not None:
                raise Missing(f"the queue {name} is at the broker already, and its name is written in the application")
        strange = [name for name in peer.exchanges if not _has_exchange(connection, name)]
    sink = Queue(OUT)
    try:
        yield sink
    finally:
        sink.close()
        with connect() as connection:
            channel = connection.channel()
            for name in peer.queues:
                channel.queue_delete(name)
            for name in strange:
                channel.exchange_delete(name)


def start(peer: Peer, application: Path, folder: Path) -> Subject:
    """Start a peer; returns when it listens and its workers consume.

    Raises:
        TimeoutError: It does not get ready; the end of its log is in the text.
    """
    port, log = free_port(), folder / "log"
    own: Mapping[str, str] = os.environ | {
        "PYTHON": _python(),
        "PORT": str(port),
        "PYTHONPATH": str(application),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    started = time.monotonic()
    process = spawn(["/bin/sh", "-c", f"{_BOTH.format(worker=peer.worker)}; {_END}"], own, log)
    subject = Subject(process, port, "/in")
    try:
        with connect() as connection:
            processes.until(
                lambda: processes.answers(port) and (_consumers(connection, peer.queues[0]) or 0) >= peer.consumers,
                f"{peer.name} takes documents",
                START_SECONDS,
            )
    except (TimeoutError, AMQPError) as error:
        subject.end()
        raise TimeoutError(f"{error}: {log.read_text('utf-8', 'replace')[-2000:]}") from None
    subject.start_seconds = time.monotonic() - started
    return subject


def _python() -> str:
    return os.environ.get("XOEV_BENCH_PEERS_PYTHON") or sys.executable


def _consumers(connection: BlockingConnection, queue: str) -> int | None:
    """Return how many consume a queue; nothing if there is no such queue."""
    channel = connection.channel()
    try:
        found = channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker:
        return None
    channel.close()
    return int(found.method.consumer_count)


def _has_exchange(connection: BlockingConnection, name: str) -> bool:
    channel = connection.channel()
    try:
        channel.exchange_declare(name, passive=True)
    except ChannelClosedByBroker:
        return False
    channel.close()
    return True
