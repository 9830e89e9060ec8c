"""Plugins as packages: built, installed beside the hub and used from outside; those that are broken stop nobody.

The environment holds the example of ``examples/``, what ``adapters new`` makes, and neighbours that cannot be used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.testing import Answer, ScriptedPeer
from tests.daemon import Daemon, until
from tests.leinen import Leinen, folder_out, leinen

EXAMPLE = Path(__file__).parents[2] / "examples" / "xoev-hub-briefkasten"
NOT_SOURCES = shutil.ignore_patterns("__pycache__", ".*", "dist")
TAKEN = Answer(201, b"Eingangsnummer: BK-2026-4711\n", {"Content-Type": "text/plain"})
QUICK = {"retry": {"first": "200ms", "ceiling": "2s"}}

PROBE = """
from hub.plugin import Adapter, Settings

class S(Settings):
    path: str = ""
    {field}: str = ""

def make(settings, context):
    raise AssertionError("an adapter that cannot be used was used")

ADAPTER = Adapter(name="{name}", settings=S, outbound=make, api_version={version})
"""
BROKEN = {
    "kaputt": ("import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_library'"),
    "endet": ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    "alt": (
        PROBE.format(name="alt", field="extra", version=0),
        "it is made for version 0 of the plugin interface; this hub has 1",
    ),
    "neu": (
        PROBE.format(name="neu", field="extra", version=99),
        "it is made for version 99 of the plugin interface; this hub has 1",
    ),
    "gierig": (
        PROBE.format(name="gierig", field="retry", version=1),
        "its settings use keys that belong to the hub: retry",
    ),
}
COLLIDING = PROBE.format(name="folder", field="extra", version=1)


class Environment:
    """A virtual environment of its own that sees what is installed in ours."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        self.folder = folder
        self.python = str(folder / "venv" / "bin" / "python")
        (self.site,) = (folder / "venv").glob("lib/python*/site-packages")
        # As an import, so that the .pth files in there count, too: the hub itself may be installed in place.
        (self.site / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")

    def install(self, *packages: Path) -> None:
        """Build the packages' wheels and install them; nothing asks an index."""
        wheels = self.folder / "wheels"
        for package in packages:
            succeed("hatchling", "build", "--target", "wheel", "--directory", str(wheels), cwd=package)
        pip = ("pip", "--python", self.python, "--disable-pip-version-check", "--no-cache-dir")
        succeed(*pip, "install", "--no-deps", "--no-index", *map(str, wheels.glob("*.whl")))

    def leave(self, name: str, source: str, *, group: str = "xoev_hub.adapters", attribute: str = "ADAPTER") -> None:
        """Leave a package of one module behind, as pip does; it offers one thing under ``name``."""
        module = f"probe_{re.sub('[^a-z]', '_', name)}"
        (self.site / f"{module}.py").write_text(source)
        info = self.site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}:{attribute}\n")

    def run(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a module there."""
        return subprocess.run(
            [self.python, "-m", *arguments], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
        )

    def passes(self, *arguments: str, cwd: Path) -> int:
        """Run pytest there; return how many tests passed. None may fail or be skipped."""
        done = self.run("pytest", "-p", "no:cacheprovider", *arguments, cwd=cwd)
        assert done.returncode == 0, done.stdout + done.stderr
        passed = re.search(r"^(?:=+ )?(\d+) passed in ", done.stdout, re.MULTILINE)
        assert passed, done.stdout
        return int(passed[1])


def succeed(*arguments: str, cwd: Path | None = None) -> None:
    done = subprocess.run([sys.executable, "-m", *arguments], capture_output=True, text=True, timeout=100, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("plugins")
    made = Environment(folder)
    shutil.copytree(EXAMPLE, folder / EXAMPLE.name, ignore=NOT_SOURCES)
    succeed("hub", "adapters", "new", "ablage", "--into", str(folder))
    made.install(folder / EXAMPLE.name, folder / "hub-ablage")
    (folder / EXAMPLE.name / "src").rename(folder / "sources")  # from here on only what is installed can be imported
    for name, (source, _) in BROKEN.items():
        made.leave(name, source)
    made.leave("folder", COLLIDING)
    made.leave("kaputter-stempel", "import no_such_library", group="xoev_hub.steps", attribute="stempel")
    return made


@pytest.fixture(scope="module")
def listed(environment: Environment) -> dict[str, list[dict[str, Any]]]:
    """What `adapters list` says there, by name."""
    done = environment.run("hub", "adapters", "list", "--json", cwd=environment.folder)
    assert done.returncode == 1, "a broken adapter is a failure of the list"
    found: dict[str, list[dict[str, Any]]] = {}
    for item in json.loads(done.stdout)["items"]:
        found.setdefault(item["name"], []).append(item)
    return found


# --- the example, and what `adapters new` makes


def test_the_example_is_built_installed_and_keeps_its_contracts(environment: Environment) -> None:
    assert environment.passes(cwd=environment.folder / EXAMPLE.name) > 40


def test_the_scaffold_is_built_installed_and_keeps_its_contract(environment: Environment) -> None:
    assert environment.passes("test_hub_ablage.py", cwd=environment.folder / "hub-ablage") > 10


def test_both_are_typed_to_the_last(environment: Environment) -> None:
    typed = ("sources", f"{EXAMPLE.name}/tests", "hub-ablage")

    succeed("mypy", "--strict", "--cache-dir", os.devnull, *typed, cwd=environment.folder)


def test_installed_adapters_are_listed_with_their_package(listed: dict[str, list[dict[str, Any]]]) -> None:
    good = {"direction": "out", "api_version": 1, "error": None}

    assert listed["briefkasten"] == [
        {"name": "briefkasten", "distribution": "xoev-hub-briefkasten", "version": "1.0.0", **good}
    ]
    assert listed["ablage"] == [{"name": "ablage", "distribution": "hub-ablage", "version": "0.1.0", **good}]


# --- one deployment with all of them


@pytest.fixture(scope="module")
def peer() -> Iterator[ScriptedPeer]:
    with ScriptedPeer(after=TAKEN) as peer:
        yield peer


@pytest.fixture(scope="module")
def hub(environment: Environment, tmp_path_factory: pytest.TempPathFactory, peer: ScriptedPeer) -> Iterator[Daemon]:
    stamped = {"adapter": "briefkasten", "address": f"{peer.url}/post", "token": "file:secrets/portal", **QUICK}
    towns: dict[str, dict[str, Any]] = {
        "nordheim": stamped | {"steps": [{"python": "stempel"}]},
        "westheim": {"adapter": "ablage", "address": f"{peer.url}/ablage", **QUICK},
        "suedheim": folder_out("out"),
    }
    deployment = Leinen(tmp_path_factory.mktemp("hub"), towns)
    deployment.file("tests/hund.xml", leinen().decode())
    deployment.routes["tests"] = [
        {
            "name": "Ein Hund aus Nordheim kommt in den Briefkasten",
            "message": "tests/hund.xml",
            "expect": {"route": "leinen", "deliver_to": ["nordheim/leinen"]},
        }
    ]
    daemon = Daemon(deployment)
    daemon.python = environment.python
    with daemon:
        yield daemon


def delivered(hub: Daemon, body: bytes) -> dict[str, Any]:
    """Hand a document in, wait until it is delivered, and return its delivery."""
    id_ = hub.hand_in(body).json()["id"]
    until(lambda: hub.status(id_).json()["status"] == "delivered", "it is delivered")
    (delivery,) = hub.status(id_).json()["deliveries"]
    return dict(delivery)


def test_a_deployment_with_plugins_passes_check_and_test(hub: Daemon) -> None:
    checked, tested = hub.cli("check"), hub.cli("test")

    assert (checked.returncode, tested.returncode) == (0, 0), checked.stderr + tested.stderr


def test_a_document_goes_through_the_step_and_the_adapter_of_a_package(hub: Daemon, peer: ScriptedPeer) -> None:
    body = leinen(0)

    delivery = delivered(hub, body)

    (form,) = [one.body for one in peer.requests if one.path == "/post"]
    assert delivery["id"].encode() in form
    assert re.search(rb"<!-- Eingang 20[0-9T:Z-]+, Nachricht [0-9a-f-]{36} -->\n?<l:anmeldung ", form)
    assert body.partition(b"<l:anmeldung ")[2].strip() in form
    assert hub.messages("--reference", "BK-2026-4711")[0]["deliveries"][0]["id"] == delivery["id"]


def test_a_document_goes_through_the_adapter_of_the_scaffold(hub: Daemon, peer: ScriptedPeer) -> None:
    body = leinen(1)

    delivery = delivered(hub, body)

    arrived = [(one.method, one.path, one.body) for one in peer.requests if one.path.startswith("/ablage")]
    assert arrived == [("PUT", f"/ablage/{delivery['id']}", body)]


def test_a_package_that_takes_a_name_of_the_hub_does_not_get_its_documents(hub: Daemon) -> None:
    body = leinen(2)

    delivery = delivered(hub, body)

    assert (hub.deployment.folder / "out" / f"{delivery['id']}.xml").read_bytes() == body


# --- packages that cannot be used


@pytest.mark.parametrize("name", BROKEN)
def test_a_package_that_cannot_be_used_is_listed_with_its_reason(
    listed: dict[str, list[dict[str, Any]]], name: str
) -> None:
    (item,) = listed[name]

    assert (item["distribution"], item["version"]) == (f"probe-{name}", "1.0")
    assert BROKEN[name][1] in item["error"]


def test_a_package_that_takes_a_name_of_the_hub_is_listed_with_its_reason(
    listed: dict[str, list[dict[str, Any]]],
) -> None:
    errors = {(item["distribution"], item["direction"]): item["error"] for item in listed["folder"]}

    refused = errors.pop(("probe-folder", "out"))
    assert refused.startswith("offered more than once for direction 'out': probe-folder 1.0, xoev-hub ")
    assert errors == {("xoev-hub", "in"): None, ("xoev-hub", "out"): None}


def test_check_fails_for_the_destinations_that_need_them_and_for_no_others(
    environment: Environment, tmp_path: Path
) -> None:
    towns = {f"heim-{name}": {"adapter": name} for name in BROKEN}

    refused = check(environment, Leinen(tmp_path, {"nordheim": folder_out("out"), **towns}))

    assert refused.returncode == 78
    problems = [line for line in refused.stderr.splitlines() if line.startswith("routes.yaml:")]
    assert len(problems) == len(BROKEN), refused.stderr
    for name, (_, reason) in BROKEN.items():
        (problem,) = [line for line in problems if f"adapter '{name}'" in line]
        assert re.match(rf"routes\.yaml:\d+:\d+: procedures\.heim-{name}\S*\.adapter: ", problem)
        assert f"probe-{name} 1.0 cannot be used: " in problem
        assert reason in problem


def test_check_fails_for_the_destination_that_needs_a_step_that_cannot_be_used(
    environment: Environment, tmp_path: Path
) -> None:
    stamped = folder_out("south") | {"steps": [{"python": "kaputter-stempel"}]}

    refused = check(environment, Leinen(tmp_path, {"nordheim": folder_out("north"), "suedheim": stamped}))

    assert refused.returncode == 78
    (problem,) = [line for line in refused.stderr.splitlines() if line.startswith("routes.yaml:")]
    assert problem.endswith(
        "probe_kaputter_stempel cannot be imported: ModuleNotFoundError: No module named 'no_such_library'"
    )


def check(environment: Environment, deployment: Leinen) -> subprocess.CompletedProcess[str]:
    return environment.run("hub", "-c", str(deployment.write()), "check", cwd=deployment.folder)
