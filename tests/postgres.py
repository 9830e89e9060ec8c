"""A PostgreSQL server of a test's own, which it may stop, crash and start again. The shared one is never touched.

with Server() as server:
    server.crash(); server.start()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from hub.loopback import free_port
from tests.daemon import children_of, until
from tests.servers import missing, program, without_root

START_SECONDS = 60


class Server:
    """A private server, trusting everybody on the loopback. Its data stay over ``stop``, ``crash`` and ``start``."""

    def __init__(self) -> None:
        initdb, self._postgres = program("initdb"), program("postgres")
        if initdb is None or self._postgres is None:
            missing("the programs of a PostgreSQL server are not installed")
        self._folder = Path(tempfile.mkdtemp(prefix="hub-postgres-"))
        self._user = without_root("postgres")
        if self._user:
            shutil.chown(self._folder, self._user)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        command = [initdb, "-D", self._data, "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(command, user=self._user, check=True, capture_output=True, cwd=self._folder)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql+psycopg://{user}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The process above all others of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server; returns when it answers."""
        assert self._postgres is not None
        command = [self._postgres, "-D", self._data, "-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder)]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        until(self.answers, "the server answers", START_SECONDS)

    def stop(self) -> None:
        """Stop it in order: connections are ended, everything is written."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop it at once, as a power cut would; the next start recovers."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """Kill the postmaster and all its children by SIGKILL; returns when they are gone. The next start recovers."""
        assert self._process is not None
        children = children_of(self._process.pid)
        self._process.kill()
        for pid in children:  # left alone, they would finish what they are at before they notice
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in children), "the backends have ended")

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url().replace("+psycopg", ""), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        os.kill(process.pid, number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
