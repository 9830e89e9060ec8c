"""Runs the Python of steps from the bytes of the snapshot: what was hashed is what runs.

A module that lies below the folder of routes.yaml is never imported from disk, but from ``Files``; everything else is
imported as usual. A package's modules import each other by its name (``from mappings.common import …``), at the top
of the file: what is imported only while a message runs is not part of the snapshot.

    "mappings.gewerbe:f" ─▶ mappings/gewerbe.py in Files? ── yes ─▶ all of ``mappings`` comes from Files
                                                          └─ no ──▶ an installed package
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from hub.files import Files

# Never taken from a deployment's folder, even if a checkout of the hub itself is that folder.
OWN = frozenset({"hub", "adapters", "xoev_bindings"}) | sys.stdlib_module_names


def load(name: str, files: Files) -> ModuleType:
    """Return the module of a dotted name, from the snapshot if it lies there.

    A module that an earlier snapshot brought into this process is loaded anew; whoever holds its functions keeps them.

    Raises:
        Exception: Whatever the module's code raises; ``ModuleNotFoundError`` with ``name`` if there is none.
    """
    package = name.partition(".")[0]
    if package not in OWN and _Source(files).find(name):
        _install(files).claim(package)
    return importlib.import_module(name)


def modules(files: Files) -> list[str]:
    """Return the modules that a deployment's folder and the packages in it have, for suggestions."""
    found = (name.removeprefix("./") for pattern in ("*.py", "*/*.py") for name in files.find(".", pattern))
    names = (name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in found)
    return [name for name in names if name.partition(".")[0] not in OWN]


class _Source(SourceLoader):
    """Loads modules from ``Files``. No bytecode is cached: it would be a second, unhashed truth."""

    def __init__(self, files: Files) -> None:
        self.files = files

    def find(self, module: str) -> str | None:
        """Return the name of a module's file, if the snapshot has one."""
        stem = module.replace(".", "/")
        for name in (f"{stem}/__init__.py", f"{stem}.py"):
            try:
                self.files.read(name)
            except OSError:
                continue
            return name
        return None

    def get_filename(self, fullname: str) -> str:
        name = self.find(fullname)
        if name is None:
            raise ModuleNotFoundError(f"no module {fullname}", name=fullname)
        return str(self.files.path(name))

    def get_data(self, path: str | bytes) -> bytes:
        return self.files.read(self.files.name(Path(str(path))))


class _Finder(MetaPathFinder):
    """Answers for the packages that steps named, and for nothing else."""

    def __init__(self, files: Files) -> None:
        self.source = _Source(files)
        self.packages: set[str] = set()

    def claim(self, package: str) -> None:
        """Let a package come from the snapshot from now on, whoever loaded it before."""
        if package not in self.packages:
            forget(package)
            self.packages.add(package)

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = fullname.partition(".")[0]
        if package not in self.packages:
            return None
        name = self.source.find(fullname)
        if name:
            return spec_from_loader(fullname, self.source, is_package=name.endswith("/__init__.py"))
        # A folder without __init__.py: an empty package whose modules are found here.
        return spec_from_loader(fullname, None, is_package=True) if fullname == package else None


def _install(files: Files) -> _Finder:
    for present in sys.meta_path:
        if isinstance(present, _Finder):
            if present.source.files is files:
                return present
            sys.meta_path.remove(present)
            for package in present.packages:
                forget(package)
            break
    finder = _Finder(files)
    sys.meta_path.insert(0, finder)
    return finder


def forget(package: str) -> None:
    """Drop a package and its modules from this process; the next import loads them anew."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
