"""The program as its users call it: ``main()`` in this process, with its own words, streams, folder and environment.

    office = Office(folder)                        # what `xoev-hub init` makes
    done = office("messages", "list", "--json")    # code, out, err

What it changes of the process is put back. Where a process of its own matters, ``program`` starts one.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from hub.cli import main
from hub.message import new_id
from hub.store import open_store
from hub.store.api import Acceptance, Reference
from hub.store.sql import SqlStore
from tests.storing import acceptance

TOKEN = "token-des-portals"  # of an invented portal
TOWN, VILLAGE = "musterstadt/antrag", "musterdorf/antrag"
REASON = ("--reason", "Fachverfahren läuft wieder")


@dataclass(frozen=True)
class Done:
    """How a call ended."""

    code: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        assert self.raw, self.err
        return json.loads(self.raw)


def command(*arguments: str, stdin: bytes = b"", cwd: Path | None = None, **environment: str) -> Done:
    """Call the program in this process."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with _own_process(environment) as patch:
        patch.setattr(sys, "argv", ["xoev-hub", *arguments])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        if cwd is not None:
            patch.chdir(cwd)
        code = _run_main()
        out.flush()
        err.flush()
    done = Done(code, out.buffer.getvalue(), err.buffer.getvalue().decode())  # type: ignore[attr-defined]
    assert "Traceback" not in done.err, done.err
    assert "this is a bug" not in done.err, done.err
    return done


def _run_main() -> int:
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@contextmanager
def _own_process(environment: Mapping[str, str]) -> Iterator[pytest.MonkeyPatch]:
    logged, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("XOEV_HUB_", "SUDO_"))]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "path", list(sys.path))
        patch.setattr(sys, "excepthook", sys.excepthook)
        patch.setattr(sys, "unraisablehook", sys.unraisablehook)
        patch.setattr(threading, "excepthook", threading.excepthook)
        try:
            yield patch
        finally:
            structlog.configure(**logged)
            root.handlers[:], root.level = handlers, level
            logging.captureWarnings(capture=False)


def program(*arguments: str, cwd: Path, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Call the program in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("XOEV_HUB_", "SUDO_"))}
    return subprocess.run(
        [sys.executable, "-m", "hub", *arguments],
        cwd=cwd, env=clean | environment, input=stdin, capture_output=True, timeout=100,
    )  # fmt: skip


class Office:
    """A deployment that ``xoev-hub init`` has made, and somebody who calls the program for it from elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "routes.yaml"
        self.documents = folder / "tests" / "messages"
        self.good = self.documents / "antrag-musterstadt.xml"
        self.bad = self.documents / "antrag-ohne-namen.xml"

    def __call__(self, *arguments: str, stdin: bytes = b"", **environment: str) -> Done:
        told = {"PORTAL_TOKEN": TOKEN} | environment
        return command("-c", str(self.config), *arguments, stdin=stdin, **told)

    def document(self, name: str = "Jürgen Müßig", town: str = "09999001") -> bytes:
        """Return an application of its own, to the town or (09999002) the village."""
        text = self.good.read_text("utf-8").replace("3f0c6a1e-6f0b-4b57-9d3e-2f6f0a6d1c01", new_id())
        return text.replace("09999001", town).replace("Erika Musterfrau", name).encode()

    def change(self, old: str, new: str) -> None:
        text = self.config.read_text("utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def store(self) -> SqlStore:
        """Open its store as a daemon does; the caller closes it."""
        return open_store(f"sqlite:///{self.folder}/var/hub.db", state_dir=self.folder / "var", mode="daemon")

    def keep(self, *acceptances: Acceptance) -> list[Acceptance]:
        """Keep messages without asking anybody, and return them."""
        store = self.store()
        for one in acceptances:
            store.accept(one)
        store.close()
        return list(acceptances)

    def claim(self, destination: str = TOWN) -> None:
        """Leave the destination's due deliveries in SENDING, as a daemon that was killed does."""
        store = self.store()
        now = datetime.now(UTC)
        assert store.claim(destination, now=now, limit=10, owner="gone", lease=timedelta(seconds=30))
        store.close()

    def message(self, *references: Reference, dead: str = "", body: bytes | None = None, **more: Any) -> Acceptance:
        """Return a message for the town, as the store keeps it."""
        now = datetime.now(UTC)
        told = {"sender": "portal", "owner": "musterstadt", "destinations": (TOWN,)} | more
        return acceptance(
            body=body or self.document(), dead=dead, due_at=now, received_at=now, references=references, **told
        )

    def accepted(self, body: bytes | None = None) -> dict[str, Any]:
        """Hand a document in and return the message as it is listed."""
        done = self("send", "-", "--sender", "portal", stdin=body or self.document())
        assert done.code == 0, done.err
        shown: dict[str, Any] = self("messages", "show", done.out.split()[0], "--json").json
        return shown

    def listed(self, *filters: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self("messages", "list", "--json", *filters).json["items"]
        return items

    def audits(self) -> list[Any]:
        """Return what was done to messages, and which payloads were read; not that they were handed in."""
        store = self.store()
        found = [one for one in store.audits() if one.action != "send"]
        store.close()
        return found


def states(office: Office) -> list[str]:
    """Return the state of each delivery, those of the oldest message first."""
    return [one["state"] for message in reversed(office.listed()) for one in message["deliveries"]]


def new_office(folder: Path, template: Path) -> Office:
    """Return a deployment of its own, as a copy of one that was checked once: bindings take a second to write."""
    shutil.copytree(template, folder)
    return Office(folder)
