"""Takes messages from a folder; a file goes to ``done/``, or with what is wrong to ``rejected/``, after its receipt.

A file is taken once it looks whole: its name fits and does not say otherwise (``.x``, ``*.part``, ``*.tmp``), it is the
same in two polls, and it ends with the end tag of its root. Without that end tag it is taken after a minute of quiet,
and the hub says what is wrong with it: the guess may cost a minute, never a message.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from hub.plugin import (
    Accept,
    Conflict,
    Context,
    Duration,
    Finding,
    Incoming,
    Receipt,
    Rejected,
    Settings,
    Unavailable,
)

QUIET = timedelta(seconds=60)
SWEEP_EVERY = timedelta(hours=1)
FINDINGS_MAX = 100
_UNFINISHED = re.compile(r"\A\.[^.]|\.(?:part|tmp|filepart)\Z", re.IGNORECASE)  # rsync, browsers, WinSCP
DONE, REJECTED = "done", "rejected"


class FolderIn(Settings):
    """Which folder, how often, which names. Files in ``done/`` go after ``keep_done`` (``null``: never)."""

    path: str
    every: Duration = timedelta(seconds=5)
    pattern: str = "*.xml"
    keep_done: Duration | None = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What changes when a file is written to or replaced by another."""

    inode: int
    size: int
    mtime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> _Stamp:
        return cls(status.st_ino, status.st_size, status.st_mtime_ns)


@dataclass(slots=True)
class _Seen:
    """What earlier polls know about a file."""

    stamp: _Stamp
    since: datetime
    warned: bool = False
    move: _Move | None = None  # the hub has answered; only the move is missing


@dataclass(frozen=True, slots=True)
class _Move:
    """Where a file goes after the hub's answer. ``code`` stands for a rejection."""

    folder: str
    id: str | None
    code: str | None = None
    findings: tuple[Finding, ...] = ()
    document: bytes | None = field(default=None, repr=False)  # the rejection or receipt in the standard's own form
    tells_findings: bool = True


