"""YAML text becomes a tree that knows where everything stands. The only place that reads YAML.

Strict where YAML is generous: every scalar stays text exactly as written (``03103000``, ``no``, ``2.10``), only a plain
``null``, ``~`` or nothing at all is ``None``. Tags, anchors, aliases, merge keys, duplicate keys and a second document
are problems. It reads events and not nodes: an alias bomb is seen before anything is built of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

from hub.config.report import BREAK, Place, Report

DEPTH_MAX = 32
FILE_CHARS_MAX = 4 << 20

Value: TypeAlias = "str | list[Node] | dict[str, Node] | None"

# libyaml in C: 2,000 municipalities in 0.2 s. The pure Python reader gives the same events where it is missing.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What YAML lets in is the rest; a class of all that takes ten times as long to compile.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]|[\ud800-\udfff]|[\ufeff\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """One value of a file. ``key`` is the position of its key; without one (a list's item) its own position."""

    file: str
    line: int
    column: int
    path: str
    value: Value
    key: tuple[int, int]

    @property
    def place(self) -> Place:
        return Place(self.file, self.line, self.column, self.path)

    @property
    def key_place(self) -> Place:
        return Place(self.file, *self.key, self.path)

    @property
    def items(self) -> dict[str, Node]:
        """The entries of a mapping; none where it is something else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def text(self) -> str | None:
        return self.value if isinstance(self.value, str) else None

    def with_value(self, value: Value) -> Node:
        """Return a node at the same place with another value."""
        return Node(self.file, self.line, self.column, self.path, value, self.key)

    def plain(self) -> Any:
        """Return the value without positions."""
        match self.value:
            case dict() as entries:
                return {key: child.plain() for key, child in entries.items()}
            case list() as children:
                return [child.plain() for child in children]
            case scalar:
                return scalar

    def scalars(self) -> Iterator[tuple[str, Node]]:
        """Yield every text below with the last key that leads to it."""
        match self.value:
            case dict() as entries:
                for key, child in entries.items():
                    for inner, scalar in child.scalars():
                        yield inner or key, scalar
            case list() as children:
                for child in children:
                    yield from child.scalars()
            case str():
                yield "", self


class _Unreadable(Exception):
    """Ends the reading of one file; never leaves this module."""

    def __init__(self, line: int, column: int, text: str) -> None:
        super().__init__(text)
        self.line, self.column, self.text = line, column, text


def parse(raw: bytes, file: str, report: Report) -> Node | None:
    """Return the tree of one file, or ``None`` after noting why there is none. An empty file has an empty root."""
    try:
        text = _decode(raw)
        report.know(file, text)
        return _Builder(file, report).build(text)
    except _Unreadable as found:
        report.know(file, raw.decode("utf-8", "replace"))
        report.add(Place(file, found.line, found.column, ""), found.text)
        return None


def _decode(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _position(raw[: error.start].decode("utf-8-sig", "replace"))
        raise _Unreadable(line, column, f"byte 0x{raw[error.start]:02x} is not UTF-8; expected UTF-8") from None
    if len(text) > FILE_CHARS_MAX:
        raise _Unreadable(1, 1, f"larger than {FILE_CHARS_MAX >> 20} MB; spread it over files with include")
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        line, column = _position(text[: forbidden.start()])
        raise _Unreadable(line, column, f"character U+{ord(forbidden[0]):04X} may not stand in YAML")
    return text


def _position(before: str) -> tuple[int, int]:
    lines = BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


class _Builder:
    """Builds the tree of one file from the parser's events, without recursion."""

    def __init__(self, file: str, report: Report) -> None:
        self._file = file
        self._report = report
        self._open: list[Node] = []
        self._keys: list[tuple[str, int, int] | None] = []  # per open mapping: the key that waits for its value
        self._root = Node(file, 1, 1, "", None, (1, 1))

    def build(self, text: str) -> Node:
        documents = 0
        try:
            for event in yaml.parse(text, Loader=_LOADER):
                if isinstance(event, yaml.DocumentStartEvent):
                    documents += 1
                    if documents > 1:
                        line, column = _mark(event)
                        self._problem(line, column, "found a second document, expected one per file")
                        break
                elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                    self._open.pop()
                    self._keys.pop()
                elif isinstance(event, yaml.NodeEvent):
                    self._node(event)
        except yaml.MarkedYAMLError as error:
            raise _syntax(error, text) from None
        except (yaml.YAMLError, ValueError) as error:  # unmarked ones: an overlong or odd number in a directive
            raise _Unreadable(1, 1, f"not YAML: {type(error).__name__}") from None
        return self._root

    def _node(self, event: yaml.NodeEvent) -> None:
        line, column = _mark(event)
        if isinstance(event, yaml.AliasEvent):  # what it stands for is lost, and the reading ends with it
            raise _Unreadable(line, column, "found an alias, expected the value itself; `like` is for what is shared")
        if getattr(event, "anchor", None) is not None:
            self._problem(line, column, "found an anchor, expected the value alone; `like` is for what is shared")
        if getattr(event, "tag", None) is not None:
            self._problem(line, column, "found a tag, expected a plain value")
        waiting = self._keys[-1] if self._open else None
        if self._open and isinstance(self._open[-1].value, dict) and waiting is None:
            self._key(event, line, column)
            return
        self._attach(event, line, column, waiting)

    def _key(self, event: yaml.NodeEvent, line: int, column: int) -> None:
        if not isinstance(event, yaml.ScalarEvent):
            raise _Unreadable(line, column, "found a mapping or a list as a key, expected text")
        if event.value == "<<" and event.implicit[0]:
            self._problem(line, column, "found a merge key, expected the keys themselves; `like` is for what is shared")
        elif not event.value:
            self._problem(line, column, "found an empty key, expected text")
        self._keys[-1] = (event.value, line, column)

    def _attach(self, event: yaml.NodeEvent, line: int, column: int, waiting: tuple[str, int, int] | None) -> None:
        parent = self._open[-1] if self._open else None
        value = self._value(event, line, column)
        path, key = "", (line, column)
        if parent is None:
            self._root = node = Node(self._file, line, column, path, value, key)
        elif isinstance(parent.value, list):
            node = Node(self._file, line, column, f"{parent.path}[{len(parent.value)}]", value, key)
            parent.value.append(node)
        elif waiting is not None and isinstance(parent.value, dict):
            name, *key_at = waiting
            key = (key_at[0], key_at[1])
            if value is None:  # nothing stands there to point at
                line, column = key
            node = Node(self._file, line, column, f"{parent.path}.{name}" if parent.path else name, value, key)
            self._store(parent.value, name, node)
            self._keys[-1] = None
        if isinstance(value, (dict, list)):
            self._open.append(node)
            self._keys.append(None)

    def _value(self, event: yaml.NodeEvent, line: int, column: int) -> Value:
        if isinstance(event, yaml.ScalarEvent):
            return None if event.implicit[0] and event.value in ("", "~", "null") else str(event.value)
        if len(self._open) >= DEPTH_MAX:
            raise _Unreadable(line, column, f"nested deeper than {DEPTH_MAX} levels")
        return {} if isinstance(event, yaml.MappingStartEvent) else []

    def _store(self, entries: dict[str, Node], name: str, node: Node) -> None:
        first = entries.get(name)
        if first is not None:
            self._report.add(node.key_place, f"found {name!r} a second time; the first is in line {first.key[0]}")
        elif name != "<<":
            entries[name] = node

    def _problem(self, line: int, column: int, text: str) -> None:
        self._report.add(Place(self._file, line, column, self._open[-1].path if self._open else ""), text)


def _mark(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> _Unreadable:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return _Unreadable(1, 1, f"not YAML: {error.problem}")
    lines = BREAK.split(text)
    here = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
    if here == "\t":
        return _Unreadable(mark.line + 1, mark.column + 1, "found a tab, expected blanks: YAML is indented with blanks")
    return _Unreadable(mark.line + 1, mark.column + 1, f"not YAML: {error.problem}")
