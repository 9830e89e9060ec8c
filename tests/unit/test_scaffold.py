"""`adapters new`: the package of the tutorial under another name; nothing that was there is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli import program
from hub.errors import ConfigError
from hub.scaffold import scaffold

PAGE = Path(__file__).parents[2] / "docs" / "tutorial-adapter.md"
BLOCK = re.compile(r"^File `([^`]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*") if path.is_file()
    }


def test_the_scaffold_is_what_the_tutorial_shows(tmp_path: Path) -> None:
    scaffold("put", tmp_path)

    written = files(tmp_path / "hub-put")
    assert written.pop("README.md")
    assert written == dict(BLOCK.findall(PAGE.read_text("utf-8")))


def test_every_name_in_it_is_the_new_one(tmp_path: Path) -> None:
    written = scaffold("ablage-4", tmp_path / "new" / "folder")

    folder = tmp_path / "new" / "folder" / "hub-ablage-4"
    assert sorted(written) == sorted(str(folder / name) for name in files(folder))
    assert sorted(files(folder)) == ["README.md", "hub_ablage_4.py", "pyproject.toml", "test_hub_ablage_4.py"]
    text = "\n".join(files(folder).values())
    assert "class Ablage4Adapter:" in text
    assert 'ablage-4 = "hub_ablage_4:ADAPTER"' in text
    assert re.findall("@|hub_put|hub-put|Put[AS]", text.replace("@pytest", "")) == []


@pytest.mark.parametrize(
    "name",
    ["", "Put", "put_", "../put", "-put", "put-", "a--b", "4put", "put-in", "put-out", "ü", "a" * 41, "put\n"],
)
def test_a_name_that_no_adapter_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"expected|itself"):
        scaffold(name, tmp_path)

    assert files(tmp_path) == {}


@pytest.mark.parametrize(("name", "text"), [("folder", "installed already"), ("tls", "hide hub.plugin.TlsSettings")])
def test_a_name_that_somebody_has_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        scaffold(name, tmp_path)

    assert files(tmp_path) == {}


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "hub-put").mkdir()
    (tmp_path / "hub-put" / "mine.txt").write_text("mine")

    with pytest.raises(ConfigError, match="is there already, nothing was written"):
        scaffold("put", tmp_path)

    assert files(tmp_path) == {"hub-put/mine.txt": "mine"}


def test_the_command_names_what_it_wrote_and_what_comes_next(tmp_path: Path) -> None:
    run = CliRunner()

    done = run.invoke(program, ["adapters", "new", "put", "--into", str(tmp_path)])
    bad = run.invoke(program, ["adapters", "new", "Put", "--into", str(tmp_path)])

    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        str(tmp_path / "hub-put" / name) for name in ("pyproject.toml", "README.md", "hub_put.py", "test_hub_put.py")
    ]
    assert "pip install" in done.stderr
    assert bad.exit_code == 2
    assert "beginning with a letter" in bad.stderr
