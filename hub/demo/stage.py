"""The demo's stage: the example in a folder of its own, on free ports, with hub and simulated procedures as processes.

Nothing is made up here: the programs are ``xoev-hub run`` and ``xoev-hub simulate``, as in service.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pika
import pika.exceptions
import requests

import hub.config
from hub.demo import signing
from hub.deployment import Deployment
from hub.files import shipped_root
from hub.loopback import free_port
from hub.xml import saxon

START_SECONDS = 60.0
STOP_SECONDS = 35.0
EXAMPLE = (
    "routes.yaml",
    "procedures.yaml",
    "municipalities",
    "wsdl",
    "trust",
    "transforms",
    "mappings",
    "tests/messages",
)
TOKENS = ("GEWERBE", "BAUPORTAL", "BAUAUFSICHT", "MELDEPORTAL", "RECHNUNG", "FORMULAR")
FOLDERS = (
    "var/in/akten", "var/out/wolfsburg", "var/out/braunschweig", "var/out/salzgitter", "var/out/bauportal",
    "var/out/statistik",
)  # fmt: skip
SIGNED = "tests/messages/schwertransport-wolfsburg.xml"
TRUST = "trust/schwertransport.pem"
INVOICES = "schemas/xoev/xrechnung/3.0"
RULES = "rechnung.sch"
QUEUES = ("einwohner", "gewerbe")
READY = 200
BROKER = "amqp://guest:guest@127.0.0.1:5672/%2F"


class Stage:
    """The running example, within a ``with`` block. Ends what it started, and only that."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="xoev-hub-demo-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        self.broker = _broker()
        self.rules = saxon.available()
        self.ports: dict[str, int] = {}
        self.environment = {
            **os.environ,
            **{f"{name}_TOKEN": secrets.token_urlsafe(24) for name in TOKENS},
            "GEWERBE_PASSWORD": secrets.token_urlsafe(12),
            "AMQP_URL": self.broker or "amqp://127.0.0.1:1/",
            "XOEV_HUB_STATE_DIR": str(self.folder / "var"),
            "XOEV_HUB_STORE": f"sqlite:///{self.folder / 'var' / 'hub.db'}",
            "XOEV_HUB_ADMIN_LISTEN": "127.0.0.1:8081",
            "XOEV_HUB_STAGE": "production",
            "XOEV_HUB_WORKERS": "2",
        }
        self.environment.pop("XOEV_HUB_CONFIG", None)
        self.http = requests.Session()
        self.http.trust_env = False  # a proxy of the machine has no business on the loopback
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in reversed(self._processes):
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._temporary.cleanup()

    def start(self) -> None:
        """Copy the example, start the procedures, then the hub; returns when the hub is ready.

        Raises:
            TimeoutError: One of them does not come up; its log has been copied to stderr.
        """
        self._copy()
        self._free_ports()
        self._spawn("procedures", "simulate", "procedures.yaml")
        for name, port in self.ports.items():
            if name.startswith("91"):
                self._wait(lambda port=port: _answers(port), "procedures")  # type: ignore[misc]  # a default argument
        self._spawn("hub", "run")
        self._wait(self._ready, "hub")

    def command(self, *arguments: str) -> tuple[int, Any]:
        """Run a command of the program as an operator does; return its exit code and its JSON."""
        done = self._command(*arguments)
        try:
            return done.returncode, json.loads(done.stdout or b"null")
        except ValueError:
            return done.returncode, None

    def output(self, *arguments: str) -> bytes:
        """Run a command of the program and return what it writes.

        Raises:
            OSError: It failed.
        """
        done = self._command(*arguments)
        if done.returncode != 0:
            raise OSError(f"xoev-hub {' '.join(arguments[:2])} ended with exit code {done.returncode}")
        return done.stdout

    def _command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603  # our own program, no shell
            [sys.executable, "-m", "hub", *arguments], cwd=self.folder, env=self.environment, capture_output=True,
            check=False, timeout=90,
        )  # fmt: skip

    @cached_property
    def deployment(self) -> Deployment:
        """Return what the example's routes.yaml says, as it stands in the demo's folder."""
        return hub.config.load(self.folder / "routes.yaml")

    @cached_property
    def adapters(self) -> dict[str, str]:
        """Return which adapter each destination has."""
        return {name: destination.adapter for name, destination in self.deployment.destinations.items()}

    @cached_property
    def checks(self) -> dict[str, tuple[str, ...]]:
        """Return which checks each route makes; what it accepts has passed all of them."""
        return {route.name: tuple(str(spec.check) for spec in route.checks) for route in self.deployment.routes}

    def script(self, change: Callable[[str], str]) -> None:
        """Change what the procedures answer from now on."""
        path = self.folder / "procedures.yaml"
        fresh = path.with_suffix(".new")
        fresh.write_text(change(path.read_text("utf-8")), encoding="utf-8")
        fresh.replace(path)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['8080']}/v1/messages"

    def _copy(self) -> None:
        copied(self.folder)
        for name in FOLDERS:  # the folder adapter makes none: a share that is not mounted must not become a local disk
            (self.folder / name).mkdir(parents=True)
        signing.sign(self.folder / SIGNED, self.folder / TRUST)
        if self.rules:
            add_rules(self.folder)
        if self.broker:
            self._add_broker()

    def _add_broker(self) -> None:
        # An exchange of our own: the broker may be somebody's.
        exchange = f"xoev-hub-demo-{secrets.token_hex(4)}"
        routes = self.folder / "routes.yaml"
        text = routes.read_text("utf-8").replace("exchange: fachverfahren", f"exchange: {exchange}")
        routes.write_text(text, encoding="utf-8")
        self.script(lambda script: script + "".join(_queue(exchange, service) for service in QUEUES))

    def _free_ports(self) -> None:
        """Replace every port of the example by a free one."""

        def fresh(match: re.Match[str]) -> str:
            return f"127.0.0.1:{self.ports.setdefault(match[1], free_port())}"

        for path in (self.folder / "routes.yaml", self.folder / "procedures.yaml", *self.folder.glob("*/*.yaml")):
            text = re.sub(r"127\.0\.0\.1:(\d+)", fresh, path.read_text("utf-8"))
            path.write_text(text, encoding="utf-8")
        self.ports["8081"] = free_port()
        self.environment["XOEV_HUB_ADMIN_LISTEN"] = f"127.0.0.1:{self.ports['8081']}"

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(  # noqa: S603  # our own program, no shell
                    [sys.executable, "-m", "hub", *arguments], cwd=self.folder, env=self.environment,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )
            )  # fmt: skip

    def _wait(self, come: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not come():
            if time.monotonic() > deadline or self._processes[-1].poll() is not None:
                sys.stderr.write((self.folder / f"{name}.log").read_text("utf-8", "replace")[-4000:])
                raise TimeoutError(f"{name} did not start")
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return self.http.get(f"http://127.0.0.1:{self.ports['8081']}/readyz", timeout=2).status_code == READY
        except requests.RequestException:
            return False


def copied(folder: Path) -> Path:
    """Copy the example into a folder, and return that."""
    for name in EXAMPLE:
        source, target = shipped_root() / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target)
    return folder


