"""Several daemons on one PostgreSQL database, with leases of a few seconds, and a balancer in front of them.

with Cluster(folder, url, 3, procedures) as cluster:
    sender = Portal(cluster)
    cluster.nodes[0].sleep(); …; cluster.nodes[0].wake()
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import requests

from tests.accounts import Sender
from tests.daemon import Daemon, until
from tests.leinen import TOKENS, Leinen
from tests.proving.record import STORM

LEASE_SECONDS = 30.0 if STORM else 5.0
PROGRAM = """\
import sys
from datetime import timedelta
from hub import deliverer, deliverers
from hub.daemon import engine
lease = float(sys.argv.pop(1))
deliverer.LEASE = timedelta(seconds=lease)
deliverers.RENEW_SECONDS = lease / 3
engine.LOST_SECONDS = engine.VANISHED_SECONDS = 1
from hub.cli import main
main()
"""


class Node(Daemon):
    """One of several daemons. It may sleep, as a machine does whose disk hangs or that is moved to another host."""

    def __init__(self, deployment: Leinen, url: str, **environment: str) -> None:
        super().__init__(deployment, XOEV_HUB_STORE=url, XOEV_HUB_WORKERS="1", **environment)
        self.asleep = False

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.python, "-c", PROGRAM, str(LEASE_SECONDS), "-c", str(self.deployment.folder / "routes.yaml"), "run"],
                cwd="/", env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def sleep(self) -> None:
        """Stop all its processes where they are."""
        assert self.process is not None
        self.asleep = True
        os.killpg(self.process.pid, signal.SIGSTOP)

    def wake(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)
        self.asleep = False

    def kill(self) -> None:
        self.asleep = False
        super().kill()

    def is_healthy(self) -> bool:
        """Look as a balancer does: it has no patience."""
        try:
            return self.running and requests.get(self.admin + "/readyz", timeout=1).status_code == 200
        except requests.RequestException:
            return False


class Balancer:
    """Passes connections on to the healthy nodes in turn; what a node has that is no longer healthy is cut."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._healthy: list[Node] = []
        self._open: dict[Node, set[socket.socket]] = {node: set() for node in nodes}
        self._turn = 0
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/v1/messages"
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._look, self._accept)]
        for thread in self._threads:
            thread.start()
        until(lambda: self._healthy, "a node is healthy")

    def hand_in(self, body: bytes, sender: str = "portal") -> requests.Response:
        headers = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKENS[sender]}"}
        return requests.post(self.url, data=body, headers=headers, timeout=60)

    def close(self) -> None:
        self._ending.set()
        with suppress(OSError):  # wakes the thread that waits for callers
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for node in self._nodes:
            self._cut(node)

    def _look(self) -> None:
        while not self._ending.is_set():
            healthy = [node for node in self._nodes if node.is_healthy()]
            with self._lock:
                gone = [node for node in self._healthy if node not in healthy]
                self._healthy = healthy
            for node in gone:
                self._cut(node)
            self._ending.wait(0.2)

    def _cut(self, node: Node) -> None:
        with self._lock:
            cut, self._open[node] = self._open[node], set()
        for one in cut:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._ending.is_set():
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, self._lock:
            if not self._healthy:
                return  # as a connection that is refused
            self._turn += 1
            node = self._healthy[self._turn % len(self._healthy)]
            try:
                upstream = socket.create_connection(("127.0.0.1", node.deployment.port), timeout=5)
            except OSError:
                return
            self._open[node] |= {client, upstream}
            kept = client.dup()
        with kept, upstream, suppress(OSError):
            _pass_on(kept, upstream)
        with self._lock:
            self._open[node] -= {client, upstream}


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    ends = {one: other, other: one}
    while True:
        for end in select.select(list(ends), [], [], 60)[0]:
            data = end.recv(65536)
            if not data:
                return
            ends[end].sendall(data)


class Cluster:
    """Nodes that share a database, each with a folder and a configuration of its own."""

    def __init__(
        self, folder: Path, url: str, size: int, procedures: Mapping[str, Mapping[str, Any]], **environment: str
    ) -> None:
        self._url = url
        deployments = [Leinen(folder / f"node-{number}", procedures) for number in range(size)]
        self.nodes = [Node(one, url, **environment) for one in deployments]
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for node in self.nodes:
                node.deployment.write()
                node.process = node.spawn()
                undo.push(node)
            for node in self.nodes:
                until(lambda: node.ready() or not node.running, "the node is ready", 120)  # noqa: B023
                assert node.running, node.log.read_text("utf-8", "replace")[-3000:]
            self.balancer = Balancer(self.nodes)
            undo.callback(self.balancer.close)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._undo.__exit__(kind, error, at)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the database, past all nodes."""
        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as connection:
            return connection.execute(statement).fetchall()  # type: ignore[call-overload]  # a text of this test

    def sending(self, node: Node) -> set[str]:
        """Return what the database says that a node is sending."""
        assert node.process is not None
        rows = self.ask("SELECT id, split_part(lease_owner, ':', 2) FROM delivery WHERE state = 'sending'")
        return {id_ for id_, pid in rows if pid == str(node.process.pid)}


class Portal(Sender):
    """Hands in through the balancer, and goes on when a connection was cut."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.balancer)

    def hand_in(self, body: bytes) -> bool:
        super().hand_in(body)
        return True
