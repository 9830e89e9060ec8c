"""From files to one tree: reads routes.yaml and what it includes, and puts their sections together.

A name is defined once, in one file. A file that is included with ``only: NAME`` may speak of that municipality only:
``municipalities.NAME`` with its procedures, ``destinations`` that begin with ``NAME/``, and ``tests``. What such a file
includes stays under the same rule. Paths count from routes.yaml, in every file; an include may be a glob, and
``only: "{name}"`` then gives each file the municipality it is called after (``municipalities/gifhorn.yaml``: gifhorn).
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field

from hub.config.document import Node, parse
from hub.config.model import Include
from hub.config.report import Place, Report
from hub.config.secrets import cover_secrets, cover_text
from hub.config.validate import found, later, unknown, validated
from hub.files import Files

MAPPINGS = ("senders", "inbound", "municipalities", "partners", "procedures", "destinations", "routes")
SECTIONS = ("version", "include", *MAPPINGS, "alerts", "tests")
_ONLY_SECTIONS = frozenset({"version", "include", "municipalities", "destinations", "tests"})


PATH_MAX = 250  # one name longer than 255 bytes is refused by the file system with an error of its own


@dataclass(slots=True)
class Tree:
    """All files together: the entries of each section by name, each node still knows its file."""

    sections: dict[str, dict[str, Node]] = field(default_factory=lambda: {name: {} for name in MAPPINGS})
    tests: list[Node] = field(default_factory=list)
    alerts: Node | None = None
    only: dict[str, str] = field(default_factory=dict)  # file: the municipality that it may speak of
    only_nodes: list[tuple[str, Node]] = field(default_factory=list)  # where that was said
    partial: bool = False  # a file could not be read: names may be missing that are not wrong


def read_tree(files: Files, main: str, report: Report) -> Tree:
    """Return the sections of all files; every problem on the way is noted."""
    reader = _Reader(files, report)
    reader.read(main, None, None, ())
    return reader.tree


class _Reader:
    def __init__(self, files: Files, report: Report) -> None:
        self._files = files
        self._report = report
        self._seen: set[str] = set()
        self.tree = Tree()

    def read(self, name: str, only: str | None, asked: Node | None, chain: tuple[str, ...]) -> None:
        """Read one file and what it includes; ``asked`` is the node that names it, ``chain`` the files above it."""
        if name in self._seen:
            if asked is not None:
                how = (
                    f"includes itself: {' -> '.join((*chain, name))}" if name in chain else "is included a second time"
                )
                self._report.add(asked.place, f"{name} {how}")
            return
        self._seen.add(name)
        root = self._root(name, asked)
        if root is None:
            self.tree.partial = True
            return
        if only is not None:
            self.tree.only[name] = only
        if not isinstance(root.value, dict):
            self._report.add(root.place, f"found {found(root)}, expected a mapping that begins with `version: 1`")
            self.tree.partial = True
            return
        self._version(root, main=asked is None)
        for key, node in root.value.items():
            self._section(key, node, only, (*chain, name))

    def _root(self, name: str, asked: Node | None) -> Node | None:
        try:
            raw = self._files.read(name)
        except OSError as error:
            place = asked.place if asked is not None else Place(name, 0, 0, "")
            self._report.add(place, f"cannot read {name}: {error.strerror}")
            return None
        root = parse(raw, name, self._report)
        if root is None:
            cover_text(raw, name, self._report)
        else:
            cover_secrets(root, self._report)
        return root

    def _version(self, root: Node, *, main: bool) -> None:
        version = root.items.get("version")
        if version is None:
            if main:
                self._report.add(root.place, "'version' is missing, expected `version: 1`")
        elif version.value != "1":
            self._report.add(
                version.place, f"found {found(version)}, expected 1: the only version that this release reads"
            )

    def _section(self, key: str, node: Node, only: str | None, chain: tuple[str, ...]) -> None:
        if only is not None and key not in _ONLY_SECTIONS and key in SECTIONS:
            self._report.add(node.key_place, f"{key} may not stand here: {_may(only)}")
        elif key == "include":
            self._includes(node, only, chain)
        elif key == "tests":
            self._tests(node)
        elif key == "alerts":
            if self.tree.alerts is not None:
                first = self.tree.alerts
                self._report.add(node.key_place, f"alerts stand in {first.file}:{first.key[0]} already")
            self.tree.alerts = node
        elif key in self.tree.sections:
            self._entries(key, node, only)
        elif key != "version":
            text = later(key) if key in ("replies", "inbox") else unknown("section", key, SECTIONS)
            self._report.add(node.key_place, text)

    def _tests(self, node: Node) -> None:
        if isinstance(node.value, list):
            self.tree.tests.extend(node.value)
        elif node.value is not None:
            self._report.add(node.place, "expected a list")

    def _entries(self, section: str, node: Node, only: str | None) -> None:
        if node.value is not None and not isinstance(node.value, dict):
            self._report.add(node.place, "expected a mapping of names")
            return
        entries = self.tree.sections[section]
        for name, entry in node.items.items():
            if only is not None and name != only and not (section == "destinations" and name.startswith(f"{only}/")):
                self._report.add(entry.key_place, f"{name!r} may not stand here: {_may(only)}")
            elif name in entries:
                first = entries[name]
                self._report.add(entry.key_place, f"{name!r} stands in {first.file}:{first.key[0]} already")
            else:
                entries[name] = entry

    def _includes(self, node: Node, only: str | None, chain: tuple[str, ...]) -> None:
        if node.value is not None and not isinstance(node.value, list):
            self._report.add(node.place, "expected a list of files")
            return
        for item in node.value or ():
            entry = self._include(item)
            if entry is None:
                continue
            path = item.items.get("path", item)
            limit = item.items.get("only")
            for name in self._found(entry.path, path):
                stem = posixpath.basename(name).rpartition(".")[0]
                inner = entry.only.replace("{name}", stem) if entry.only else None
                if only is not None and inner not in (None, only):
                    self._report.add((limit or item).place, f"{inner!r} may not stand here: {_may(only)}")
                elif inner is not None and limit is not None:
                    self.tree.only_nodes.append((inner, limit))
                self.read(name, only or inner, path, chain)

    def _include(self, item: Node) -> Include | None:
        if item.text is not None:
            return Include(path=item.text)
        return validated(Include, item, self._report)

    def _found(self, path: str, node: Node) -> tuple[str, ...]:
        """Return the files that an include means."""
        name = inside(path)
        if name is None:
            self._report.add(node.place, f"found {path!r}, expected a path inside the folder of routes.yaml")
            return ()
        if not any(char in name for char in "*?["):
            return (name,)
        folder, _, pattern = name.rpartition("/")
        if not folder or "**" in pattern or any(char in folder for char in "*?["):
            self._report.add(node.place, f"found {path!r}, expected a folder and wildcards in the file's name only")
            return ()
        names = tuple(
            name for name in self._files.find(folder, pattern) if not posixpath.basename(name).startswith(".")
        )
        if not names:
            self._report.add(node.place, f"no file is called {path}", level="warning")
        return names


def inside(path: str) -> str | None:
    """Return a relative path in its plain form, or ``None`` if it leads out of the folder of routes.yaml."""
    if not path or path.startswith(("/", "~")) or "\\" in path or "\0" in path or len(path) > PATH_MAX:
        return None
    plain = posixpath.normpath(path)
    return None if plain == ".." or plain.startswith("../") else plain


def _may(only: str) -> str:
    return (
        f"this file may speak of {only} only (municipalities.{only} with its procedures, "
        f"destinations {only}/…, and tests)"
    )
