"""A disk that is watched, that fails, or whose machine loses its power. The watching itself is in disk.c (LD_PRELOAD).

    with Disk(folder, root) as disk:           what lies below root, for processes that get disk.environment
        disk.fault("E")                        syncs fail from now on; "" ends it
        disk.position()                        how far the log is: everything before it has happened

    Images(log, root).at(position, chance)     what may be on the disk if the power goes there

At a power loss, what was synced is there. The rest is dropped (chance is None), or each unsynced write is there or not,
whole or torn at a sector, and of the unsynced names of a folder the first few are.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.servers import missing

SOURCE = Path(__file__).with_name("disk.c")
HEAD = struct.Struct("<cQqII")
SECTOR = 512


@functools.cache
def library() -> Path:
    """Return the compiled library; it goes with the test process."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("there is no C compiler (cc)")
    folder = Path(tempfile.mkdtemp(prefix="hub-disk-"))
    import atexit

    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "disk.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(SOURCE)], check=True)
    return made


class Disk:
    """Watches, or fails, what some processes do below ``root``."""

    def __init__(self, folder: Path, root: Path, *, recording: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root, self.log, self._fault = root, folder / "disk.log", folder / "disk.fault"
        self._fault.write_bytes(b" " * 4096)
        self.log.touch()
        self.environment = {
            "LD_PRELOAD": str(library()),
            "PROOF_DISK_ROOT": str(root),
            "PROOF_DISK_FAULT": str(self._fault),
            **({"PROOF_DISK_LOG": str(self.log)} if recording else {}),
        }

    def fault(self, kind: str) -> None:
        """From now on fail so: ``E`` syncs, ``R`` read-only, ``F`` full, nothing: all is well."""
        with self._fault.open("r+b") as file:
            file.write((kind or " ").encode())

    def position(self) -> int:
        return self.log.stat().st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.fault("")


@dataclass
class _File:
    """What is on the disk of a file for sure, and what has been written since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # (offset, bytes), or (size, None)

    def sync(self) -> None:
        for at, data in self.pending:
            _apply(self.durable, at, data)
        self.pending.clear()

    def content(self, chance: random.Random | None) -> bytes:
        found = bytearray(self.durable)
        for at, data in self.pending if chance is not None else ():
            if chance.random() < 0.5:
                continue
            torn = data is not None and chance.random() < 0.3
            _apply(found, at, data[: chance.randrange(0, len(data) + 1, SECTOR)] if torn and data else data)
        return bytes(found)


@dataclass
class _Folder:
    """The names of a folder that are on the disk for sure, and what has happened to them since its last sync."""

    durable: dict[str, _File | None] = field(default_factory=dict)  # None: a folder
    pending: list[tuple[str, _File | None, bool]] = field(default_factory=list)  # (name, what, is there)

    def sync(self) -> None:
        self.durable = self.names(len(self.pending))
        self.pending.clear()

    def names(self, first: int) -> dict[str, _File | None]:
        found = dict(self.durable)
        for name, what, there in self.pending[:first]:
            if there:
                found[name] = what
            else:
                found.pop(name, None)
        return found


class Images:
    """The disk as it was at positions of a log, one after the other. ``deaf``: syncs are believed and not done."""

    def __init__(self, log: Path, root: Path, *, deaf: bool = False) -> None:
        self._bytes, self._root, self._deaf = log.read_bytes(), str(root), deaf
        self._at = 0
        self._folders: dict[str, _Folder] = {}
        self._seen: dict[str, _File | None] = {}  # what a process sees under a path
        self._by_inode: dict[int, _File] = {}
        self.syncs = 0

    def at(self, position: int, chance: random.Random | None, into: Path) -> None:
        """Write what may be on the disk after a power loss here. Positions only grow from call to call."""
        while self._at < position:
            self._step()
        into.mkdir(parents=True)
        self._write(self._root, into, chance)

    def ends(self) -> Iterator[int]:
        """Yield the position after each record of the whole log."""
        at = 0
        while at < len(self._bytes):
            *_, name, data = HEAD.unpack_from(self._bytes, at)
            at += HEAD.size + name + data
            yield at

    def _write(self, folder: str, into: Path, chance: random.Random | None) -> None:
        there = self._folders.get(folder, _Folder())
        first = 0 if chance is None else chance.randint(0, len(there.pending))
        for name, file in there.names(first).items():
            if file is None:
                (into / name).mkdir()
                self._write(f"{folder}/{name}", into / name, chance)
            else:
                (into / name).write_bytes(file.content(chance))

    def _step(self) -> None:
        op, inode, number, of_name, of_data = HEAD.unpack_from(self._bytes, self._at)
        start = self._at + HEAD.size
        name = self._bytes[start : start + of_name].decode()
        data = self._bytes[start + of_name : start + of_name + of_data]
        self._at = start + of_name + of_data
        match op:
            case b"M":
                self._link(name, None)
            case b"O" if name not in self._seen:
                self._by_inode[inode] = _File()  # also when the number was that of a file that is gone
                self._link(name, self._by_inode[inode])
            case b"W" if inode in self._by_inode:
                self._by_inode[inode].pending.append((number, data))
            case b"T" if inode in self._by_inode:
                self._by_inode[inode].pending.append((number, None))
            case b"R":
                moved = self._seen[name]
                self._unlink(name)
                self._link(data.decode(), moved)
            case b"U":
                self._unlink(name)
            case b"S" if not self._deaf:
                self.syncs += 1
                if name in self._folders or self._seen.get(name, "") is None or name == self._root:
                    self._folders.setdefault(name, _Folder()).sync()
                elif inode in self._by_inode:
                    self._by_inode[inode].sync()

    def _link(self, path: str, what: _File | None) -> None:
        self._seen[path] = what
        self._folder_of(path).pending.append((os.path.basename(path), what, True))

    def _unlink(self, path: str) -> None:
        what = self._seen.pop(path, None)
        self._folder_of(path).pending.append((os.path.basename(path), what, False))

    def _folder_of(self, path: str) -> _Folder:
        return self._folders.setdefault(os.path.dirname(path), _Folder())


def _apply(content: bytearray, at: int, data: bytes | None) -> None:
    if data is None:
        del content[at:]
        content.extend(bytes(max(at - len(content), 0)))
        return
    content.extend(bytes(max(at - len(content), 0)))
    content[at : at + len(data)] = data