class FolderPoller:
    """Hands in the files of one folder, oldest first."""

    def __init__(self, settings: FolderIn, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._path = context.base / settings.path
        self._seen: dict[str, _Seen] = {}
        self._swept: datetime | None = None

    def poll(self, accept: Accept) -> None:
        """Hand in every file that is whole; one that cannot be taken never holds up the others.

        Raises:
            OSError: The folder cannot be read.
        """
        with _opened(self._path) as folder:
            for name in (DONE, REJECTED):
                _make_folder(name, folder)
            for name in self._look(folder):
                try:
                    self._take(name, folder, accept)
                except Unavailable:
                    self._context.log.info("folder_round_stopped", source=self._context.name)
                    return
            self._sweep(folder)

    def _look(self, folder: int) -> Sequence[str]:
        """Return the names that were there before, unchanged, oldest first; remember all that are there now."""
        now = self._context.clock()
        found: dict[str, _Seen] = {}
        ready = []
        for name in os.listdir(folder):
            if not fnmatchcase(name, self._settings.pattern) or _UNFINISHED.search(name):
                continue
            status = _status(name, folder)
            if status is None:
                continue
            stamp = _Stamp.of(status)
            before = self._seen.get(name)
            found[name] = before if before and before.stamp == stamp else _Seen(stamp, now)
            if not stat.S_ISREG(status.st_mode):
                self._warn(found[name], "not_a_file")
            elif found[name] is before:
                ready.append(name)
        self._seen = found
        return sorted(ready, key=lambda name: (found[name].stamp.mtime_ns, name))

    def _take(self, name: str, folder: int, accept: Accept) -> None:
        seen = self._seen[name]
        # The hub's answer is remembered: a file that cannot be moved is not handed in again at every poll.
        seen.move = seen.move or self._hand_in(name, seen, folder, accept)
        if seen.move is None:
            return
        status = _status(name, folder)
        if status is None or _Stamp.of(status) != seen.stamp:
            self._warn(seen, "changed_after_its_receipt")  # what stands there now is looked at by the next poll
            return
        try:
            _move(name, seen.move, folder)
        except OSError:
            self._warn(seen, "cannot_be_moved")

    def _hand_in(self, name: str, seen: _Seen, folder: int, accept: Accept) -> _Move | None:
        """Return where the file goes now, or ``None`` if it stays for the next poll."""
        if seen.stamp.size > self._context.limits.max_body:
            if self._context.desk:
                self._context.desk.count(self._context.name, "body_too_large")
            return _Move(REJECTED, None, "body_too_large")
        if not self._context.room.take(seen.stamp.size):
            raise Unavailable("no room")  # the file waits where it is
        try:
            return self._offer(name, seen, folder, accept)
        finally:
            self._context.room.give(seen.stamp.size)

    def _offer(self, name: str, seen: _Seen, folder: int, accept: Accept) -> _Move | None:
        body = self._read(name, seen, folder)
        if body is None or (not _looks_whole(body) and self._context.clock() - seen.since < QUIET):
            return None
        incoming = Incoming(
            body=body,
            source=self._context.name,
            sender=self._context.sender or "",
            sender_reference=_escaped(name)[:200],
        )
        try:
            receipt = accept(incoming)
            return _Move(DONE, receipt.message_id, document=self._standard_receipt(incoming, receipt))
        except Rejected as rejected:
            return self._rejected(rejected.code, rejected, rejected.findings)
        except Conflict as conflict:
            return self._rejected("conflict", conflict)

    def _standard_receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        """Return the standard's own receipt, if the source sends it.

        Raises:
            Unavailable: Not now. The file stays, and is a repetition the next time.
        """
        if self._context.on_accept != "standard" or self._context.desk is None:
            return None
        return self._context.desk.receipt(incoming, receipt)

    def _rejected(self, code: str, error: Rejected | Conflict, findings: tuple[Finding, ...] = ()) -> _Move:
        told = error.document is None or self._context.on_reject == "both"
        return _Move(REJECTED, error.id, code, findings, error.document, told)

    def _read(self, name: str, seen: _Seen, folder: int) -> bytes | None:
        try:
            body = _read_unchanged(name, seen.stamp, folder)
        except FileNotFoundError:
            body = None
        except OSError:
            self._warn(seen, "not_permitted")
            return None
        if body is None:
            self._warn(seen, "changed_while_reading")
        return body

    def _warn(self, seen: _Seen, why: str) -> None:
        # The inode instead of the name: people put citizens' names into file names. `find -inum` tells which it is.
        if not seen.warned:
            self._context.log.warning(
                "folder_file_skipped", source=self._context.name, reason=why, inode=seen.stamp.inode
            )
            seen.warned = True

    def _sweep(self, folder: int) -> None:
        """Remove what has been in ``done/`` for longer than ``keep_done``; look once an hour."""
        keep, now = self._settings.keep_done, self._context.clock()
        if keep is None or (self._swept and now - self._swept < SWEEP_EVERY):
            return
        self._swept = now
        with _opened(DONE, folder) as done:
            for name in os.listdir(done):  # noqa: PTH208
                status = _status(name, done)
                # ctime is when we moved it; mtime is whatever its author says.
                if status and stat.S_ISREG(status.st_mode) and status.st_ctime < (now - keep).timestamp():
                    os.unlink(name, dir_fd=done)


def _read_unchanged(name: str, stamp: _Stamp, folder: int) -> bytes | None:
    """Return the bytes of a regular file, or ``None`` if it is another one, or was changed or removed meanwhile."""
    # O_NONBLOCK: the file may have become a pipe since we looked, and opening that would wait for its writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode) or _Stamp.of(before) != stamp:
            return None
        body = file.read(stamp.size + 1)
        after = os.fstat(file.fileno())
        return body if _Stamp.of(after) == stamp and after.st_nlink and len(body) == stamp.size else None


_BEFORE = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->|\xef\xbb\xbf|\xff\xfe|\xfe\xff", re.DOTALL)
_ROOT = re.compile(rb"<([^\s/>!?]+)")
_EDGE = 4096


def _looks_whole(body: bytes) -> bool:
    """Return whether the bytes end with the end tag of their root. Decides about waiting only, so near is enough."""
    # Without the zero bytes of UTF-16 its tags read like those of UTF-8.
    head, tail = body[:_EDGE].replace(b"\0", b""), body[-_EDGE:].replace(b"\0", b"").rstrip()
    root = _root(head)
    if root is None:
        return False
    if tail.endswith(b"/>"):
        return len(body) <= _EDGE and b"<" not in head[root.end() :]
    return tail.endswith(b">") and tail.rpartition(b"</")[2].rstrip(b"> \t\r\n") == root[1]


def _root(head: bytes) -> re.Match[bytes] | None:
    """Return the start of the root, behind all that may stand before it."""
    # One after the other: in one pattern, a file of nothing but comments would take exponential time.
    at = 0
    while found := _BEFORE.match(head, at):
        at = found.end()
    return _ROOT.match(head, at)


def _move(name: str, move: _Move, folder: int) -> None:
    """Move a file to where it belongs, with its findings; nothing that is there is overwritten."""
    with _opened(move.folder, folder) as target:
        final = _free_name(name, move.id, target)
        if move.code and move.tells_findings:
            _write(f"{final}.findings.json", _findings(name, move), target)
        if move.document is not None:
            _write(f"{final}.{'rejection' if move.code else 'receipt'}.xml", move.document, target)
        os.rename(name, final, src_dir_fd=folder, dst_dir_fd=target)
        os.fsync(target)
        os.fsync(folder)


def _findings(original: str, move: _Move) -> bytes:
    """Say what is wrong by rule, path and line. The texts stay away: they may quote what people wrote."""
    document = {
        "code": move.code,
        "id": move.id,
        "file": _escaped(original),
        "findings": [
            {"rule": finding.rule, "path": finding.path, "line": finding.line, "column": finding.column}
            for finding in move.findings[:FINDINGS_MAX]
        ],
    }
    return json.dumps(document, indent=1).encode()


def _write(name: str, content: bytes, target: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o640, dir_fd=target), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _free_name(name: str, id_: str | None, target: int) -> str:
    """Return a harmless name that nothing in ``target`` has: ``antrag.ID.xml``, then ``antrag.ID-2.xml`` …"""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-")[-100:] or "file"
    stem, dot, suffix = safe.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem else (safe, "")
    stem = f"{stem}.{id_}" if id_ else stem
    number = 1
    while True:
        candidate = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
        if _status(candidate, target) is None:
            return candidate
        number += 1


def _escaped(name: str) -> str:
    """Return a file name as plain printable ASCII, whatever bytes it is made of."""
    return os.fsencode(name).decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")


def _status(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _make_folder(name: str, folder: int) -> None:
    if _status(name, folder) is None:
        os.mkdir(name, 0o750, dir_fd=folder)


@contextmanager
def _opened(path: str | os.PathLike[str], folder: int | None = None) -> Iterator[int]:
    # Below the folder no link is followed: who may put files here must not choose where they are moved to.
    inside = 0 if folder is None else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | inside, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
