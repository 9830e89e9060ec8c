"""The standards on disk: what is imported, what belongs to it, and how it changes. The only place that writes there.

    schemas/xoev/STANDARD/VERSION/   one version; ``hub.xml.release`` says what is in it
    schemas/modules/NAME-DIGEST.xsd  modules that standards share; named by their content, so none is ever changed

A version comes into its place by one rename, wholly or not at all, and goes by one. What a program that was killed
between two renames left behind, the next change puts back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lxml import etree

from hub.config import document
from hub.config.report import Report
from hub.errors import HubError, Problem
from hub.files import SHIPPED, Files
from hub.xml import guard
from hub.xml.index import XS
from hub.xml.registry import FOLDER
from hub.xml.release_closure import Place

MODULES_FOLDER = "schemas/modules"
MANIFEST = "MANIFEST.sha256"
PROFILE = "profile.yaml"
HEADER = "header"  # in a version's folder: the header-level profile that was there before

_MODULE = re.compile(r"(?P<called>.+)-(?P<digest>[0-9a-f]{12})\.xsd")
_ASIDE = ".replaced-"
_NEW = ".import-"


@dataclass(frozen=True, slots=True)
class Existing:
    """A version that is here already, in the deployment or among the shipped ones."""

    folder: str  # as ``Files`` names it
    data: Mapping[str, Any]  # its profile
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def imported(self) -> bool:
        return MANIFEST in self.files

    @property
    def shipped(self) -> bool:
        return self.folder.startswith(SHIPPED)

    @property
    def level(self) -> str:
        return str(self.data.get("level") or "full")


def manifest(files: Mapping[str, bytes]) -> bytes:
    """Return the digests of files, as ``sha256sum --check`` reads them. A profile is configuration, and not in it."""
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(files.items()) if name != PROFILE]
    return "".join(lines).encode()


class Library:
    """The standards below one deployment's folder."""

    def __init__(self, base: Path) -> None:
        self.base = base

    def folder(self, standard: str, version: str) -> Path:
        return self.base / FOLDER / standard / version

    def existing(self, standard: str, version: str) -> Existing | None:
        """Return what is here of a version: the deployment's own, else the shipped one."""
        files = Files(self.base)
        for prefix in ("", SHIPPED):
            folder = f"{prefix}{FOLDER}/{standard}/{version}"
            root = files.path(folder)
            if (root / PROFILE).is_file():
                node = document.parse(files.read(f"{folder}/{PROFILE}"), f"{folder}/{PROFILE}", Report())
                if node is not None and isinstance(node.value, dict):
                    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in _files_below(root)}
                    return Existing(folder, node.plain(), found)
        return None

    def modules(self) -> list[Place]:
        """Return the shared modules."""
        folder = self.base / MODULES_FOLDER
        found = [(_MODULE.fullmatch(path.name), path) for path in sorted(folder.glob("*.xsd"))]
        return [self._place("module", path, f"{name['called']}.xsd") for name, path in found if name]

    def standards(self, standard: str, version: str) -> list[Place]:
        """Return the schemas of all imported versions but one: what one standard publishes, another may import."""
        own = self.folder(standard, version)
        return [
            self._place("standard", path, path.name)
            for list_ in sorted((self.base / FOLDER).glob(f"*/*/{MANIFEST}"))
            if list_.parent != own
            for path in _files_below(list_.parent)
            if path.suffix == ".xsd" and path.relative_to(list_.parent).parts[0] != HEADER
        ]

    def _place(self, origin: str, path: Path, called: str) -> Place:
        body, name = path.read_bytes(), path.relative_to(self.base).as_posix()
        return Place(origin, name, body, namespace_of(body), called)

    # --- changes -------------------------------------------------------------------------------------------------

    def install(self, standard: str, version: str, files: Mapping[str, bytes], modules: Mapping[str, bytes]) -> Path:
        """Put a version into its place; the old one stays until the new one is complete. Return the folder."""
        with self._changing() as schemas:
            new = Path(tempfile.mkdtemp(prefix=_NEW, dir=schemas))
            try:
                for name, body in modules.items():
                    _write(new / "modules" / name, body)
                for name, body in files.items():
                    _write(new / "version" / name, body)
                _share(new / "modules", self.base / MODULES_FOLDER)
                if files:
                    self._swap(new / "version", self.folder(standard, version))
            finally:
                shutil.rmtree(new, ignore_errors=True)
        return self.folder(standard, version)

    def remove(self, standard: str, version: str) -> None:
        """Take a version away. A header-level profile that it stood upon comes back."""
        folder = self.folder(standard, version)
        with self._changing() as schemas:
            aside = schemas / f"{_ASIDE}{standard}@{version}"
            shipped = Files(self.base).path(f"{SHIPPED}{FOLDER}/{standard}/{version}")
            before = folder / HEADER
            if (before / PROFILE).is_file() and (shipped == folder or not shipped.is_dir()):
                self._swap(before, folder)
            else:
                folder.rename(aside)
                shutil.rmtree(aside)
                if not any(folder.parent.iterdir()):
                    folder.parent.rmdir()

    def verify(self, standard: str, version: str) -> list[Problem]:
        """Return what is not as it was imported: files that changed, are missing, or came in."""
        folder = self.folder(standard, version)
        name = f"{FOLDER}/{standard}/{version}"
        if not (folder / MANIFEST).is_file():
            return []
        listed: set[str] = set()
        problems: list[Problem] = []
        for number, line in enumerate((folder / MANIFEST).read_text(encoding="utf-8").splitlines(), 1):
            digest, _, file = line.partition("  ")
            where = posixpath.normpath(f"{name}/{file}")
            if not file or not where.startswith("schemas/"):
                problems.append(Problem(f"{name}/{MANIFEST}", number, 0, "", "expected a digest and a file"))
                continue
            listed.add(file)
            path = self.base / where
            if not path.is_file():
                problems.append(Problem(where, 0, 0, "", "is missing since the import"))
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                problems.append(Problem(where, 0, 0, "", "has changed since the import"))
        for path in _files_below(folder):
            file = path.relative_to(folder).as_posix()
            if file not in listed and file not in (PROFILE, MANIFEST):
                problems.append(Problem(f"{name}/{file}", 0, 0, "", "was not part of the import"))
        return problems

    @contextmanager
    def _changing(self) -> Iterator[Path]:
        schemas = self.base / "schemas"
        schemas.mkdir(parents=True, exist_ok=True)
        with (schemas / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise HubError(f"{schemas}: another import is under way") from error
            self._put_back(schemas)
            yield schemas

    def _put_back(self, schemas: Path) -> None:
        for aside in schemas.glob(f"{_ASIDE}*@*"):
            folder = self.folder(*aside.name.removeprefix(_ASIDE).split("@", 1))
            if folder.exists():
                shutil.rmtree(aside)
            else:
                aside.rename(folder)
        for left in schemas.glob(f"{_NEW}*"):
            shutil.rmtree(left)

    def _swap(self, new: Path, folder: Path) -> None:
        aside = self.base / "schemas" / f"{_ASIDE}{folder.parent.name}@{folder.name}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not folder.exists():
            new.rename(folder)
            return
        moved = new.relative_to(folder) if new.is_relative_to(folder) else None
        folder.rename(aside)
        try:
            (aside / moved if moved else new).rename(folder)
        except OSError:
            aside.rename(folder)
            raise
        shutil.rmtree(aside)


def _share(new: Path, modules: Path) -> None:
    if new.is_dir():
        modules.mkdir(parents=True, exist_ok=True)
        for path in sorted(new.iterdir()):
            path.replace(modules / path.name)  # named by its content: the same bytes, if it is there already


def _write(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _files_below(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def namespace_of(body: bytes) -> str:
    """Return the target namespace of a schema; "" for what is none."""
    try:
        root = etree.fromstring(body, guard.trusted_parser())
    except etree.XMLSyntaxError:
        return ""
    return root.get("targetNamespace", "") if root.tag == f"{XS}schema" else ""
