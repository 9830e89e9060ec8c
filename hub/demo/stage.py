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
from hub.files import shipped_root
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
        done = subprocess.run(  # noqa: S603  # our own program, no shell
            [sys.executable, "-m", "hub", *arguments], cwd=self.folder, env=self.environment, capture_output=True,
            check=False, timeout=90,
        )  # fmt: skip
        try:
            return done.returncode, json.loads(done.stdout or b"null")
        except ValueError:
            return done.returncode, None

    @cached_property
    def adapters(self) -> dict[str, str]:
        """Return which adapter each destination has."""
        destinations = hub.config.load(self.folder / "routes.yaml").destinations
        return {name: destination.adapter for name, destination in destinations.items()}

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
        for name in EXAMPLE:
            source, target = shipped_root() / name, self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copyfile(source, target)
        for name in FOLDERS:  # the folder adapter makes none: a share that is not mounted must not become a local disk
            (self.folder / name).mkdir(parents=True)
        signing.sign(self.folder / SIGNED, self.folder / TRUST)
        if self.rules:
            self._add_rules()
        if self.broker:
            self._add_broker()

    def _add_rules(self) -> None:
        # Not in the example itself: it must be usable without the extra xslt3.
        folder = self.folder / INVOICES
        shutil.copytree(shipped_root() / INVOICES, folder)
        shutil.copyfile(Path(__file__).with_name(RULES), folder / RULES)
        with (folder / "profile.yaml").open("a", encoding="utf-8") as profile:
            profile.write(f"schematron: [{RULES}]\n")
        routes = self.folder / "routes.yaml"
        plain = "match: {type: xrechnung/3.0/*}\n    checks: [xsd: header"
        text = routes.read_text("utf-8").replace(plain, f"{plain}, schematron")
        routes.write_text(text, encoding="utf-8")

    def _add_broker(self) -> None:
        # An exchange of our own: the broker may be somebody's.
        exchange = f"xoev-hub-demo-{secrets.token_hex(4)}"
        routes = self.folder / "routes.yaml"
        text = routes.read_text("utf-8").replace("exchange: fachverfahren", f"exchange: {exchange}")
        routes.write_text(text, encoding="utf-8")
        self.script(
            lambda script: (
                script
                + "  braunschweig-einwohner:\n"
                + f"    amqp: {{url: env:AMQP_URL, exchange: {exchange}, routing_key: braunschweig.einwohner,"
                + f' queue: {exchange}, temporary: "true"}}\n'
                + "    answers: [ok]\n"
            )
        )

    def _free_ports(self) -> None:
        """Replace every port of the example by a free one."""

        def fresh(match: re.Match[str]) -> str:
            return f"127.0.0.1:{self.ports.setdefault(match[1], _free_port())}"

        for path in (self.folder / "routes.yaml", self.folder / "procedures.yaml", *self.folder.glob("*/*.yaml")):
            text = re.sub(r"127\.0\.0\.1:(\d+)", fresh, path.read_text("utf-8"))
            path.write_text(text, encoding="utf-8")
        self.ports["8081"] = _free_port()
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


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _broker() -> str | None:
    """Return the address of a RabbitMQ that lets us in."""
    url = os.environ.get("AMQP_URL", BROKER)
    quick = {"socket_timeout": "2", "stack_timeout": "3", "blocked_connection_timeout": "3", "connection_attempts": "1"}
    try:
        pika.BlockingConnection(pika.URLParameters(f"{url}{'&' if '?' in url else '?'}{urlencode(quick)}")).close()
    except (pika.exceptions.AMQPError, OSError, ValueError):
        return None
    return url
