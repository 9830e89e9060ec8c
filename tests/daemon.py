"""A hub as its operators run it: `xoev-hub run` in a process group of its own, over a deployment made of files.

    with Daemon(Leinen(folder, {"nordheim": soap(procedure.address)})) as hub:
        receipt = hub.hand_in(leinen()).json()

Nothing of the hub is imported: it is started, asked over HTTP and by its command line, and killed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from hub.loopback import free_port
from tests.leinen import TOKENS, Leinen

ROOT = Path(__file__).parent.parent
START_SECONDS = 90.0
STOP_SECONDS = 60.0
EACH = """\
import json, sys
from hub.cli import main
for line in sys.stdin:
    sys.argv = json.loads(line)
    try:
        main()
    except SystemExit:
        sys.stdout.flush()
"""


class Daemon:
    """``xoev-hub run`` over one deployment. May be killed and started again; the state stays."""

    python = sys.executable  # another one sees what is installed there

    def __init__(self, deployment: Leinen, **environment: str) -> None:
        self.deployment = deployment
        self.state = deployment.folder / "var"
        self.log = deployment.folder / "hub.log"
        self.admin = f"http://127.0.0.1:{(admin := free_port())}"
        self.url = f"http://127.0.0.1:{deployment.port}/v1/messages"
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith("XOEV_HUB_")}
        self.environment |= {"XOEV_HUB_ADMIN_LISTEN": f"127.0.0.1:{admin}", "XOEV_HUB_WORKERS": "2"}
        self.environment |= {"XOEV_HUB_BALLAST": "1MB"} | environment  # hundreds of daemons leave their folders behind
        # The program beside these tests, whatever is installed.
        self.environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")]).strip(
            os.pathsep
        )
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.running:
            self.kill()
        if error is not None and self.log.exists():
            print(self.log.read_text("utf-8", "replace")[-6000:], file=sys.stderr)

    def start(self) -> None:
        """Start the daemon; returns when it says that it is ready."""
        self.deployment.write()
        self.process = self.spawn()
        until(lambda: self.ready() or not self.running, "the daemon is ready", START_SECONDS)
        assert self.running, "the daemon ended at its start:\n" + self.log.read_text("utf-8", "replace")[-3000:]

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the program with `run` in a process group of its own; its log goes on."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [self.python, "-m", "hub", "-c", str(self.deployment.folder / "routes.yaml"), "run"],
                cwd="/", env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill(self) -> None:
        """Kill the whole process group, as a power cut would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(STOP_SECONDS)

    def workers(self) -> set[int]:
        """Return the XML worker processes by their pids: the daemon's descendants that have no children."""
        assert self.process is not None
        below, found = [self.process.pid], set()
        while below:
            pid = below.pop()
            children = [child for child in children_of(pid) if "hub.worker" in _text(Path(f"/proc/{child}/cmdline"))]
            below += children
            found |= {pid} if not children else set()
        return found - {self.process.pid}

    def group(self) -> set[int]:
        """Return the living processes of the daemon's group: itself, and all that it has started."""
        assert self.process is not None
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            state, _parent, group, *_ = [*_text(stat).rpartition(")")[2].split(), "", "", ""]
            if group == str(self.process.pid) and state not in ("Z", "X"):
                found.add(int(stat.parent.name))
        return found

    def ready(self) -> bool:
        return self.asked("/readyz").startswith("ok")

    def asked(self, path: str) -> str:
        """Return what the admin address says; nothing while nobody answers."""
        try:
            return requests.get(self.admin + path, timeout=10).text
        except requests.RequestException:
            return ""

    def hand_in(self, body: bytes, sender: str = "portal", **headers: str) -> requests.Response:
        """Hand a document in as an online service does."""
        sent = {"Content-Type": "application/xml", "Authorization": f"Bearer {TOKENS.get(sender, sender)}"}
        sent |= {name.replace("_", "-"): text for name, text in headers.items()}
        return requests.post(self.url, data=body, headers=sent, timeout=60)

    def status(self, id_: str, sender: str = "portal") -> requests.Response:
        return self.get(f"/{id_}", sender)

    def get(self, path: str, sender: str = "portal") -> requests.Response:
        return requests.get(self.url + path, headers={"Authorization": f"Bearer {TOKENS[sender]}"}, timeout=60)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the program as an operator does."""
        command = [self.python, "-m", "hub", "-c", str(self.deployment.folder / "routes.yaml"), *arguments]
        return subprocess.run(command, cwd="/", env=self.environment, capture_output=True, text=True, timeout=120)

    def start_cli(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and do not wait for it; what it says is not heard."""
        command = [self.python, "-m", "hub", "-c", str(self.deployment.folder / "routes.yaml"), *arguments]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd="/", env=self.environment, stdin=quiet, stdout=quiet, stderr=quiet)

    def cli_each(self, commands: Iterable[Sequence[str]]) -> subprocess.CompletedProcess[str]:
        """Run many commands in one process, for its start takes longest; return all that they said."""
        config = ["xoev-hub", "-c", str(self.deployment.folder / "routes.yaml")]
        lines = "".join(json.dumps([*config, *command]) + "\n" for command in commands)
        program = [sys.executable, "-c", EACH]
        return subprocess.run(
            program, input=lines, cwd="/", env=self.environment, capture_output=True, text=True, timeout=120
        )

    def show(self, id_: str) -> dict[str, Any]:
        """Return one message with its events, as `messages show --json` tells it."""
        shown: dict[str, Any] = json.loads(self.cli("messages", "show", id_, "--json").stdout)
        return shown

    def show_all(self, ids: Iterable[str]) -> list[dict[str, Any]]:
        """Return some messages as `messages show --json` tells them."""
        left = self.cli_each(("messages", "show", id_, "--json") for id_ in ids).stdout.lstrip()
        found: list[dict[str, Any]] = []
        while left:
            shown, end = json.JSONDecoder().raw_decode(left)
            found.append(shown)
            left = left[end:].lstrip()
        return found

    def messages(self, *filters: str) -> list[dict[str, Any]]:
        """Return all messages that `messages list --json` lists, page by page."""
        found: list[dict[str, Any]] = []
        after: tuple[str, ...] = ()
        while True:
            done = self.cli("messages", "list", "--json", "--limit", "500", *filters, *after)
            assert done.returncode == 0, done.stderr
            page = json.loads(done.stdout)
            found += page["items"]
            if not page["next"]:
                return found
            after = ("--after", page["next"])


def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait for a condition and return its value. The time between two looks promises nothing."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
    return value


def children_of(pid: int) -> list[int]:
    """Return the children of a process; it may end meanwhile."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    return [int(child) for thread in threads for child in _text(thread / "children").split()]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
