"""Servers for tests: the one that answers, else a private one, else a skip that says why (a failure where CI=true).

``fresh_database()`` gives each test a PostgreSQL database of its own; ``amqp_url()`` names a RabbitMQ. What a private
server leaves behind goes with the test process.
"""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pika
import psycopg
import psycopg.sql
import pytest

from hub.loopback import free_port

START_SECONDS = 60


def amqp_url() -> str:
    """Return the URL of a RabbitMQ that answers."""
    return _rabbitmq() or missing("RabbitMQ answers nowhere on 127.0.0.1:5672 and cannot be started")


def postgres_url(database: str = "postgres") -> str:
    """Return the URL of a PostgreSQL that answers, whose user may create databases."""
    server = _postgresql() or missing("PostgreSQL answers nowhere on 127.0.0.1:5432 and cannot be started")
    return f"postgresql+psycopg://{server}/{database}"


@contextmanager
def fresh_database(template: str = "template1") -> Iterator[str]:
    """Give a new database's URL and drop it afterwards. It is empty, or a copy of a database that nobody uses."""
    name = f"hub_test_{uuid.uuid4().hex[:12]}"
    server = postgres_url().replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        create = psycopg.sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(create.format(psycopg.sql.Identifier(name), psycopg.sql.Identifier(template)))
    try:
        yield postgres_url(name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            drop = psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(drop.format(psycopg.sql.Identifier(name)))


def missing(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


@functools.cache
def _postgresql() -> str | None:
    """Return user, host and port of a server: the usual one, or a private one."""
    if _postgresql_answers(usual := "postgres@127.0.0.1:5432"):
        return usual
    initdb, postgres = program("initdb"), program("postgres")
    if initdb is None or postgres is None:
        return None
    folder, port = _private_folder("postgres"), free_port()
    data = str(folder / "data")
    user = without_root("postgres")
    subprocess.run(
        [initdb, "-D", data, "-U", "postgres", "-A", "trust"], user=user, check=True, capture_output=True, cwd=folder
    )
    server = f"postgres@127.0.0.1:{port}"
    command = [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", str(folder)]
    return server if _start(command, lambda: _postgresql_answers(server), folder, user=user) else None


def _postgresql_answers(server: str) -> bool:
    try:
        psycopg.connect(f"postgresql://{server}/postgres", connect_timeout=2).close()
    except psycopg.Error:
        return False
    return True


# --- RabbitMQ -----------------------------------------------------------------------------------------------------


@functools.cache
def _rabbitmq() -> str | None:
    """Return the URL of a broker: the usual one, or a private one."""
    if _rabbitmq_answers(usual := "amqp://guest:guest@127.0.0.1:5672/%2F"):
        return usual
    # The program itself: the one on the path insists on its own user.
    program = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    if not program.exists():
        return None
    folder, port = _private_folder("rabbitmq"), free_port()
    # A configuration of its own: the machine's would bring the usual port with it.
    (folder / "own.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{port}\n", encoding="ascii")
    environment = {
        "RABBITMQ_CONFIG_FILE": str(folder / "own.conf"),
        "HOME": str(folder),  # the cookie
        "RABBITMQ_NODENAME": f"hubtest{os.getpid()}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
    }
    url = f"amqp://guest:guest@127.0.0.1:{port}/%2F"
    return url if _start([str(program)], lambda: _rabbitmq_answers(url), folder, environment=environment) else None


def _rabbitmq_answers(url: str) -> bool:
    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 5
    try:
        pika.BlockingConnection(parameters).close()
    except (pika.exceptions.AMQPError, OSError):
        return False
    return True


# --- private servers ----------------------------------------------------------------------------------------------


def program(name: str) -> str | None:
    found = shutil.which(name)
    return found or next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))), None)


def without_root(name: str) -> str | None:
    """Return the user for a server that refuses to run as root; None: as we are."""
    return name if os.geteuid() == 0 and any(entry.pw_name == name for entry in pwd.getpwall()) else None


def _private_folder(name: str) -> Path:
    """Return a new folder for a server's files; it goes when the test process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"hub-{name}-"))
    if user := without_root(name):
        shutil.chown(folder, user)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _start(
    command: Sequence[str],
    answers: Callable[[], bool],
    folder: Path,
    *,
    user: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Start a server, wait until it answers, and end it with the test process. Return whether it answers."""
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command, user=user, cwd=folder, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    atexit.register(_end, process)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if answers():
            return True
        time.sleep(0.1)  # between two looks; the condition is that it answers
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
