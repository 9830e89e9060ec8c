"""The wheel works outside the checkout: built once, installed into a fresh environment, called from elsewhere."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.loopback import free_port
from tests.daemon import until

ROOT = Path(__file__).parents[2]
ID = "01a20104-3a88-770c-80d3-230e6fb12b06"

pytestmark = pytest.mark.timeout(300)


class Installed:
    """The installed program, and a folder to call it from."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self.python, self.program = environment / "bin" / "python", environment / "bin" / "xoev-hub"
        self.folder = folder
        hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        self.environment = {
            name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("XOEV_HUB_")
        } | {"PORTAL_TOKEN": "token-des-portals", "AMQP_URL": f"amqp://127.0.0.1:{free_port()}/"}

    def __call__(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [str(self.program), *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=200,
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    pytest.importorskip("pip")  # an environment may be made without it
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "dist")], ROOT)
    (wheel,) = (folder / "dist").glob("xoev_hub-*.whl")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    made = Installed(folder / "venv", folder / "elsewhere")
    made.folder.mkdir()
    pip = [sys.executable, "-m", "pip", "--python", str(made.python), "--disable-pip-version-check", "--no-cache-dir"]
    run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], folder)
    # The libraries are this environment's; the checkout, which stands beside them in a .pth of its own, is not.
    (inside,) = (folder / "venv" / "lib").glob("python3.*/site-packages")
    (inside / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    yield made


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def office(installed: Installed) -> Path:
    """A deployment that the installed program has made."""
    installed("init", "office")
    return installed.folder / "office"


def test_it_is_not_the_checkout_that_is_tested(installed: Installed) -> None:
    code = "import hub, adapters, hub.files; print(hub.__file__, adapters.__file__, hub.files.shipped_root())"
    done = subprocess.run(
        [str(installed.python), "-c", code], cwd=installed.folder, env=installed.environment, capture_output=True,
        text=True,
    )  # fmt: skip

    assert len(done.stdout.split()) == 3, done.stderr
    assert all(path.startswith(str(installed.python.parents[1])) for path in done.stdout.split())


def test_it_knows_its_version(installed: Installed) -> None:
    assert installed("--version") == "xoev-hub, version 0.1.0\n"


def test_shipped_standards_are_found_in_the_package(installed: Installed) -> None:
    listed = json.loads(installed("schemas", "list", "--json"))["items"]

    assert {"xmeld", "xgewerbeanzeige", "xbau", "xbeteiligung", "xdomea", "xrechnung", "antrag"} <= {
        one["standard"] for one in listed
    }
    assert all(one["folder"].startswith("shipped:") for one in listed)
    assert all(one["error"] is None for one in json.loads(installed("schemas", "check", "--json"))["items"])


def test_adapters_are_found_once(installed: Installed) -> None:
    listed = json.loads(installed("adapters", "list", "--json"))["items"]

    names = [(one["name"], one["direction"]) for one in listed]
    assert len(names) == len(set(names))
    assert {("http", "in"), ("folder", "in"), ("folder", "out"), ("soap", "out"), ("amqp", "out")} <= set(names)


def test_a_new_deployment_is_good(installed: Installed, office: Path) -> None:
    config = str(office / "routes.yaml")

    installed("-c", config, "check")
    installed("-c", config, "test")
    explained = json.loads(
        installed("-c", config, "explain", str(office / "tests/messages/antrag-musterstadt.xml"), "--json")
    )

    assert explained["plan"][0]["destination"] == "musterstadt/antrag"


def test_the_example_that_it_ships_is_good(installed: Installed) -> None:
    code = "from hub.files import shipped_root; print(shipped_root())"
    shipped = subprocess.run(
        [str(installed.python), "-c", code], cwd=installed.folder, env=installed.environment, capture_output=True,
        text=True, check=True,
    ).stdout.strip()  # fmt: skip
    before = {path for path in Path(shipped).rglob("*") if "__pycache__" not in path.parts}
    installed.environment["XOEV_HUB_STATE_DIR"] = str(installed.folder / "state")

    installed("-c", f"{shipped}/routes.yaml", "check")
    tested = installed("-c", f"{shipped}/routes.yaml", "test")
    del installed.environment["XOEV_HUB_STATE_DIR"]

    assert {line.split()[0] for line in tested.splitlines()} == {"ok"}
    assert {path for path in Path(shipped).rglob("*") if "__pycache__" not in path.parts} == before


def test_a_message_is_stored_found_and_delivered(installed: Installed, office: Path) -> None:
    config = office / "routes.yaml"
    for port in ("8080", "8081"):
        config.write_text(config.read_text("utf-8").replace(f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"))
    (office / "ausgang" / "musterstadt").mkdir(exist_ok=True)
    installed("-c", str(config), "messages", "list", code=69)
    id_ = installed(
        "-c", str(config), "send", str(office / "tests/messages/antrag-musterstadt.xml"), "--sender", "portal"
    )
    environment = installed.environment | {"XOEV_HUB_ADMIN_LISTEN": f"127.0.0.1:{free_port()}"}
    with subprocess.Popen(
        [str(installed.program), "-c", str(config), "run"], cwd="/", env=environment, stderr=subprocess.PIPE
    ) as running:
        try:
            until(
                lambda: list((office / "ausgang/musterstadt").glob("*.xml")) or running.poll() is not None, "it arrives"
            )
        finally:
            running.terminate()
            _, said = running.communicate(timeout=60)

    assert running.returncode == 0, said
    (message,) = json.loads(installed("-c", str(config), "messages", "list", "--json"))["items"]
    assert (message["id"], message["status"]) == (id_.split()[0], "delivered")


def test_the_demo_runs(installed: Installed) -> None:
    installed("demo", "--json", "demo.json")

    table = json.loads((installed.folder / "demo.json").read_text("utf-8"))
    assert len(table["standards"]) >= 6
    assert table["replay"]["after"] == "delivered"


def test_it_proves_on_this_machine_that_nothing_is_lost(installed: Installed) -> None:
    scratch = installed.folder / "scratch"
    scratch.mkdir()
    told = installed("selftest", "--crash", "--kills", "3", "--receipts", "20", "--seed", "1", "--folder", str(scratch))

    assert "seed 1" in told
    assert "Verdict: every promise was kept." in told
    assert list(scratch.iterdir()) == []
