"""Every file that a snapshot reads, read once.

A snapshot is compiled from these bytes and named by their digest, so what changes on disk takes effect only by a
reload. The same class serves a worker that gets the bytes over its socket: :meth:`Files.frozen` knows no disk.
Names are POSIX paths relative to the folder of routes.yaml; what the program ships is named ``shipped:…``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

SHIPPED = "shipped:"
FILE_BYTES_MAX = 64 << 20


def shipped_root() -> Path:
    """Return the folder of what the program ships: in a wheel inside the package, in a checkout beside it."""
    packed = Path(__file__).parent / "shipped"
    return packed if packed.is_dir() else Path(__file__).parent.parent


class Files:
    """Reads files below one base folder, and remembers each for the snapshot."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._disk = True
        self._read: dict[str, bytes] = {}
        self._digests: dict[str, str] = {}
        self._listed: dict[tuple[str, str], tuple[str, ...]] = {}

    @classmethod
    def frozen(cls, base: Path, contents: Mapping[str, bytes]) -> Files:
        """Return the files of a snapshot that was read before; the disk is never asked."""
        files = cls(base)
        files._disk = False
        files._read = dict(contents)
        return files

    @classmethod
    def begun(cls, base: Path, contents: Mapping[str, bytes]) -> Files:
        """Return files of which some were read before, by somebody else; the rest comes from the disk."""
        files = cls(base)
        files._read = dict(contents)
        return files

    @property
    def contents(self) -> Mapping[str, bytes]:
        """What was read so far, by name."""
        return dict(self._read)

    def path(self, name: str) -> Path:
        """Return where a name lies on disk. It may not exist."""
        if name.startswith(SHIPPED):
            return shipped_root() / name.removeprefix(SHIPPED)
        return self.base / name

    def name(self, path: Path) -> str:
        """Return the name of a path: relative to the base where it lies below it, else absolute."""
        try:
            return Path(os.path.normpath(path)).relative_to(self.base).as_posix()
        except ValueError:
            return Path(os.path.normpath(path)).as_posix()

    def read(self, name: str) -> bytes:
        """Return a file's bytes; the same bytes for as long as this object lives.

        Raises:
            OSError: It does not exist, cannot be read, is no regular file or is larger than 64 MB.
        """
        if name not in self._read:
            if not self._disk:
                raise FileNotFoundError(2, "not part of the snapshot", name)
            path = self.path(name)
            if not path.is_file():
                raise FileNotFoundError(2, "no such file", str(path))
            if path.stat().st_size > FILE_BYTES_MAX:
                raise OSError(27, f"larger than {FILE_BYTES_MAX} bytes", str(path))
            self._read[name] = path.read_bytes()
        return self._read[name]

    def sha256(self, name: str) -> str:
        """Return the digest of a file's bytes.

        Raises:
            OSError: As :meth:`read`.
        """
        if name not in self._digests:
            self._digests[name] = hashlib.sha256(self.read(name)).hexdigest()
        return self._digests[name]

    def beside(self, name: str) -> bytes | None:
        """Return a file that is no part of a snapshot, since all it says can be had without it; ``None``: not here."""
        if not self._disk:
            return None
        try:
            return self.path(name).read_bytes()
        except OSError:
            return None

    def find(self, folder: str, pattern: str) -> tuple[str, ...]:
        """Return the sorted names of the files below ``folder`` that a glob finds, such as ``*/*/profile.yaml``."""
        key = (folder, pattern)
        if key not in self._listed:
            if self._disk:
                root = self.path(folder)
                found = (path for path in root.glob(pattern) if path.is_file())
                prefix = folder.rstrip("/") + "/"
                self._listed[key] = tuple(sorted(prefix + path.relative_to(root).as_posix() for path in found))
            else:
                prefix = folder.rstrip("/") + "/"
                depth = pattern.count("/")
                inside = (name for name in self._read if name.startswith(prefix))
                self._listed[key] = tuple(
                    sorted(
                        name
                        for name in inside
                        if name.removeprefix(prefix).count("/") == depth
                        and Path(name.removeprefix(prefix)).match(pattern)
                    )
                )
        return self._listed[key]

    def digest(self, *versions: str) -> str:
        """Return the snapshot's name: sha256 over the sorted (name, sha256) of every file read, and ``versions``."""
        total = hashlib.sha256()
        for name in sorted(self._read):
            total.update(f"{name}\0{self.sha256(name)}\n".encode())
        for version in versions:
            total.update(f"{version}\n".encode())
        return total.hexdigest()
