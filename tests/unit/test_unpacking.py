"""Releases are unpacked into memory, and nothing in them can lead out, link out or blow up."""

from __future__ import annotations

import io
import os
import stat
import zipfile

import pytest

from hub import unpacking
from hub.errors import ConfigError
from hub.unpacking import unpack
from tests.releases import zip_bytes, zipped


def refused(path) -> str:
    with pytest.raises(ConfigError) as caught:
        unpack(path)
    return str(caught.value)


def raw_zip(path, *entries: tuple[str, bytes, int, int]):
    """Write entries as (name, body, flags, mode) with names that ``zipfile`` would not write by itself."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, content, _, mode in entries:
            info = zipfile.ZipInfo("x" * len(name.encode("latin-1")))
            info.external_attr = mode << 16
            archive.writestr(info, content)
    data = body.getvalue()
    for name, _, flags, _ in entries:
        raw = name.encode("latin-1")
        data = data.replace(b"x" * len(raw), raw, 2)
        if flags:
            for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
                at = data.index(mark) + offset
                data = data[:at] + flags.to_bytes(2, "little") + data[at + 2 :]
    path.write_bytes(data)
    return path


def test_a_zip_and_a_folder_give_the_same_files(tmp_path):
    files = {"Schema/a b.xsd": "<a/>", "Codelisten/Länder.xml": "<b/>"}
    for name, text in files.items():
        path = tmp_path / "release" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    packed = zipped(tmp_path / "release.ZIP", files)

    assert unpack(packed).files == unpack(tmp_path / "release").files
    assert unpack(packed).files == {name: text.encode() for name, text in files.items()}
    assert unpack(packed).name == unpack(tmp_path / "release").name == "release"


def test_the_one_folder_around_everything_and_what_file_managers_leave_is_left_out(tmp_path):
    files = {
        "XLager_1.0/Schema/a.xsd": "<a/>", "XLager_1.0/b.xml": "<b/>", "__MACOSX/XLager_1.0/._b.xml": "x",
        "XLager_1.0/.DS_Store": "x", "XLager_1.0/.git/config": "x", "XLager_1.0/Spezifikation.pdf": "x",
    }  # fmt: skip

    assert set(unpack(zipped(tmp_path / "a.zip", files)).files) == {"Schema/a.xsd", "b.xml"}


def test_zips_inside_a_zip_are_opened(tmp_path):
    inner = zip_bytes({"schema/a.xsd": "<a/>"})

    found = unpack(zipped(tmp_path / "a.zip", {"XSD.zip": inner, "b.xml": "<b/>"})).files

    assert set(found) == {"XSD/schema/a.xsd", "b.xml"}


@pytest.mark.parametrize(
    "written",
    [
        "Länderschlüssel Größe.xml".encode("cp437"),  # Windows, and what the format says
        "Länderschlüssel Größe.xml".encode("cp850"),  # Windows in Germany: the same for umlauts
        "Länderschlüssel Größe.xml".encode(),  # macOS and others, without the flag that says so
        "La\u0308nderschlu\u0308ssel Gro\u0308ße.xml".encode(),  # macOS: umlauts as two characters
    ],
)
def test_umlauts_in_names_are_read_however_they_were_packed(written, tmp_path):
    path = raw_zip(tmp_path / "a.zip", (written.decode("latin-1"), b"<a/>", 0, 0), ("anderes.xml", b"<b/>", 0, 0))

    assert set(unpack(path).files) == {"Länderschlüssel Größe.xml", "anderes.xml"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("../a.xsd", "leads out of the folder"),
        ("a/../../b.xsd", "leads out of the folder"),
        ("a\\..\\..\\b.xsd", "leads out of the folder"),
        ("/etc/a.xsd", "absolute path"),
        ("\\\\server\\a.xsd", "absolute path"),
        ("C:\\a.xsd", "absolute path"),
        ("c:a.xsd", "absolute path"),
        ("a\nb.xsd", "is no name"),
        ("a\x1b[2J.xsd", "is no name"),
        ("n" * 201 + ".xsd", "too long"),
        ("a/" * 33 + "b.xsd", "too deep"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name, text, tmp_path):
    said = refused(zipped(tmp_path / "a.zip", {"gut.xsd": "<a/>", name: "<b/>"}))

    assert text in said
    assert said.isprintable()


def test_a_name_that_is_cut_by_a_nul_is_refused(tmp_path):
    assert "is no name" in refused(raw_zip(tmp_path / "a.zip", ("a.xsd\0.txt", b"<a/>", 0, 0)))


def test_a_name_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.xsd", "<a/>")
        archive.writestr("a//b.xsd", "<b/>")

    assert "is there twice" in refused(path)


@pytest.mark.parametrize("mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o666, stat.S_IFCHR | 0o666])
def test_a_link_or_a_device_in_a_zip_is_refused(mode, tmp_path):
    assert "is a link or a device" in refused(raw_zip(tmp_path / "a.zip", ("a.xsd", b"/etc/passwd", 0, mode)))


def test_links_and_devices_in_a_folder_are_refused(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.xsd").symlink_to("/etc/passwd")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a").symlink_to("/etc")
    (tmp_path / "three").mkdir()
    os.mkfifo(tmp_path / "three" / "a.xsd")

    for name in ("one", "two", "three"):
        assert "is a link" in refused(tmp_path / name)


def test_an_encrypted_entry_is_refused(tmp_path):
    assert "is encrypted" in refused(raw_zip(tmp_path / "a.zip", ("a.xsd", b"<a/>", 1, 0)))


def test_a_bomb_ends_at_the_limit_of_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FILE_BYTES_MAX", 3 << 20)

    assert "is larger than 3 MB" in refused(zipped(tmp_path / "a.zip", {"a.xsd": b"\0" * (4 << 20), "b": "x"}))


def test_many_small_bombs_end_at_the_limit_of_all_files_also_inside_a_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ALL_BYTES_MAX", 3 << 20)
    inner = zip_bytes({f"{i}.xml": b"\0" * (1 << 20) for i in range(5)})

    assert "unpacks to more than 3 MB" in refused(zipped(tmp_path / "a.zip", {"a.zip": inner, "b": "x"}))


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "FILES_MAX", 10)

    assert "more than 10 files" in refused(zipped(tmp_path / "a.zip", {f"{i}.xml": "" for i in range(11)}))


@pytest.mark.parametrize(
    "body", [b"", b"kein zip", zip_bytes({"a.xsd": "<a/>" * 500})[:60]], ids=["empty", "text", "cut"]
)
def test_what_is_no_zip_is_said(body, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(body)

    assert "is no zip, or a damaged one" in refused(path)


def test_a_zip_whose_checksum_is_wrong_is_refused(tmp_path):
    path = raw_zip(tmp_path / "a.zip", ("a.xsd", b"<gut/>", 0, 0))
    path.write_bytes(path.read_bytes().replace(b"<gut/>", b"<bad/>"))

    assert "damaged" in refused(path)


def test_what_is_not_there_is_said(tmp_path):
    assert "is not there" in refused(tmp_path / "fehlt.zip")
