"""Spool files: private, without a name, gone with whoever has them open; and the frames that carry them."""

from __future__ import annotations

import os
import resource
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub import wire
from hub.spool import FOLDER, Spool, read

LARGE = os.urandom(3_000_000)
SMALL = b"klein"
ANNOUNCED = struct.pack(">BIHq", 0, 2, 1, -2 - 3_000_000) + b"{}"  # a frame whose blob comes as a file


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "var")


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(20)
        theirs.settimeout(20)
        yield ours, theirs


def test_a_spool_file_has_no_name_and_belongs_to_the_hub_alone(spool: Spool, tmp_path: Path) -> None:
    with spool.write(LARGE) as file:
        found = os.fstat(file.fileno())

        assert list((tmp_path / "var" / FOLDER).iterdir()) == []
        assert (found.st_nlink, found.st_mode & 0o777, found.st_size) == (0, 0o600, len(LARGE))
        assert (tmp_path / "var" / FOLDER).stat().st_mode & 0o777 == 0o700
        assert read(os.dup(file.fileno()), len(LARGE)) == LARGE


def test_what_was_left_with_a_name_is_swept_away(spool: Spool, tmp_path: Path) -> None:
    spool.sweep()  # nothing is there yet, not even the folder
    spool.write(SMALL).close()
    (tmp_path / "var" / FOLDER / "tmpx1y2z3").write_bytes(SMALL)

    spool.sweep()

    assert list((tmp_path / "var" / FOLDER).iterdir()) == []


@pytest.mark.parametrize("size", [len(LARGE) - 1, len(LARGE) + 1])
def test_a_file_that_is_not_as_announced_is_not_read(spool: Spool, size: int) -> None:
    with spool.write(LARGE) as file, pytest.raises(OSError, match="announced"):
        read(os.dup(file.fileno()), size)


def test_a_descriptor_that_is_no_file_is_not_read() -> None:
    outlet, inlet = os.pipe()

    with pytest.raises(OSError, match="announced"):
        read(outlet, 0)

    os.close(inlet)


def test_large_blobs_go_as_files_and_small_ones_in_the_frame(
    spool: Spool, ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled: list[int] = []
    write = Spool.write
    monkeypatch.setattr(Spool, "write", lambda self, body: spooled.append(len(body)) or write(self, body))
    limit = b"x" * wire.BLOB_BYTES_MAX
    blobs = [SMALL, LARGE, limit, b"", LARGE[::-1]]
    out, line = wire.Line(ends[0], spool), wire.Line(ends[1])
    sender = threading.Thread(target=lambda: [out.send({"n": n}, blobs) for n in range(2)])

    sender.start()
    got = [line.receive() for _ in range(2)]
    sender.join()

    assert [(frame.json(), frame.blobs) for frame in got] == [({"n": 0}, blobs), ({"n": 1}, blobs)]
    assert spooled == [len(LARGE)] * 4
    assert not open_spool_files()


def test_without_a_spool_everything_goes_in_the_frame(ends: tuple[socket.socket, socket.socket]) -> None:
    sender = threading.Thread(target=wire.Line(ends[0]).send, args=({}, [LARGE, None]))

    sender.start()
    frame = wire.Line(ends[1]).receive()
    sender.join()

    assert frame.blobs == [LARGE, None]


def test_a_full_disk_is_said_before_anything_is_sent(spool: Spool, ends: tuple[socket.socket, socket.socket]) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = wire.Line(ends[0], spool)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, before[1]))
    try:
        with pytest.raises(wire.Spoiled):
            out.send({}, [LARGE])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    out.send({"after": True}, [SMALL])
    frame = wire.Line(ends[1]).receive()
    assert (frame.json(), frame.blobs) == ({"after": True}, [SMALL])
    assert not open_spool_files()


def test_a_sender_that_goes_before_its_file_has_come_is_closed(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(ANNOUNCED)
    ends[0].close()

    with pytest.raises(wire.Closed):
        wire.Line(ends[1]).receive()


def test_a_byte_without_a_file_is_spoiled(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(ANNOUNCED + b"\0")

    with pytest.raises(wire.Spoiled):
        wire.Line(ends[1]).receive()


def test_a_descriptor_that_nobody_has_read_is_closed_with_its_line(
    spool: Spool, ends: tuple[socket.socket, socket.socket]
) -> None:
    line = wire.Line(ends[1])
    ends[0].sendall(ANNOUNCED[:-2])  # the frame never becomes whole
    with spool.write(LARGE) as file:
        socket.send_fds(ends[0], [b"\0"], [file.fileno()])
    ends[0].close()

    with pytest.raises(wire.Closed):
        line.receive()
    line.close()

    assert not open_spool_files()


def open_spool_files() -> list[str]:
    names = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [name for name in names if f"/{FOLDER}/" in name]
