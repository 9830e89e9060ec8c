"""The adapter of docs/tutorial-adapter.md, taken from the page as a reader would: written down, installed, tested, used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial-adapter.md"
BLOCK = re.compile(r"^File `([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The files of the page in a folder, with the metadata that installing would write beside them."""
    folder = tmp_path / "hub-put"
    folder.mkdir()
    for name, text in BLOCK.findall(PAGE.read_text("utf-8")):
        (folder / name).write_text(text, encoding="utf-8")
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def python(package: Path, *arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder or package,
        env={**os.environ, "PYTHONPATH": f"{package}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_adapter_of_the_tutorial_keeps_the_contract(package: Path) -> None:
    done = python(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_hub_put.py")

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b(\d+) passed", done.stdout)
    assert "skipped" not in done.stdout


def test_the_adapter_of_the_tutorial_is_listed(package: Path) -> None:
    done = python(package, "-m", "hub", "adapters", "list", "--json")

    assert done.returncode == 0, done.stderr
    (put,) = [one for one in json.loads(done.stdout)["items"] if one["name"] == "put"]
    assert (put["direction"], put["distribution"], put["version"], put["error"]) == ("out", "hub-put", "0.1.0", None)


def test_the_configuration_of_the_tutorial_can_be_checked(package: Path, tmp_path: Path) -> None:
    deployment = tmp_path / "meinhub"
    assert python(package, "-m", "hub", "init", str(deployment)).returncode == 0
    (block,) = YAML.findall(PAGE.read_text("utf-8"))
    routes = deployment / "routes.yaml"
    text = routes.read_text("utf-8").replace("like: ablage", "like: antragsablage", 1)
    routes.write_text(text.replace("procedures:\n  ablage", f"{block}  ablage", 1), encoding="utf-8")

    done = python(package, "-m", "hub", "check", folder=deployment)
    routes.write_text(routes.read_text("utf-8").replace("    token: env:", "    tokn: env:"), encoding="utf-8")
    broken = python(package, "-m", "hub", "check", folder=deployment)

    assert done.returncode == 0, done.stderr
    assert broken.returncode == 78
    assert "did you mean 'token'" in broken.stderr
