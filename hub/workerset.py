"""The worker set of one snapshot: a small process that compiles everything once, then forks the workers.

Started by exec, never forked from the threaded daemon. It compiles schemas and stylesheets on its only thread, has a
fork run the route tests, and forks workers that share all of it copy-on-write. It reaps and refills them, kills those
that grow too large, and ends with the daemon, however that ends: its sockets close. Extra workers, each for one large
document, are forked when the daemon asks for them and come on top.

    control  ◀─ {"base", "main", "stage", "state_dir", "size", "memory", "strict", "deployment"?, "names" or "read"}
                + contents: all that there is, or what was read before
             ─▶ {"ready": digest, "names"?, "warnings"} + contents   |  {"problems": […]}
    hatch    ─▶ {"worker": pid, "extra": bool} + the daemon's end of that worker's socket, its page  |  {"ended": pid}
             ◀─ {"kill": pid}  |  {"extra": true}
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from hub import routetests, wire, worker
from hub.errors import Problem
from hub.files import Files
from hub.inspection import Snapshot
from hub.log import configure, get_log
from hub.page import Page
from hub.snapshot import compile_snapshot
from hub.spool import Spool
from hub.xml import bindings

log = get_log(__name__)

TICK_SECONDS = 0.1
FORKS_PER_SECOND = 20  # a worker that dies at once must not turn this into a fork bomb
PR_SET_PDEATHSIG = 1
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main(control_fd: int, hatch_fd: int) -> None:
    """Prove the snapshot, then keep its workers until the daemon closes the hatch."""
    # A signal to the whole process group (Ctrl-C, systemd) is the daemon's: it drains, and needs its workers for that.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    configure()
    try:
        with socket.socket(fileno=control_fd) as control:
            line = wire.Line(control)
            frame = line.receive()
            order = frame.json()
            snapshot = _prove(line, order, frame.contents())
        if snapshot is not None:
            bindings.prune(Path(order["state_dir"]))
            with socket.socket(fileno=hatch_fd) as hatch:
                spool = Spool(Path(order["state_dir"]))
                WorkerSet(hatch, snapshot, spool, order["size"], order["memory"]).run()
    except wire.Closed:
        return


def _prove(control: wire.Line, order: dict[str, Any], contents: list[bytes]) -> Snapshot | None:
    base = Path(order["base"])
    sys.path.append(str(base))  # steps may live beside routes.yaml; they shadow nothing that is installed
    begin = Files.frozen if "names" in order else Files.begun
    files = begin(base, dict(zip(order.get("names") or order["read"], contents, strict=True)))
    deployment = wire.unpack_deployment(order["deployment"]) if "deployment" in order else None
    compiled = compile_snapshot(
        files, order["main"], stage=order["stage"], state_dir=Path(order["state_dir"]), deployment=deployment
    )
    problems = list(compiled.problems)
    if compiled.snapshot is not None and "names" not in order:  # what was proved before is not proved again
        problems += _apart(compiled.snapshot, files, "error" if order["strict"] else "warning")
    if compiled.snapshot is None or any(problem.level == "error" for problem in problems):
        control.send({"problems": [asdict(problem) for problem in problems]})
        return None
    answer: dict[str, Any] = {"ready": compiled.snapshot.digest}
    if "names" in order:
        control.send(answer)
    else:
        read = files.contents
        answer |= {"names": list(read), "warnings": [asdict(problem) for problem in problems]}
        control.send(answer, list(read.values()))
    return compiled.snapshot


def _apart(snapshot: Snapshot, files: Files, level: str) -> list[Problem]:
    """Return what is wrong with a snapshot where it is used, found in a process of its own.

    What compiles and runs XSLT 3.0 does not survive a fork, and every worker will be one.
    """
    ours, theirs = socket.socketpair()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        _in_a_fork(parent, lambda: _tell_what_is_wrong(theirs, snapshot, files, level))
    theirs.close()
    try:
        with ours:
            return [Problem(**one) for one in wire.Line(ours).receive().json()["problems"]]
    except wire.Closed:
        return [Problem("", 0, 0, "tests", "the process that ran the route tests died", level=level)]
    finally:
        os.waitpid(pid, 0)


def _tell_what_is_wrong(theirs: socket.socket, snapshot: Snapshot, files: Files, level: str) -> None:
    found = snapshot.programs.compile() or routetests.problems(snapshot, files, level=level)
    wire.Line(theirs).send({"problems": [asdict(one) for one in found]})


class WorkerSet:
    """Keeps ``size`` workers alive. One thread, one loop."""

    def __init__(self, hatch: socket.socket, snapshot: Snapshot, spool: Spool, size: int, memory: int) -> None:
        self._hatch, self._snapshot, self._spool = hatch, snapshot, spool
        self._size, self._memory = size, memory
        self._workers: dict[int, int] = {}  # pid → bytes it may have resident
        self._extra: set[int] = set()  # those of them that nobody replaces
        self._forked: list[float] = []

    def run(self) -> None:
        # What was compiled stays for good: the collector need not look at it, so its pages stay shared.
        gc.collect()
        gc.freeze()
        try:
            while True:
                self._refill()
                if select.select([self._hatch], [], [], TICK_SECONDS)[0] and not self._obey():
                    return
                self._reap()
                self._watch_memory()
        except (BrokenPipeError, ConnectionResetError):
            return  # the daemon has closed the hatch
        finally:
            for pid in self._workers:
                os.kill(pid, signal.SIGKILL)

    def _refill(self) -> None:
        now = time.monotonic()
        self._forked = [at for at in self._forked if now - at < 1]
        while len(self._workers) - len(self._extra) < self._size and len(self._forked) < FORKS_PER_SECOND:
            self._forked.append(now)
            self._fork()

    def _fork(self, *, extra: bool = False) -> None:
        ours, theirs = socket.socketpair()
        descriptor = Page.make()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._hatch.close()
            _in_a_fork(parent, lambda: worker.serve(theirs, self._snapshot, self._spool, Page(descriptor)))
        theirs.close()
        with ours, os.fdopen(descriptor, "rb"):
            self._workers[pid] = self._memory + _resident(os.getpid())
            if extra:
                self._extra.add(pid)
            word = json.dumps({"worker": pid, "extra": extra}).encode()
            socket.send_fds(self._hatch, [word], [ours.fileno(), descriptor])

    def _obey(self) -> bool:
        """Do what the daemon asks; return whether it is still there."""
        asked = self._hatch.recv(1024)
        if not asked:
            return False
        wish = json.loads(asked)
        if "extra" in wish:
            self._fork(extra=True)
        elif wish["kill"] in self._workers:
            os.kill(wish["kill"], signal.SIGKILL)
        return True

    def _reap(self) -> None:
        for pid in list(self._workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._workers[pid]
                self._hatch.send(json.dumps({"ended": pid}).encode())
                code = os.waitstatus_to_exitcode(status)
                if code or pid not in self._extra:  # an extra one ends with its document
                    log.warning("worker_ended", worker=str(pid), code=str(code))
                self._extra.discard(pid)

    def _watch_memory(self) -> None:
        for pid, allowed in self._workers.items():
            if (resident := _resident(pid)) > allowed:
                log.warning("worker_too_large", worker=str(pid), size=resident)
                os.kill(pid, signal.SIGKILL)


def _in_a_fork(parent: int, work: Callable[[], None]) -> NoReturn:
    """Do the work of a fork, and never return to what the parent does."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == parent:  # else it died before we asked to be told
            work()
        code = 0
    except Exception as error:  # a bug: it ends this fork only, and says where
        log.error("worker_failed", exc_info=error)
    finally:
        os._exit(code)


def _resident(pid: int) -> int:
    """Return the resident bytes of a process; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
