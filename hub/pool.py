"""The daemon's side of a worker set: hand a document to an idle worker, have those killed that take too long.

The set reads the files from disk, compiles them and returns their bytes; should the set itself die, the next one
compiles from exactly those bytes. So one pool serves one snapshot, whatever happens on disk meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hub import wire
from hub.blame import Blame
from hub.deployment import Deployment
from hub.errors import ConfigError, Problem, Unavailable
from hub.inspection import Plan, Rejection
from hub.log import get_log
from hub.message import Finding, Incoming
from hub.page import Page
from hub.spool import Spool
from hub.workerend import Worker

log = get_log(__name__)

START_SECONDS = 120  # generating the bindings of a large standard takes a while
STAND_IN_SECONDS = 0.5  # how long a document waits for a standing worker before another one is asked for
IDLE_WORKER_SECONDS = 20  # how long a document waits for a worker before its sender is told to come again
MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Order:
    """Which snapshot to compile, and how many workers of what size. ``memory`` is what each may take of its own.

    ``strict``: a route test that fails refuses the snapshot. A reload is strict; a start is not, for what ran
    yesterday must come up again although a version in a test has run out since. ``files`` is empty where the disk
    shall be read. ``deployment``: the configuration was read before, from ``read``; the disk is asked for the rest.
    """

    base: Path
    main: str
    stage: str
    state_dir: Path
    size: int = 1
    memory: int = MEMORY_BYTES
    strict: bool = False
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    deployment: Deployment | None = field(default=None, repr=False)
    read: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What the worker set found: the snapshot's name and the bytes of every file it read."""

    digest: str
    files: Mapping[str, bytes] = field(repr=False)
    warnings: tuple[Problem, ...]


