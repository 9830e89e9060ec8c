"""What is measured: the hub as its operators run it, and the yardstick's prototype. Both are processes of their own.

Nothing of the hub is imported. What is started is ended, by its own session and by nothing broader.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import messages, processes
from bench.messages import DATA, ROOT
from bench.official import CORPUS
from bench.sinks import BROKER, WSDL, Missing, Sink
from hub.loopback import free_port

START_SECONDS = 90.0
YARDSTICK_PORT = 8090  # its own, written in it
YARDSTICK_MODULES = ("lxml", "pika", "uvicorn", "httptools", "uvloop", "zstandard")
TOKEN = "token-of-the-benchmark"  # noqa: S105  it opens a hub that lives for seconds on the loopback


@dataclass(slots=True)
class Subject:
    """A running program that takes documents at ``port``."""

    process: subprocess.Popen[bytes]
    port: int
    path: str
    token: str = ""
    start_seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def end(self) -> None:
        """End it with all its processes."""
        processes.end(self.process)


# --- the hub


def start_hub(
    folder: Path,
    sink: Sink,
    *,
    towns: int = 1,
    workers: int = 2,
    store: str = "",
    releases: Sequence[str] = (),
    environment: Mapping[str, str],
) -> Subject:
    """Write a deployment into an empty folder and start the hub over it; returns when it is ready.

    Raises:
        Missing: Official releases are asked for, and there are none.
        TimeoutError: It does not get ready; the end of its log is in the text.
    """
    port, admin = free_port(), free_port()
    _deploy(folder, sink, towns, port)
    own = {name: text for name, text in os.environ.items() if not name.startswith("XOEV_HUB_")}
    own |= {
        "XOEV_HUB_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "XOEV_HUB_WORKERS": str(workers),
        "BENCH_AMQP_URL": BROKER,
        "PYTHONPATH": str(ROOT),  # the program beside this file, whatever is installed
    }
    own |= {"XOEV_HUB_STORE": store} if store else {}
    command = [sys.executable, "-m", "hub", "-c", str(folder / "routes.yaml")]
    log = folder / "hub.log"
    notes = _import(command, own, releases)
    if store:
        subprocess.run([*command, "store", "migrate"], env=own, check=True, capture_output=True, timeout=60)  # noqa: S603
    started = time.monotonic()
    process = spawn([*command, "run"], own | dict(environment), log)
    subject = Subject(process, port, "/v1/messages", TOKEN, notes=notes)
    try:
        processes.until(lambda: _ready(admin, process), "the hub is ready", START_SECONDS)
    except (TimeoutError, ChildProcessError) as error:
        subject.end()
        raise TimeoutError(f"{error}: {log.read_text('utf-8', 'replace')[-2000:]}") from None
    subject.start_seconds = time.monotonic() - started
    return subject


def _import(command: Sequence[str], environment: Mapping[str, str], releases: Sequence[str]) -> list[str]:
    """Import official releases, each by one command; return what compiling each takes.

    Raises:
        Missing: They are not here.
    """
    if releases and not all((CORPUS / name).is_dir() for name in releases):
        raise Missing(f"no official releases at {CORPUS} (XOEV_HUB_CORPUS)")
    for name in releases:
        done = [*command, "schemas", "import", str(CORPUS / name)]
        subprocess.run(done, env=dict(environment), check=True, capture_output=True, timeout=60)  # noqa: S603
    if not releases:
        return []
    asked = [*command, "schemas", "check", "--json"]
    checked = subprocess.run(asked, env=dict(environment), check=True, capture_output=True, timeout=60)  # noqa: S603
    found = sorted(json.loads(checked.stdout)["items"], key=lambda one: -one["ms"])
    return [
        f"{one['standard']}/{one['version']} compiles in {one['ms']} ms, {one['mb']} MB"
        for one in found
        if one["mb"] >= 0.1
    ]


def _deploy(folder: Path, sink: Sink, towns: int, port: int) -> None:
    shutil.copytree(DATA / "standard", folder / "schemas" / "xoev")
    (folder / "wsdl").mkdir()
    for name in ("procedure.wsdl", "procedure.xsd"):
        shutil.copyfile(WSDL / name, folder / "wsdl" / name)
    shutil.copyfile(DATA / "map.xsl", folder / "map.xsl")
    (folder / "token").write_text(TOKEN, encoding="ascii")
    (folder / "routes.yaml").write_text(json.dumps(_routes(sink, towns, port)), encoding="utf-8")


def _routes(sink: Sink, towns: int, port: int) -> dict[str, Any]:
    """Return routes.yaml; JSON is YAML, and says the same of every text."""
    own = {"steps": [{"xslt": "map.xsl"}, {"validate": "ziel/1.0"}], "retry": {"first": "200ms", "ceiling": "2s"}}
    own["max_in_flight"] = 32 if towns == 1 else 4  # type: ignore[assignment]  # a mapping of all kinds of values
    return {
        "version": 1,
        "senders": {"load": {}},
        "inbound": {
            "online": {
                "adapter": "http",
                "listen": f"127.0.0.1:{port}",
                "max_body": "1MB",
                "senders": {"load": {"token": "file:token"}},
            }
        },
        "procedures": {"target": sink.settings() | own},
        "municipalities": {
            f"town{number:03}": {
                "name": f"Town {number}",
                "ags": messages.ags(number),
                "procedures": {"target": {"like": "target"}},
            }
            for number in range(towns)
        },
        "routes": {"measured": {"match": {"type": "xperf/2.4"}, "deliver_to": ["{municipality}/target"]}},
    }


def _ready(admin: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise ChildProcessError("the hub ended at its start")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


# --- the yardstick


def find_yardstick(asked: str | None) -> Path:
    """Return the yardstick's prototype.

    Raises:
        Missing: It is not there.
    """
    folder = Path(asked or os.environ.get("XOEV_BENCH_YARDSTICK") or ROOT.parent / "shared" / "yardstick")
    program = folder / "proto" / "chain.py"
    if not program.is_file():
        raise Missing("no yardstick beside the checkout (--yardstick DIR)")
    return program


def start_yardstick(program: Path, folder: Path, queue: str, environment: Mapping[str, str]) -> Subject:
    """Start `hybrid 2` as it is; what its Python lacks is stood in for, and that is noted.

    Raises:
        Missing: Its port is taken.
        TimeoutError: It does not listen.
    """
    if processes.answers(YARDSTICK_PORT):
        raise Missing(f"port {YARDSTICK_PORT} is taken")
    python = os.environ.get("XOEV_BENCH_YARDSTICK_PYTHON", "")
    own = os.environ | {"DB": str(folder / "chain.db"), "Q": queue, "PYTHONDONTWRITEBYTECODE": "1"}
    lacking = [] if python else [name for name in YARDSTICK_MODULES if importlib.util.find_spec(name) is None]
    if lacking:
        stand_ins = folder / "stand-ins"
        stand_ins.mkdir()
        for name in lacking:
            shutil.copyfile(ROOT / "bench" / "stand_ins" / f"{name}.py", stand_ins / f"{name}.py")
        own["PYTHONPATH"] = str(stand_ins)
    started = time.monotonic()
    process = spawn([python or sys.executable, str(program), "hybrid", "2"], own | dict(environment), folder / "log")
    subject = Subject(process, YARDSTICK_PORT, "/in", notes=[f"{name} stood in for" for name in lacking])
    try:
        processes.until(lambda: processes.answers(YARDSTICK_PORT), "the yardstick listens", 20)
    except TimeoutError:
        subject.end()
        raise
    subject.start_seconds = time.monotonic() - started
    return subject


def spawn(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own."""
    with log.open("wb") as out:
        return subprocess.Popen(  # noqa: S603  our own program, or the one that the caller names
            command, cwd="/", env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
