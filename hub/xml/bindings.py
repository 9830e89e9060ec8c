"""PyXB bindings: Python classes for the target schemas of a snapshot, written once and kept by digest.

    profiles with ``bindings:`` ─▶ their schema files, alike ones once ─▶ digest
        ─▶ STATE_DIR/bindings/DIGEST/xoev_bindings/MODULE.py   (there already: nothing is done)

All profiles go through one run, because PyXB loads a namespace once per process and standards share namespaces. Only
worker processes and commands with one snapshot come here, and nothing here imports PyXB before it is needed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib
import json
import logging
import os
import posixpath
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.installed import version
from hub.xml import guard
from hub.xml.bundle import BASE, Bundle, read_bundle, resolve
from hub.xml.index import XS

if TYPE_CHECKING:
    from hub.xml.profile import Profile

PACKAGE = "xoev_bindings"
SECONDS_MAX = 600  # the largest known standard takes 7
NEW, OLD = ".new-", ".old-"  # folders that are being written, and removed
_held: dict[Path, int] = {}  # what this process uses: descriptors with a lock that ends with the process
_GENERATION = "2"  # raised when this module or hub.xml.generation writes something else


def prepare(files: Files, profiles: Iterable[Profile], state_dir: Path) -> Path | None:
    """Return the folder that holds the bindings of all profiles that want some; ``None`` if none does.

    Several processes may do so at once: each writes its own folder, and the first to finish gives it its name. The
    folder stays for as long as this process, or a fork of it, lives: :func:`prune` leaves it alone.

    Raises:
        ConfigError: A schema file is missing, two profiles want the same name or namespace, or PyXB cannot bind them.
    """
    wanting = sorted((one for one in profiles if one.bindings), key=lambda one: (one.standard, one.version))
    if not wanting:
        return None
    modules = _modules(wanting)
    work = _Schemas()
    for profile in wanting:
        for main in dict.fromkeys(root.xsd for root in profile.roots):
            bundle, problems = read_bundle(files, profile.folder, main, profile.without)
            if problems:
                raise ConfigError(problems)
            work.take(bundle)
    folder = state_dir / "bindings" / work.digest(modules)
    while not _hold(folder):
        _generate(work, modules, folder)
    return folder


def prune(state_dir: Path) -> None:
    """Remove the bindings that no living process holds, and what others have left half made or half removed."""
    for folder in (state_dir / "bindings").glob("*"):
        with suppress(OSError):  # gone meanwhile, or not ours: the next one looks again
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _remove(folder, fd)
            finally:
                os.close(fd)


def _remove(folder: Path, fd: int) -> None:
    if folder.name.startswith(NEW) and time.time() - os.fstat(fd).st_mtime < 2 * SECONDS_MAX:
        return  # somebody is at it
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # By another name first: who finds its own name finds the whole folder, or none.
    doomed = folder if folder.name.startswith(".") else folder.rename(folder.with_name(f"{OLD}{uuid.uuid4()}"))
    shutil.rmtree(doomed)


def _hold(folder: Path) -> bool:
    """Keep a folder from being pruned until this process and its forks have ended; false if there is none."""
    held = _held.get(folder)
    if held is not None and _is(folder, held):
        return True
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    with suppress(OSError):  # a file system without locks: nothing is pruned there either
        fcntl.flock(fd, fcntl.LOCK_SH)
    if not _is(folder, fd):  # it was pruned between the two
        os.close(fd)
        return False
    _held[folder] = fd
    return True


def _is(folder: Path, fd: int) -> bool:
    try:
        there, held = folder.stat(), os.fstat(fd)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)


def activate(folder: Path) -> None:
    """Let this process import ``xoev_bindings`` from a folder, for the rest of its life.

    Raises:
        ConfigError: Bindings of another snapshot are loaded: PyXB takes a namespace only once per process.
    """
    logging.getLogger("pyxb").setLevel(logging.CRITICAL + 1)  # its log quotes values of documents
    active = sys.modules.get(PACKAGE)
    if active is not None:
        if Path(active.__path__[0]).parent.name == folder.name:
            return  # the same bindings, perhaps of another state directory
        if any(name.startswith(f"{PACKAGE}.") for name in sys.modules):
            raise _unusable("bindings of another snapshot are loaded in this process")
        del sys.modules[PACKAGE]
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()
    importlib.import_module(PACKAGE)


def vocabulary(error: BaseException) -> str:
    """Return what an exception of PyXB says of the schema: names of types, elements and facets, never a value."""
    if not type(error).__module__.startswith("pyxb."):
        return ""
    instance = getattr(error, "instance", None)
    kinds = [getattr(error, "type", None), type(instance) if instance is not None else None]
    words = [str(name) for kind in kinds if (name := getattr(kind, "_ExpandedName", None))]
    words += [name for kind in kinds if (name := _xsd_place(kind))]
    return f" ({', '.join(words)})" if words else ""


def _xsd_place(kind: object) -> str:
    place = getattr(kind, "_XSDLocation", None)
    file, line = getattr(place, "locationBase", None), getattr(place, "lineNumber", None)
    return f"{re.sub('^[0-9a-f]{12}-', '', posixpath.basename(str(file)))}:{line}" if file and line else ""


def _unusable(text: str, where: str = "") -> ConfigError:
    return ConfigError([Problem(where, 0, 0, "bindings" if where else "", text)])


# --- what is to be bound -----------------------------------------------------------------------------------------


def _modules(profiles: Iterable[Profile]) -> dict[str, str]:
    """Return the module's name for each namespace that a profile's roots stand in."""
    modules: dict[str, str] = {}
    owners: dict[str, str] = {}
    for profile in profiles:
        where = f"{profile.folder}/profile.yaml"
        for number, namespace in enumerate(dict.fromkeys(root.namespace for root in profile.roots), 1):
            name = profile.bindings if number == 1 else f"{profile.bindings}_{number}"
            if namespace in modules:
                raise _unusable(
                    f"the namespace {namespace} has bindings by {owners[modules[namespace]]} already", where
                )
            if name in owners:
                raise _unusable(f"the name {name} belongs to {owners[name]} already", where)
            modules[namespace] = str(name)
            owners[str(name)] = where
    return modules


class _Schemas:
    """The schema files of several bundles in one flat folder: alike files once, every reference inside the folder.

    PyXB refuses to read the same schema from two places, and standards bring their own copies of shared modules.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.entries: list[str] = []
        self._names: dict[bytes, str] = {}
        self.namespaces: set[str] = set()

    def take(self, bundle: Bundle) -> None:
        for address, (name, body) in bundle.files.items():
            flat = self._flat(name, body)
            if flat not in self.files:
                self.files[flat] = self._rewritten(address, body, bundle)
        main = self._flat(*bundle.files[BASE + bundle.main])
        if main not in self.entries:
            self.entries.append(main)

    def _flat(self, name: str, body: bytes) -> str:
        readable = re.sub(r"[^A-Za-z0-9._-]", "_", posixpath.basename(name))
        return self._names.setdefault(body, f"{hashlib.sha256(body).hexdigest()[:12]}-{readable}")

    def _rewritten(self, address: str, body: bytes, bundle: Bundle) -> bytes:
        root = etree.fromstring(body, guard.trusted_parser())
        self.namespaces.add(root.get("targetNamespace", ""))
        for one in root.iterchildren(f"{XS}include", f"{XS}redefine", f"{XS}import"):
            location = one.get("schemaLocation")
            if location:
                found = bundle.files.get(resolve(address, location) or "")
                # What the bundle does not have was reported when it was read; PyXB must not look for it elsewhere.
                one.set("schemaLocation", self._flat(*found) if found else "missing.xsd")
        return etree.tostring(root, encoding="UTF-8", xml_declaration=True)

    def digest(self, modules: Mapping[str, str]) -> str:
        """Return the name of these bindings: everything that their bytes depend on goes into it."""
        made_by = f"{_GENERATION} {version('pyxb-x')} {sys.version_info[0]}.{sys.version_info[1]}"
        total = hashlib.sha256(f"{made_by}\n{json.dumps(self.order(modules), sort_keys=True)}\n".encode())
        for name in sorted(self.files):
            total.update(f"{name} {hashlib.sha256(self.files[name]).hexdigest()}\n".encode())
        return total.hexdigest()[:32]

    def order(self, modules: Mapping[str, str]) -> dict[str, object]:
        shared = {uri: _shared(uri) for uri in sorted(self.namespaces) if uri and uri not in modules}
        return {"entries": self.entries, "modules": {**modules, **shared}}