def add_rules(folder: Path) -> None:
    """Add a Schematron rule for invoices to the example in a folder, and switch its line in routes.yaml on.

    The line is a comment in the example: that must be usable without the extra xslt3. The rules of the release are not
    ours to ship (`schemas import` brings them); one rule of that kind is enough to see it.
    """
    place = folder / INVOICES
    shutil.copytree(shipped_root() / INVOICES, place)
    shutil.copyfile(Path(__file__).with_name(RULES), place / RULES)
    with (place / "profile.yaml").open("a", encoding="utf-8") as profile:
        profile.write(f"schematron: [{RULES}]\n")
    routes = folder / "routes.yaml"
    routes.write_text(with_rules(routes.read_text("utf-8")), encoding="utf-8")


def with_rules(routes: str) -> str:
    """Return the example's routes.yaml with the Schematron rules for invoices switched on, as its comment says."""
    switched, count = re.subn(r"    checks: \[xsd: header\]\n    # (checks: \[.*schematron\])", r"    \1", routes)
    assert count == 1, "routes.yaml does not say where"
    return switched


def _queue(exchange: str, service: str) -> str:
    """Return the procedure that takes what comes for one service of Braunschweig, as procedures.yaml writes it."""
    return (
        f"  braunschweig-{service}:\n"
        f"    amqp: {{url: env:AMQP_URL, exchange: {exchange}, routing_key: braunschweig.{service},"
        f' queue: {exchange}.{service}, temporary: "true"}}\n'
        "    answers: [ok]\n"
    )


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _broker() -> str | None:
    """Return the address of a RabbitMQ that lets us in."""
    url = os.environ.get("AMQP_URL", BROKER)
    quick = {"socket_timeout": "2", "stack_timeout": "3", "blocked_connection_timeout": "3", "connection_attempts": "1"}
    try:
        pika.BlockingConnection(pika.URLParameters(f"{url}{'&' if '?' in url else '?'}{urlencode(quick)}")).close()
    except (pika.exceptions.AMQPError, OSError, ValueError):
        return None
    return url
