"""A RabbitMQ of a test's own, which it may kill and start again. The shared one is never touched.

with Broker() as broker:
    broker.kill(); broker.start()
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pika
import pika.exceptions

from hub.loopback import free_port
from tests.daemon import until
from tests.servers import missing

# The program itself: the one on the path insists on its own user.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 120.0


class Broker:
    """A private broker on one port. What is durable in it stays over ``kill`` and ``start``."""

    def __init__(self) -> None:
        if not PROGRAM.exists():
            missing("the program of a RabbitMQ is not installed")
        self._folder = Path(tempfile.mkdtemp(prefix="hub-broker-"))
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"
        (self._folder / "own.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n", encoding="ascii")
        self._environment = {
            **os.environ,
            "HOME": str(self._folder),  # the cookie
            "RABBITMQ_CONFIG_FILE": str(self._folder / "own.conf"),
            "RABBITMQ_NODENAME": f"hubbroker{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self._folder),
            "RABBITMQ_LOG_BASE": str(self._folder),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",  # one scheduler: it starts faster on a small machine
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the broker; returns when it takes connections."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [str(PROGRAM)], cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, start_new_session=True,
            )  # fmt: skip
        until(self.answers, "the broker answers", START_SECONDS)

    def kill(self) -> None:
        """Kill it by SIGKILL, as a power cut would end it."""
        process, self._process = self._process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def answers(self) -> bool:
        parameters = pika.URLParameters(self.url)
        parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 5
        try:
            pika.BlockingConnection(parameters).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
