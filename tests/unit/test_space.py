"""Room on the disk: refused before it is full, and a ballast for what has to go on."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.errors import Unavailable
from hub.space import NAME, SCARCE_BYTES, Disk

KEEP, BALLAST = 200_000_000, 16_000_000


class Stand:
    """A disk whose room the test sets."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = 10 * KEEP
        self.folder, self.ballast = folder, folder / NAME
        self.disk = Disk(folder, KEEP, BALLAST)
        monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_bavail=self.free // 4096, f_frsize=4096))

    def look(self, free: int) -> None:
        self.free = free
        self.disk.look()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path, monkeypatch)


def test_below_the_watermark_nothing_is_taken_in(stand: Stand) -> None:
    stand.disk.admit()
    stand.free = KEEP - 4096

    assert stand.disk.low
    with pytest.raises(Unavailable, match="nearly full"):
        stand.disk.admit()


def test_the_ballast_is_of_real_blocks_and_for_the_hub_alone(stand: Stand) -> None:
    stand.disk.look()

    found = stand.ballast.stat()
    assert found.st_size == BALLAST
    assert found.st_blocks * 512 >= BALLAST
    assert found.st_mode & 0o777 == 0o600


def test_it_stays_while_there_is_room_for_what_goes_on(stand: Stand) -> None:
    stand.disk.look()

    stand.look(SCARCE_BYTES + 4096)

    assert stand.ballast.exists()
    assert stand.disk.low


def test_it_goes_when_there_is_no_room_left_and_comes_back_when_there_is_plenty(stand: Stand) -> None:
    stand.disk.look()

    stand.look(SCARCE_BYTES - 4096)
    assert not stand.ballast.exists()

    stand.look(KEEP + BALLAST - 4096)  # taking it on must not bring the disk below the watermark
    assert not stand.ballast.exists()
    stand.disk.admit()

    stand.look(KEEP + BALLAST + 4096)
    assert stand.ballast.stat().st_size == BALLAST


def test_a_ballast_of_another_size_or_with_holes_is_made_anew(stand: Stand) -> None:
    stand.ballast.write_bytes(b"x" * 5000)
    stand.disk.look()
    assert stand.ballast.stat().st_size == BALLAST

    with stand.ballast.open("wb") as file:
        file.truncate(BALLAST)
    stand.disk.look()
    assert stand.ballast.stat().st_blocks * 512 >= BALLAST


def test_a_ballast_that_finds_no_room_leaves_nothing_behind(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    stand.disk.look()

    assert not stand.ballast.exists()


def test_a_store_elsewhere_has_no_disk_here(tmp_path: Path) -> None:
    disk = Disk(None, KEEP, BALLAST)
    disk.look()
    disk.admit()

    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_yet_is_no_reason_to_refuse(tmp_path: Path) -> None:
    disk = Disk(tmp_path / "later", KEEP, BALLAST)
    disk.look()
    disk.admit()
