"""Puts each delivery into a folder as one file. Whoever looks for ``*.xml`` never sees half of one.

    .ID.RANDOM.part  ──write, fsync──▶  rename  ──▶  ID.xml  ──fsync of the folder──▶  [ID.xml.ok]  ──▶  Delivered

The folder must exist: a share that is not mounted must not become a folder on the hub's own disk.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from typing import Self

from pydantic import model_validator

from hub.plugin import Context, Deferred, Delivered, Look, Outcome, Outgoing, Phase, Reason, Settings, Unclear

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PART = re.compile(r"\.[0-9a-f-]{36}\.[0-9a-f]{16}\.part", re.ASCII)
_NAME_BYTES_MAX = 255


class FolderOut(Settings):
    """Where the files go and how they are called.

    ``marker`` is a second, empty file, made after the first is safe, for procedures that wait for one.
    """

    path: str
    name: str = "{delivery_id}.xml"
    marker: str | None = None

    @model_validator(mode="after")
    def _names_stay_inside(self) -> Self:
        _refuse_bad("name", self.name, {"delivery_id", "message_id"})
        if not _PLACEHOLDER.search(self.name):
            raise ValueError(f"name: expected {{delivery_id}} or {{message_id}} in it, got {self.name!r}")
        if self.marker is not None:
            _refuse_bad("marker", self.marker, {"delivery_id", "message_id", "name"})
            if self.marker in (self.name, "{name}") or not _PLACEHOLDER.search(self.marker):
                raise ValueError(f"marker: expected a name of its own such as {{name}}.ok, got {self.marker!r}")
        return self


def _refuse_bad(key: str, pattern: str, known: set[str]) -> None:
    unknown = set(_PLACEHOLDER.findall(pattern)) - known
    if unknown:
        raise ValueError(f"{key}: expected only {', '.join(sorted(known))} in braces, got {', '.join(sorted(unknown))}")
    if not _is_safe(_PLACEHOLDER.sub("x", pattern)):
        raise ValueError(f"{key}: expected a plain file name that does not begin with a dot, got {pattern!r}")


class FolderAdapter:
    """Writes deliveries into one folder. A repetition overwrites itself with the same bytes."""

    def __init__(self, settings: FolderOut, context: Context) -> None:
        self._settings = settings
        self._path = context.base / settings.path

    def open(self) -> None:
        """Make sure that the folder is there, and sweep what an earlier life left half written."""
        folder = self._folder()
        try:
            for name in os.listdir(folder):  # noqa: PTH208  pathlib knows no descriptors
                if _PART.fullmatch(name):
                    # May be another node's file in the making: its rename fails then, and it tries again.
                    _remove(name, folder)
        finally:
            os.close(folder)

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Write the file; delivered means that it survives a power cut under its final name."""
        name = self._fill(self._settings.name, outgoing)
        marker = self._settings.marker and self._fill(self._settings.marker, outgoing, name)
        if not _is_safe(name) or (marker and not _is_safe(marker)):
            return Deferred(Reason.CRASHED, code="name")  # ids are the hub's own: this is a bug, not a document
        try:
            folder = self._folder()
        except OSError as error:
            return Deferred(Reason.UNREACHABLE, code=_code(error))
        try:
            return _put(folder, name, marker, outgoing)
        finally:
            os.close(folder)

    def probe(self) -> Iterator[Look]:
        """Look whether the folder is there and may be written to. Writes nothing."""
        try:
            os.close(self._folder())
        except OSError as error:
            yield Look("folder", ok=False, text=f"{self._settings.path}: {error.strerror}")
            return
        free = os.statvfs(self._path)
        facts = {"free": free.f_bavail * free.f_frsize}
        writable = os.access(self._path, os.W_OK | os.X_OK)
        said = "is there" if writable else "may not be written to"
        yield Look("folder", ok=writable, text=f"{self._settings.path} {said}", facts=facts)

    def close(self) -> None:
        """Nothing is held open between deliveries."""

    def _folder(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @staticmethod
    def _fill(pattern: str, outgoing: Outgoing, name: str = "") -> str:
        values = {"delivery_id": outgoing.delivery_id, "message_id": outgoing.message.id, "name": name}
        return _PLACEHOLDER.sub(lambda match: values[match[1]], pattern)


def _put(folder: int, name: str, marker: str | None, outgoing: Outgoing) -> Outcome:
    # A name of its own per attempt: two attempts at once (a late one that was fenced off) never share a half file.
    part = f".{outgoing.delivery_id}.{secrets.token_hex(8)}.part"
    renamed = False
    try:
        _write(part, outgoing.body, folder)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
        renamed = marker is None
        os.fsync(folder)
        if marker:
            _write(part, b"", folder)
            os.rename(part, marker, src_dir_fd=folder, dst_dir_fd=folder)
            renamed = True
            os.fsync(folder)
    except OSError as error:
        _remove(part, folder)
        if renamed:  # visible, perhaps fetched already, but perhaps gone after a power cut
            return Unclear(Reason.UNCLEAR, phase=Phase.REQUEST_SENT, code=_code(error))
        return Deferred(Reason.UNREACHABLE, code=_code(error))
    return Delivered(receipt=name)


def _write(name: str, body: bytes, folder: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o640, dir_fd=folder), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _remove(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return  # it never came into being, or the disk that failed fails again; the next open sweeps it


def _is_safe(name: str) -> bool:
    """Return whether a name is a plain file name, in this folder and visible to ``*.xml``."""
    printable = name.isprintable() and "/" not in name and not name.startswith(".")
    return printable and 0 < len(name.encode()) <= _NAME_BYTES_MAX


def _code(error: OSError) -> str:
    return f"os-{errno.errorcode.get(error.errno or 0, 'unknown').lower()}"
