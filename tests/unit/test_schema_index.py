"""What is kept of schema files spares parsing them, and is never believed of other bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from hub.files import Files
from hub.xml.index import INDEX, Index
from hub.xml.registry import Registry
from tests.standards import PROFILE, XSD, write

OTHER = XSD.replace('<xs:element name="notiz"', '<xs:element name="zettel"')


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a deployment with a standard, of which an index is kept."""
    write(tmp_path, {"profile.yaml": PROFILE, "notiz.xsd": XSD}, "notiz/1")
    index = Index(files := Files(tmp_path))
    Registry.load(files, index)
    index.keep()
    return tmp_path


def names(base: Path) -> set[str]:
    registry, problems = Registry.load(Files(base))
    assert problems == []
    return set(registry.profiles["notiz", "1"].names)


def forged(text: bytes, old: bytes, new: bytes) -> bytes:
    """Return an index that says something else of the same bytes, and is whole."""
    head, _, body = text.partition(b"\n")
    body = body.replace(old, new)
    return head.split(b" ")[0] + b" " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def test_what_is_kept_of_a_file_is_believed(kept: Path) -> None:
    path = kept / INDEX
    path.write_bytes(forged(path.read_bytes(), b'"notiz"', b'"blatt"'))

    assert names(kept) == {"blatt"}


def test_a_schema_that_has_changed_is_read_anew(kept: Path) -> None:
    (kept / "schemas/xoev/notiz/1/notiz.xsd").write_text(OTHER, "utf-8")

    assert names(kept) == {"zettel"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda text: text[:-9],
        lambda text: text.replace(b'"notiz"', b'"blatt"'),
        lambda text: b"xoev-hub-0" + text[len(b"xoev-hub-1") :],
        lambda _: b"\xff\x00\n",
    ],
    ids=["empty", "cut off", "changed", "of another program", "no text"],
)
def test_an_index_that_is_damaged_costs_time_and_nothing_else(kept: Path, damage) -> None:
    path = kept / INDEX
    path.write_bytes(damage(path.read_bytes()))

    assert names(kept) == {"notiz"}


def test_an_index_that_cannot_be_written_hinders_nobody(kept: Path) -> None:
    (kept / INDEX).unlink()
    (kept / INDEX).mkdir()
    index = Index(files := Files(kept))
    Registry.load(files, index)

    index.keep()

    assert names(kept) == {"notiz"}
    assert [path.name for path in (kept / "schemas").iterdir() if path.name.startswith(".index-")] == []


def test_a_snapshot_has_the_same_files_and_the_same_name(kept: Path) -> None:
    contents = []
    for _ in range(2):
        Registry.load(files := Files(kept))
        contents.append((files.digest(), files.contents))
        (kept / INDEX).unlink(missing_ok=True)

    assert contents[0] == contents[1]


def test_a_file_that_is_no_xml_is_named_each_time(kept: Path) -> None:
    (kept / "schemas/xoev/notiz/1/notiz.xsd").write_text("<xs:schema", "utf-8")

    for _ in range(2):
        index = Index(files := Files(kept))
        _, problems = Registry.load(files, index)
        index.keep()
        assert "is not well-formed XML" in [one.text for one in problems]
