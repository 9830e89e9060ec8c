"""A deployment of its own in an empty folder, and its daemon in a process group of its own: only that is killed.

The standard ``probe/1.0`` is written here, as files; its documents hold nothing but numbers. Each goes to two
destinations, a SOAP procedure in this process and a folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from hub.loopback import free_port
from hub.selftest.checker import Given
from hub.simulate.soap import WSDL

NAMESPACE = "urn:xoev-hub:probe:1"
TOWN, AGS = "probe", "00000001"
SOAP, FOLDER = f"{TOWN}/akte", f"{TOWN}/ablage"
MAX_IN_FLIGHT = 4  # per destination
LARGE_PROBE = 1_200_000  # bytes of content: kept as a file, not as a row
START_SECONDS = 120.0
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.02  # between two looks at a condition

PROFILE = f"""\
standard: probe
version: "1.0"
title: Selbsttest
roots: {{namespace: "{NAMESPACE}", names: [probe]}}
version_from: fixed
xsd: probe.xsd
header:
  form: none
  namespaces: {{p: "{NAMESPACE}"}}
  message_id: /p:probe/p:id
  reader: {{xpath: /p:probe/p:leser, prefix: ags}}
"""
XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{NAMESPACE}" elementFormDefault="qualified">
  <xs:element name="probe">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="id" type="xs:string"/>
        <xs:element name="leser" type="xs:string"/>
        <xs:element name="inhalt" type="xs:string"/>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""


class TooSlow(Exception):
    """Something did not happen in time; the text says what."""


def probe(size: int) -> bytes:
    """Return a document that there is only once, with so many bytes of content."""
    filling = secrets.token_hex(size // 2)
    head = f'<p:probe xmlns:p="{NAMESPACE}"><p:id>{uuid.uuid4()}</p:id><p:leser>{AGS}</p:leser>'
    return f"{head}<p:inhalt>{filling}</p:inhalt></p:probe>".encode()


class Scratch:
    """The files of the deployment, its daemon, and how both are asked. Within a ``with`` block; nothing outlives it."""

    def __init__(
        self,
        folder: Path,
        procedure: str,
        environment: Mapping[str, str] | None = None,
        *,
        store: str | None = None,
        before: Sequence[str] = (),
    ) -> None:
        """``procedure`` is the address of the SOAP procedure, ``environment`` comes on top of that of the proof.

        ``store`` is the URL of another store than the SQLite file in ``state``, ``before`` a program that the hub is
        started by.
        """
        self.folder, self.state = folder, folder / "state"
        self.store = store or f"sqlite:///{self.state / 'hub.db'}"
        self.before = tuple(before)
        self.log = folder / "hub.log"
        self._token = secrets.token_urlsafe(24)
        port, admin = free_port(), free_port()
        self.url, self._admin = f"http://127.0.0.1:{port}/v1/messages", f"http://127.0.0.1:{admin}"
        kept = {name: text for name, text in os.environ.items() if not name.startswith("XOEV_HUB_")}
        self.environment = {
            **kept,
            "XOEV_HUB_STATE_DIR": str(self.state),
            "XOEV_HUB_STORE": self.store,
            "XOEV_HUB_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "XOEV_HUB_WORKERS": "2",
            "XOEV_HUB_STAGE": "test",  # where places to die at are allowed
            "PROBE_TOKEN": self._token,
            # The program that runs here, whatever else is installed.
            "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")])),
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._write(port, procedure)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()

    def _write(self, port: int, procedure: str) -> None:
        (self.folder / "ablage").mkdir(parents=True)
        standard = self.folder / "schemas" / "xoev" / "probe" / "1.0"
        standard.mkdir(parents=True)
        (standard / "profile.yaml").write_text(PROFILE, encoding="utf-8")
        (standard / "probe.xsd").write_text(XSD, encoding="utf-8")
        (self.folder / "wsdl").mkdir()
        for path in (WSDL, WSDL.with_suffix(".xsd")):
            (self.folder / "wsdl" / path.name).write_bytes(path.read_bytes())
        # JSON is YAML, and says the same of every text.
        (self.folder / "routes.yaml").write_text(json.dumps(_routes(port, procedure), indent=1), encoding="utf-8")

    # --- the daemon

    def spawn(self, **environment: str) -> None:
        """Start the daemon; its log goes on."""
        with self.log.open("ab") as log:
            command = [*self.before, sys.executable, "-m", "hub", "-c", str(self.folder / "routes.yaml"), "run"]
            self.process = subprocess.Popen(  # noqa: S603  # our own program, no shell
                command, cwd=self.folder, env={**self.environment, **environment}, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip

    def start(self, **environment: str) -> float:
        """Start the daemon; return how many seconds it took until it was ready.

        Raises:
            TooSlow: It did not come up.
        """
        began = time.monotonic()
        self.spawn(**environment)
        until(lambda: self.ready() or not self.running, "the hub is ready", START_SECONDS)
        if not self.running:
            raise TooSlow(f"the hub ended at its start; see {self.log}")
        return time.monotonic() - began

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        try:
            with requests.Session() as http:
                http.trust_env = False  # a proxy of the machine has no business on the loopback
                return bool(http.get(f"{self._admin}/readyz", timeout=5).status_code == requests.codes.ok)
        except requests.RequestException:
            return False

    def metrics(self) -> str:
        """Return what the hub counts; nothing while nobody answers."""
        try:
            with requests.Session() as http:
                http.trust_env = False
                return http.get(f"{self._admin}/metrics", timeout=30).text
        except requests.RequestException:
            return ""

    def kill(self) -> None:
        """Kill the daemon with all that it has started; returns when all of them are gone."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):  # it has died by itself, and its workers with it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def died(self, seconds: float) -> bool:
        """Return whether it dies by SIGKILL in time, which at a named place it does to itself."""
        assert self.process is not None
        try:
            return self.process.wait(seconds) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            return False

    def reload(self) -> None:
        """Ask for a reload."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> int:
        """Ask the daemon to end; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    # --- its doors

    def session(self) -> requests.Session:
        """Return a connection of a sender's own."""
        http = requests.Session()
        http.trust_env = False
        http.headers.update({"Content-Type": "application/xml", "Authorization": f"Bearer {self._token}"})
        return http

    def filed(self) -> list[Given]:
        """Return what the folder was given: the files themselves are its ledger."""
        return [
            Given(FOLDER, path.stem, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in sorted((self.folder / "ablage").glob("*.xml"))
        ]


def _routes(port: int, procedure: str) -> dict[str, Any]:
    retry = {"first": "100ms", "ceiling": "1s"}
    return {
        "version": 1,
        "senders": {"pruefer": {}},
        "inbound": {
            "eingang": {
                "adapter": "http",
                "listen": f"127.0.0.1:{port}",
                "max_body": "8MB",
                "max_text": "6MB",
                "senders": {"pruefer": {"token": "env:PROBE_TOKEN"}},
            }
        },
        "municipalities": {
            TOWN: {
                "name": "Probe",
                "ags": AGS,
                "values": {"mandant": "1"},
                "procedures": {"akte": {"like": "akte"}, "ablage": {"like": "ablage"}},
            }
        },
        "procedures": {
            "akte": {
                "adapter": "soap",
                "wsdl": f"wsdl/{WSDL.name}",
                "address": procedure,
                "service": "Fachverfahren",
                "port": "Fachverfahren11",
                "operation": "Uebergeben",
                "parameters": {
                    "mandant": "{municipality.values.mandant}",
                    "xml": {"payload": "base64"},
                    "pruefsumme": {"digest": "sha256", "of": "payload"},
                    "vorgang": {"value": "delivery_id"},
                },
                "reply": {"ok": {"xpath": "//rc", "equals": ["0"]}, "codes": {"17": "refused", "23": "deferred"}},
                "retry": retry,
                "on_unclear": "retry",
                "max_in_flight": MAX_IN_FLIGHT,
            },
            "ablage": {"adapter": "folder", "path": "ablage", "retry": retry, "max_in_flight": MAX_IN_FLIGHT},
        },
        "routes": {
            "probe": {"match": {"type": "probe/1.0"}, "deliver_to": ["{municipality}/akte", "{municipality}/ablage"]}
        },
    }


def until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait for a condition.

    Raises:
        TooSlow: It did not become true in time.
    """
    end = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise TooSlow(f"not within {seconds:.0f} s: {what}")
        pause.wait(LOOK_SECONDS)
