"""README's first five minutes, pasted word by word into two terminals. Only ports are replaced, for others are taken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub.loopback import free_port

ROOT = Path(__file__).parents[2]
SECTION = "## First own route in five minutes\n"
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WAIT = 60.0


def blocks() -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8").split(SECTION)[1].split("\n## ")[0]
    # The checkout's environment is this test's own.
    return [re.sub(r"^\. \.venv/bin/activate\n", "", block, flags=re.MULTILINE) for block in BLOCK.findall(text)]


class Reader:
    """Somebody with two terminals, who pastes one block after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.deployment = folder / "meinhub"
        self.port, self.admin = free_port(), free_port()
        self.daemon: subprocess.Popen[bytes] | None = None
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("XOEV_HUB_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "XOEV_HUB_ADMIN_LISTEN": f"127.0.0.1:{self.admin}",
            "XOEV_HUB_WORKERS": "1",
        }
        self._said = "set -eu\n"  # what stays in a terminal: its folder and its variables

    def paste(self, block: str) -> str:
        """Paste a block into the second terminal and return what it shows."""
        block = block.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        script = self._said + block
        self._said += "".join(line + "\n" for line in block.splitlines() if line.startswith(("cd ", "export ")))
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout

    def start(self, block: str) -> None:
        """Paste a block that ends with the daemon into the first terminal, and wait until it is ready."""
        assert block.rstrip().endswith("xoev-hub run")
        script = "export PORTAL_TOKEN=nur-zum-probieren\n" + block.replace("xoev-hub run", "exec xoev-hub run")
        self.daemon = subprocess.Popen(["bash", "-c", script], cwd=self.deployment, env=self._environment)
        wait_for(self._is_ready)

    def arrived(self, folder: str) -> list[Path]:
        return sorted((self.deployment / "ausgang" / folder).glob("*.xml"))

    def _is_ready(self) -> bool:
        assert self.daemon is not None
        assert self.daemon.poll() is None, "the daemon has ended"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/readyz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False


def wait_for(come: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT
    while not come():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.05)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    if reader.daemon is not None and reader.daemon.poll() is None:
        reader.daemon.kill()
        reader.daemon.wait()


def test_a_new_user_sees_a_document_arrive_and_adds_a_municipality(reader: Reader) -> None:
    make, run, hand_in, reject, add, send = blocks()

    assert "2 passed, 0 failed" in reader.paste(make)
    routes = reader.deployment / "routes.yaml"
    routes.write_text(routes.read_text("utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{reader.port}"), "utf-8")
    reader.start(run)

    first = reader.paste(hand_in.replace("cd meinhub\n", ""))
    wait_for(lambda: reader.arrived("musterstadt"))
    rejected = reader.paste(reject)
    added = reader.paste(add)
    reader.paste(send)
    wait_for(lambda: reader.arrived("neustadt"))

    sample = reader.deployment / "tests" / "messages" / "antrag-musterstadt.xml"
    assert "202 Accepted" in first
    assert "antrag/1.0/antrag.0101" in first
    assert [file.read_bytes() for file in reader.arrived("musterstadt")] == [sample.read_bytes()]
    assert "422" in rejected
    assert "schema_violation" in rejected
    assert "3 passed, 0 failed" in added
    assert "neustadt" in added