def _shared(uri: str) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", re.split(r"[:/]", uri.rstrip("/"), maxsplit=1)[-1]).strip("_")
    return f"shared_{words[-40:].strip('_').lower()}_{hashlib.sha256(uri.encode()).hexdigest()[:6]}"


# --- the run -----------------------------------------------------------------------------------------------------


def _generate(work: _Schemas, modules: Mapping[str, str], folder: Path) -> None:
    for parent in (folder.parent.parent, folder.parent):  # the state directory may be new: it is its owner's alone
        parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=NEW) as temporary:
        schemas, out = Path(temporary, "schemas"), Path(temporary, "out")
        schemas.mkdir()
        out.mkdir()
        for name, body in work.files.items():
            (schemas / name).write_bytes(body)
        uid = uuid.uuid5(uuid.NAMESPACE_URL, folder.name).urn
        (schemas / "order.json").write_text(json.dumps({"uid": uid, **work.order(modules)}))
        _run(schemas, out)
        try:
            out.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the same bytes
                raise


def _run(schemas: Path, out: Path) -> None:
    import subprocess  # once per set of schemas

    environment = {
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
        "PYTHONHASHSEED": "0",  # PyXB walks over sets, and the same schemas shall give the same bytes
        "PYTHONUTF8": "1",
    }
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter, our own module, paths that we made
            [sys.executable, "-P", "-m", "hub.xml.generation", str(schemas), str(out)],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS_MAX,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _unusable(f"PyXB needs more than {SECONDS_MAX} seconds for the schemas", "schemas/xoev") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise _unusable(f"PyXB cannot bind the schemas: {lines[-1]}", "schemas/xoev")
