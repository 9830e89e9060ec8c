"""Secrets are read as they are now, and never shown."""

from __future__ import annotations

import os
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.plugin import SecretRef
from hub.secrets import Secrets, same

VALUE = "geheim-4711"
FILE = SecretRef("file", "secrets/token")
ENV = SecretRef("env", "HUB_TEST_TOKEN")
LONG_AGO = 1_600_000_000


@pytest.fixture
def base(tmp_path):
    (tmp_path / "secrets").mkdir()
    return tmp_path


def write(base, value: bytes, *, at: int | None = None):
    path = base / "secrets" / "token"
    path.write_bytes(value)
    if at is not None:
        os.utime(path, (at, at))


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_a_file_is_read_without_the_newline_at_its_end(base, ending):
    write(base, b" Schl\xc3\xbcssel " + ending)

    assert Secrets(base).read(FILE) == " Schlüssel "


def test_only_one_newline_is_not_part_of_the_secret(base):
    write(base, b"a\nb\n\n")

    assert Secrets(base).read(FILE) == "a\nb\n"


def test_an_absolute_path_stays_absolute(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("elsewhere") / "token"
    path.write_text(VALUE)

    assert Secrets(base).read(SecretRef("file", str(path))) == VALUE


def test_an_environment_variable_is_read_anew(base, monkeypatch):
    secrets = Secrets(base)
    monkeypatch.setenv("HUB_TEST_TOKEN", VALUE)
    first, version = secrets.read(ENV), secrets.version(ENV)

    monkeypatch.setenv("HUB_TEST_TOKEN", "neu")

    assert (first, secrets.read(ENV)) == (VALUE, "neu")
    assert secrets.version(ENV) != version


@pytest.mark.parametrize("at", [None, LONG_AGO], ids=["just now", "long ago"])
def test_a_changed_file_is_read_anew(base, at):
    secrets = Secrets(base)
    write(base, b"alt", at=at)
    first, version = secrets.read(FILE), secrets.version(FILE)

    write(base, b"neu", at=at)

    assert (first, secrets.read(FILE)) == ("alt", "neu")
    assert secrets.version(FILE) != version


def test_a_replaced_file_is_read_anew(base):
    secrets = Secrets(base)
    write(base, b"alt", at=LONG_AGO)
    assert secrets.read(FILE) == "alt"

    new = base / "secrets" / "new"
    new.write_bytes(b"neu")
    os.utime(new, (LONG_AGO, LONG_AGO))
    new.replace(base / "secrets" / "token")

    assert secrets.read(FILE) == "neu"


def test_a_removed_file_is_not_remembered(base):
    secrets = Secrets(base)
    write(base, b"alt", at=LONG_AGO)
    assert secrets.read(FILE) == "alt"

    (base / "secrets" / "token").unlink()

    with pytest.raises(FileNotFoundError):
        secrets.read(FILE)


def test_a_version_stays_while_the_secret_does_and_tells_nothing(base):
    secrets = Secrets(base)
    write(base, VALUE.encode())
    version = secrets.version(FILE)

    write(base, VALUE.encode(), at=LONG_AGO)

    assert secrets.version(FILE) == version
    assert Secrets(base).version(FILE) != version
    assert VALUE not in version


def test_a_secret_that_becomes_readable_has_another_version(base):
    secrets = Secrets(base)
    missing = secrets.version(FILE), secrets.version(ENV)

    write(base, VALUE.encode())

    assert missing == ("unreadable", "unreadable")
    assert secrets.version(FILE) != "unreadable"


@pytest.mark.parametrize("value", [b"", b"\n", VALUE.encode() + b"\xff", VALUE.encode() * 200_000])
def test_a_file_that_is_no_secret_is_refused_by_its_reference(base, value):
    write(base, value)

    with pytest.raises(OSError) as caught:
        Secrets(base).read(FILE)

    told = "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert "file:secrets/token" in str(caught.value)
    assert VALUE not in told
    assert str(base) not in told
    assert caught.value.__context__ is None


def test_missing_is_an_error_that_names_the_reference(base, monkeypatch):
    monkeypatch.delenv("HUB_TEST_TOKEN", raising=False)

    with pytest.raises(FileNotFoundError, match="file:secrets/token"):
        Secrets(base).read(FILE)
    with pytest.raises(KeyError, match="env:HUB_TEST_TOKEN"):
        Secrets(base).read(ENV)
    monkeypatch.setenv("HUB_TEST_TOKEN", "")
    with pytest.raises(KeyError, match="env:HUB_TEST_TOKEN"):
        Secrets(base).read(ENV)


def test_a_folder_or_a_pipe_is_no_secret_and_holds_nobody_up(base):
    os.mkfifo(base / "secrets" / "token")

    with pytest.raises(OSError, match="not a regular file"):
        Secrets(base).read(FILE)
    with pytest.raises(OSError, match="file:secrets"):
        Secrets(base).read(SecretRef("file", "secrets"))


@given(st.text(), st.text())
def test_same_means_equal_and_not_empty(a, b):
    assert same(a, b) == (a == b != "")
    assert same(a, a) == (a != "")


def test_same_takes_whatever_a_header_may_hold():
    assert same("\udcff", "\udcff")
    assert not same("\udcff", "ÿ")