class _Set:
    """The daemon's end of one worker set: the process, and the hatch through which its workers come."""

    def __init__(self, order: Order, spool: Spool) -> None:
        self._spool = spool
        control, their_control = socket.socketpair()
        self.hatch, their_hatch = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with control, their_control, their_hatch:
            fds = (their_control.fileno(), their_hatch.fileno())
            self.process = subprocess.Popen(  # noqa: S603  # our own module, no shell
                [sys.executable, "-P", "-m", "hub.workerset", *map(str, fds)],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
            their_control.close()
            their_hatch.close()
            try:
                self.proof = _prove(control, order)
            except BaseException:
                self.end()
                raise

    def told(self) -> Worker | int | None:
        """Wait for the next word: a new worker, the pid of one that ended, or ``None`` when the set has ended."""
        while True:
            try:
                told, fds, _, _ = socket.recv_fds(self.hatch, 1024, 2)
            except OSError:
                return None
            if not told:
                return None
            word = json.loads(told)
            if "ended" in word:
                return int(word["ended"])
            if len(fds) == 2:
                with os.fdopen(fds[1], "rb"):
                    page = Page(fds[1])
                return Worker(word["worker"], socket.socket(fileno=fds[0]), page, self._spool, extra=word["extra"])
            for descriptor in fds:
                os.close(descriptor)
            log.error("worker_not_taken_in", worker=str(word["worker"]))  # no file descriptor is left for it

    def kill(self, worker: Worker) -> None:
        """Have a worker killed; another one comes through the hatch, unless it was an extra one."""
        self._wish({"kill": worker.pid})

    def ask_extra(self) -> None:
        """Ask for an extra worker; it comes through the hatch."""
        self._wish({"extra": True})

    def _wish(self, wish: Mapping[str, Any]) -> None:
        try:
            self.hatch.send(json.dumps(wish).encode())
        except OSError:
            log.warning("worker_set_gone")

    def end(self) -> None:
        """End the set with all its workers, and reap it. Safe to call twice."""
        with contextlib.suppress(OSError):
            self.hatch.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for workers
        self.hatch.close()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()  # its workers follow: they have asked for it
            self.process.wait()


def _prove(control: socket.socket, order: Order) -> Proof:
    head: dict[str, Any] = {
        "base": str(order.base), "main": order.main, "stage": order.stage, "state_dir": str(order.state_dir),
        "size": order.size, "memory": order.memory, "strict": order.strict,
    }  # fmt: skip
    if order.deployment is not None:
        head["deployment"] = wire.pack_deployment(order.deployment)
    head["names" if order.files else "read"] = list(order.files or order.read)
    control.settimeout(START_SECONDS)
    line = wire.Line(control)
    try:
        line.send(head, list((order.files or order.read).values()))
        frame = line.receive()
    except (wire.Closed, TimeoutError) as error:
        raise Unavailable("the worker set ended before it was ready") from error
    answer = frame.json()
    if "problems" in answer:
        raise ConfigError([wire.PROBLEM.validate_python(problem) for problem in answer["problems"]])
    warnings = tuple(wire.PROBLEM.validate_python(problem) for problem in answer.get("warnings", ()))
    read = dict(zip(answer["names"], frame.contents(), strict=True)) if "names" in answer else order.files
    return Proof(answer["ready"], read, warnings)


class Pool:
    """Standing worker processes of one snapshot. ``inspect`` may be called from any thread."""

    def __init__(self, order: Order, *, on_death: Callable[[], None] = lambda: None) -> None:
        """Prove the snapshot and start the workers; returns when all are there.

        Raises:
            ConfigError: The snapshot cannot be compiled, or its route tests fail.
            Unavailable: The worker set does not start.
        """
        self._on_death = on_death
        self._closed = threading.Event()
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        self._extra: queue.Queue[Worker] = queue.Queue()  # asked for, and not taken yet
        self._large = threading.BoundedSemaphore(max(1, order.size // 2))
        self._spool = Spool(order.state_dir)
        self._lock = threading.Condition()
        self._workers: set[Worker] = set()
        self._set = _Set(order, self._spool)
        self.proof = self._set.proof
        self._order = replace(order, files=self.proof.files, read={})
        self._thread = threading.Thread(target=self._take_in, name="workers", daemon=True)
        self._thread.start()
        with self._lock:
            ready = self._lock.wait_for(lambda: len(self._workers) >= order.size, START_SECONDS)
        if not ready:
            self.close()
            raise Unavailable("the workers do not start")

    @property
    def alive(self) -> int:
        """How many standing workers are there, busy or idle."""
        return len(self._workers)

    def inspect(self, incoming: Incoming, on_stall: Callable[[], None] = lambda: None) -> Plan | Rejection:
        """Inspect a document in a worker process. ``on_stall`` is called at most once, should it take long.

        A document that kills two workers before the verdict, or takes too long twice, is rejected
        (``inspection_failed``); steps that do so make their own delivery dead, and the others go on. A large one (above
        1 MB) has a worker of its own: it keeps no standing one from the small, and gives back all memory at its end.

        Raises:
            Unavailable: No worker is there in time, or no spool file can be written.
        """
        return self._order_of_size(incoming, {}, on_stall)

    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        """Return a rejection that the daemon has decided in the standard's own form; ``None``: there is none.

        Raises:
            Unavailable: As from ``inspect``.
        """
        head = wire.REJECTION.dump_python(rejection, mode="json", exclude={"document"})
        result = self._order_of_size(incoming, {"rejected": head})
        return result.document if isinstance(result, Rejection) else None

    def _order_of_size(
        self, incoming: Incoming, more: Mapping[str, Any], on_stall: Callable[[], None] = lambda: None
    ) -> Plan | Rejection:
        if len(incoming.body) <= wire.BLOB_BYTES_MAX:
            return self._inspect(incoming, more, self._take, on_stall)
        on_stall()
        if not self._large.acquire(timeout=IDLE_WORKER_SECONDS):
            raise Unavailable("other large documents are in work")
        try:
            return self._inspect(incoming, more, self._take_extra, lambda: None)
        finally:
            self._large.release()

    def _inspect(
        self, incoming: Incoming, more: Mapping[str, Any], take: Callable[[], Worker], on_stall: Callable[[], None]
    ) -> Plan | Rejection:
        blame = Blame()
        while True:
            worker = take()
            try:
                result = worker.inspect(incoming, {"skip": blame.skip, **more}, on_stall)
            except wire.Spoiled:
                self._discard(worker)
                if worker.rejection is not None:
                    return worker.rejection
                raise Unavailable("a spool file cannot be written or read") from None
            except (wire.Closed, TimeoutError) as error:
                self._on_death()
                name = type(error).__name__
                log.warning("worker_died", message=incoming.id, destination=worker.page.destination, error=name)
                guilty = worker.rejection is None and blame.note(worker.page)
                self._discard(worker)
                if worker.rejection is not None:  # it died of telling it in the standard's form
                    return worker.rejection
                if guilty:
                    return Rejection("inspection_failed", (Finding("worker_lost"),), snapshot=self.proof.digest)
                on_stall()
                continue
            if worker.extra:
                worker.close()
            else:
                self._idle.put(worker)
            return result

    def close(self) -> None:
        """End all workers; documents in work are lost to their callers as ``Unavailable``."""
        self._closed.set()
        self._set.end()
        self._thread.join(START_SECONDS)
        for waiting in (self._idle, self._extra):
            while not waiting.empty():
                waiting.get_nowait().close()

    def _take(self) -> Worker:
        """Return an idle worker, or one that stands in for them: all may be at documents that take long."""
        while not self._closed.is_set():
            try:
                worker = self._idle.get(timeout=STAND_IN_SECONDS)
            except queue.Empty:
                return self._take_extra()
            if worker in self._workers:
                return worker
            worker.close()  # it ended while it was idle
        raise Unavailable("the hub is closing")

    def _take_extra(self) -> Worker:
        deadline = time.monotonic() + IDLE_WORKER_SECONDS
        asked: _Set | None = None
        while not self._closed.is_set() and time.monotonic() < deadline:
            try:
                return self._extra.get(block=asked is not None, timeout=1.0)
            except queue.Empty:
                if asked is not self._set:  # a set that died took the wish with it
                    asked = self._set
                    asked.ask_extra()
        raise Unavailable("no worker is free, and none comes")

    def _discard(self, worker: Worker) -> None:
        """Have a worker replaced; the document does not wait for it."""
        worker.close()
        with self._lock:
            self._workers.discard(worker)
        if self._closed.is_set():
            raise Unavailable("the hub is closing")
        self._set.kill(worker)

    def _take_in(self) -> None:
        """Take workers in as they come; start the set again should it die."""
        pause = 0.1
        while not self._closed.is_set():
            told = self._set.told()
            if isinstance(told, Worker) and told.extra:
                self._extra.put(told)
            elif isinstance(told, Worker):
                with self._lock:
                    self._workers.add(told)
                    self._lock.notify_all()
                self._idle.put(told)
                pause = 0.1
            elif told is not None:
                self._forget(told)
            elif not self._closed.wait(pause):
                pause = min(pause * 2, 30)
                self._start_again()

    def _forget(self, pid: int) -> None:
        """Count a worker out that has ended; if it was idle, its next document finds out at once and takes another."""
        with self._lock:
            self._workers = {worker for worker in self._workers if worker.pid != pid}
        with self._idle.mutex:
            idle = any(worker.pid == pid for worker in self._idle.queue)
        if idle:
            self._on_death()  # that of one at work is noted by its document

    def _start_again(self) -> None:
        self._set.end()
        with self._lock:
            self._workers.clear()  # those at work are found dead by their documents, the idle ones by the next
        log.error("worker_set_died")
        try:
            self._set = _Set(self._order, self._spool)
        except (Unavailable, ConfigError, OSError) as error:
            log.error("worker_set_not_started", error=type(error).__name__)
        if self._closed.is_set():
            self._set.end()
