"""Unpacks an official release, a zip or a folder, into memory. The only place that opens archives.

Nothing is written, so nothing can be written elsewhere; still every name is refused that could lead out of a folder
(absolute, ``..``, a drive, a link), for these names become file names later. Zips inside a zip are opened too, two
levels deep: the XRepository packs schemas that way.

Limits: 20,000 files, 64 MB each, 512 MB in all, counted while unpacking and not believed from the archive's own list.
"""

from __future__ import annotations

import io
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hub.errors import ConfigError, Problem

FILES_MAX = 20_000
FILE_BYTES_MAX = 64 << 20
ALL_BYTES_MAX = 512 << 20
NESTED_MAX = 2
NAME_BYTES_MAX = 200  # of one part of a path: some file systems end at 255, and names here get longer
DEPTH_MAX = 32

_BLOCK = 1 << 20
_UTF8_FLAG = 0x800
_ENCRYPTED = 0x1
_UNWANTED = re.compile(  # what file managers and git leave, and what people read: it may be as large as it likes
    r"(^|/)(\.git|\.svn|\.idea|\.vscode|__MACOSX)(/|$)|(^|/)(\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$"
    r"|\.(pdf|docx?|xlsx?|pptx?|od[tsp]|png|jpe?g|gif|svg|html?|epub|mdzip|jar|exe|7z|rar|mp4)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The files of a release by their names in it, and what the release is called."""

    name: str
    files: Mapping[str, bytes]


def unpack(path: Path) -> Unpacked:
    """Return the files of a zip or a folder, without what git and file managers leave and what only people read.

    Raises:
        ConfigError: It is neither, is damaged or encrypted, breaks a limit, or has a name that may not be.
    """
    if path.is_dir():
        return Unpacked(path.resolve().name, _without_top(_Collected(str(path)).folder(path)))
    if not path.is_file():
        raise _refused(str(path), "is not there; expected a zip or a folder")
    if path.stat().st_size > ALL_BYTES_MAX:
        raise _refused(str(path), f"is larger than {ALL_BYTES_MAX >> 20} MB")
    name = re.sub(r"\.zip$", "", path.name, flags=re.IGNORECASE)
    return Unpacked(name, _without_top(_Collected(str(path)).archive(path.read_bytes())))


def _without_top(files: Mapping[str, bytes]) -> Mapping[str, bytes]:
    """Return the files without the folder that holds them all: many zips have one, and its name says nothing."""
    tops = {name.partition("/")[0] for name in files}
    if len(tops) != 1 or any("/" not in name for name in files):
        return files
    return _without_top({name.partition("/")[2]: body for name, body in files.items()})


class _Collected:
    """What was unpacked so far, over all levels: the limits count for all of it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._files: dict[str, bytes] = {}
        self._bytes = 0

    # --- zip -----------------------------------------------------------------------------------------------------

    def archive(self, body: bytes, prefix: str = "", level: int = 0) -> Mapping[str, bytes]:
        try:
            with zipfile.ZipFile(io.BytesIO(body)) as archive:
                for entry in archive.infolist():
                    self._take(archive, entry, prefix, level)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise self._refuse(prefix, "is no zip, or a damaged one") from error
        except (NotImplementedError, RuntimeError) as error:
            raise self._refuse(
                prefix or "", "is packed in a way that is not known here; pack it with deflate"
            ) from error
        return self._files

    def _take(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, prefix: str, level: int) -> None:
        raw = entry.orig_filename  # zipfile cuts at a NUL, and a name that was cut is another one
        name = prefix + self._checked(raw if entry.flag_bits & _UTF8_FLAG else _decoded(raw))
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if entry.is_dir() or raw.endswith(("/", "\\")) or kind == stat.S_IFDIR:
            return
        if kind not in (0, stat.S_IFREG):
            raise self._refuse(name, "is a link or a device; expected files only")
        if entry.flag_bits & _ENCRYPTED:
            raise self._refuse(name, "is encrypted")
        if _UNWANTED.search(name):
            return
        with archive.open(entry) as file:
            body = b"".join(self._counted(iter(lambda: file.read(_BLOCK), b""), name))
        if name.lower().endswith(".zip") and level < NESTED_MAX and zipfile.is_zipfile(io.BytesIO(body)):
            self.archive(body, f"{name[:-4]}/", level + 1)
        else:
            self._add(name, body)

    # --- folder --------------------------------------------------------------------------------------------------

    def folder(self, root: Path) -> Mapping[str, bytes]:
        for place, folders, names in os.walk(root, onerror=self._unreadable):
            folders[:] = sorted(one for one in folders if not _UNWANTED.search(one))
            for link in [one for one in folders if (Path(place) / one).is_symlink()]:
                raise self._refuse(f"{Path(place, link).relative_to(root)}", "is a link; expected files and folders")
            for name in sorted(names):
                self._take_file(root, Path(place, name))
        return self._files

    def _take_file(self, root: Path, path: Path) -> None:
        name = self._checked(path.relative_to(root).as_posix())
        if _UNWANTED.search(name):
            return
        if not stat.S_ISREG(path.lstat().st_mode):
            raise self._refuse(name, "is a link or a device; expected files only")
        with path.open("rb") as file:
            body = b"".join(self._counted(iter(lambda: file.read(_BLOCK), b""), name))
        if name.lower().endswith(".zip") and zipfile.is_zipfile(io.BytesIO(body)):
            self.archive(body, f"{name[:-4]}/", 1)
        else:
            self._add(name, body)

    def _unreadable(self, error: OSError) -> None:
        raise self._refuse("", f"cannot be read: {error.strerror}") from error

    # --- limits --------------------------------------------------------------------------------------------------

    def _counted(self, blocks: Iterator[bytes], name: str) -> Iterator[bytes]:
        size = 0
        for block in blocks:
            size += len(block)
            self._bytes += len(block)
            if size > FILE_BYTES_MAX:
                raise self._refuse(name, f"is larger than {FILE_BYTES_MAX >> 20} MB")
            if self._bytes > ALL_BYTES_MAX:
                raise self._refuse("", f"unpacks to more than {ALL_BYTES_MAX >> 20} MB")
            yield block

    def _add(self, name: str, body: bytes) -> None:
        if name in self._files:
            raise self._refuse(name, "is there twice")
        if len(self._files) >= FILES_MAX:
            raise self._refuse("", f"holds more than {FILES_MAX} files")
        self._files[name] = body

    def _checked(self, raw: str) -> str:
        """Return a name with ``/`` between its parts and composed umlauts, or refuse it."""
        name = unicodedata.normalize("NFC", raw.replace("\\", "/"))
        parts = PurePosixPath(name).parts
        if name.startswith("/") or re.match("[A-Za-z]:", name):
            raise self._refuse(name, "is an absolute path")
        if ".." in parts:
            raise self._refuse(name, "leads out of the folder")
        if not parts or not name.isprintable():
            raise self._refuse(name, "is no name for a file")
        if len(parts) > DEPTH_MAX or any(len(part.encode("utf-8", "replace")) > NAME_BYTES_MAX for part in parts):
            raise self._refuse(name, "is too long or too deep")
        return "/".join(parts)

    def _refuse(self, name: str, text: str) -> ConfigError:
        shown = "".join(char if char.isprintable() else "?" for char in name)[:200]
        return _refused(f"{self._where}: {shown}" if shown else self._where, text)


def _decoded(name: str) -> str:
    """Return the name of an entry that does not say its encoding: UTF-8 if it can be that, else code page 437.

    ``zipfile`` has read it as code page 437, which loses nothing. 437 and Germany's 850 agree on umlauts.
    """
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _refused(where: str, text: str) -> ConfigError:
    return ConfigError([Problem(where, 0, 0, "", text)])
