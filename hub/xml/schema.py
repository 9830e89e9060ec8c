"""A standard's schemas: a closed bundle of files, compiled once, and the findings of a document.

Nothing is ever fetched: what a schema includes or imports lies in the standard's own folder, under its relative name
or under the absolute address that ``catalog.json`` there maps to a file. What lies nowhere is a problem, for
libxml2 only warns of it and may compile a schema without the part that would have refused a document.
"""

from __future__ import annotations

import json
import posixpath
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from urllib.parse import quote, unquote

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.message import Finding
from hub.xml import guard
from hub.xml.place import element_at, path_of

FINDINGS_MAX = 100
TEXT_MAX = 500  # characters: libxml2 quotes the value, which may be a whole attachment

_XS = "{http://www.w3.org/2001/XMLSchema}"
_BASE = "bundle:///"
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Every schema file that a main schema reaches: by the address asked for, its name in the folder and its bytes."""

    folder: str
    main: str
    files: Mapping[str, tuple[str, bytes]] = field(repr=False)
    elements: frozenset[tuple[str, str]] = frozenset()  # (namespace, name) of all global elements

    def compile(self) -> etree.XMLSchema:
        """Return the compiled schema.

        Raises:
            ConfigError: with everything that libxml2 has to say against it.
        """
        if _BASE + self.main not in self.files:
            raise ConfigError([self._problem(0, "is not there, or no XML")])
        name, body = self.files[_BASE + self.main]
        with guard.COMPILE_LOCK:
            try:
                tree = etree.fromstring(body, guard.trusted_parser(_Closed(self.files)), base_url=_BASE + quote(name))
                schema = etree.XMLSchema(tree)
            except (etree.XMLSchemaParseError, etree.XMLSyntaxError) as error:
                raise ConfigError(list(self._problems(error)) or [self._problem(0, "cannot be compiled")]) from None
        skipped = [entry for entry in schema.error_log if "Failed to locate" in entry.message]
        if skipped:
            raise ConfigError([self._problem(entry.line, entry.message[:TEXT_MAX]) for entry in skipped])
        return schema

    def _problems(self, error: etree.LxmlError) -> Iterator[Problem]:
        for entry in islice(error.error_log, FINDINGS_MAX):
            name = unquote(entry.filename.removeprefix(_BASE)) if entry.filename else self.main
            if entry.level >= etree.ErrorLevels.ERROR:
                yield self._problem(entry.line, entry.message[:TEXT_MAX], name)

    def _problem(self, line: int, text: str, name: str = "") -> Problem:
        return Problem(f"{self.folder}/{name or self.main}", line, 0, "", text)


class _Closed(etree.Resolver):
    def __init__(self, files: Mapping[str, tuple[str, bytes]]) -> None:
        self._files = files

    def resolve(self, system_url: str | None, _public_id: str | None, context: Any) -> Any:
        found = self._files.get(unquote(system_url or ""))
        if found is None:
            return None  # the parser's own resolver raises
        name, body = found
        return self.resolve_string(body, context, base_url=_BASE + quote(name))


# --- reading the bundle -------------------------------------------------------------------------------------------


def read_bundle(files: Files, folder: str, main: str) -> tuple[Bundle, list[Problem]]:
    """Return the schema files that ``main`` reaches, and what is missing or unreadable among them."""
    walk = _Walk(files, folder)
    walk.take(main, address=_BASE + main, namespace=None, asked_by=None)
    return Bundle(folder, main, walk.found, frozenset(walk.elements)), walk.problems


class _Walk:
    """Follows includes and imports from file to file, each once."""

    def __init__(self, files: Files, folder: str) -> None:
        self.found: dict[str, tuple[str, bytes]] = {}
        self.elements: set[tuple[str, str]] = set()
        self.problems: list[Problem] = []
        self._files = files
        self._folder = folder
        self._catalog = self._read_catalog()
        self._seen: set[tuple[str, str | None]] = set()

    def _read_catalog(self) -> Mapping[str, str]:
        name = f"{self._folder}/catalog.json"
        if name not in self._files.find(self._folder, "catalog.json"):
            return {}
        try:
            catalog = json.loads(self._files.read(name))
        except (OSError, ValueError):
            self.problems.append(Problem(name, 0, 0, "", "expected a JSON object: address -> file in this folder"))
            return {}
        return {str(url): str(file) for url, file in catalog.items()} if isinstance(catalog, dict) else {}

    def take(self, name: str, *, address: str, namespace: str | None, asked_by: tuple[str, int] | None) -> None:
        """Read one schema file and what it asks for. ``namespace`` is that of a file that includes this one."""
        try:
            body = self._files.read(f"{self._folder}/{name}")
            tree = etree.fromstring(body, guard.trusted_parser())
        except OSError:
            where, line = asked_by or ("profile.yaml", 0)
            self.problems.append(Problem(f"{self._folder}/{where}", line, 0, "", f"the schema {name} is not there"))
            return
        except etree.XMLSyntaxError as error:
            self.problems.append(Problem(f"{self._folder}/{name}", error.lineno or 0, 0, "", "is not well-formed XML"))
            return
        self.found[address] = (name, _without_blanks(tree, body))
        target = tree.get("targetNamespace") or namespace or ""
        if (name, target) in self._seen:
            return
        self._seen.add((name, target))
        self.elements.update((target, str(one.get("name"))) for one in tree.iterchildren(f"{_XS}element"))
        for kind in ("include", "redefine", "import"):
            for one in tree.iterchildren(_XS + kind):
                self._follow(one, name, target if kind != "import" else None)

    def _follow(self, one: etree._Element, name: str, namespace: str | None) -> None:
        location = one.get("schemaLocation")
        if not location:
            return
        line = one.sourceline or 0
        if _ABSOLUTE.match(location):
            file, address = self._catalog.get(location), unquote(location)
            missing = f"asks for {location}, which catalog.json here does not map to a file"
        else:
            file = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(location)))
            address = _BASE + file
            missing = f"asks for {location}, which lies outside this folder"
        if file is None or file.startswith(("../", "/")) or file == "..":
            self.problems.append(Problem(f"{self._folder}/{name}", line, 0, "", missing))
            return
        self.take(file, address=address, namespace=namespace, asked_by=(name, line))


def _without_blanks(tree: etree._Element, body: bytes) -> bytes:
    """Return the schema with blanks in addresses written as %20: libxml2 makes no address of them otherwise."""
    changed = False
    for one in tree.iterchildren(f"{_XS}include", f"{_XS}redefine", f"{_XS}import"):
        location = one.get("schemaLocation", "")
        if " " in location:
            one.set("schemaLocation", location.replace(" ", "%20"))
            changed = True
    return etree.tostring(tree) if changed else body


# --- validating ---------------------------------------------------------------------------------------------------


class Schema:
    """The compiled schemas of one profile. One document at a time: lxml mixes up the logs of two."""

    def __init__(self, compiled: Mapping[tuple[str, str], etree.XMLSchema]) -> None:
        self._compiled = compiled  # by (namespace, name) of the root
        self._in_use = threading.Lock()

    def validate(self, root: etree._Element) -> tuple[Finding, ...]:
        """Return what is wrong with a document, at most 100 findings; none: it is valid."""
        name = etree.QName(root)
        schema = self._compiled.get((name.namespace or "", name.localname))
        if schema is None:
            return (Finding("schema", path_of(root), root.sourceline or 0, "no schema here declares this root"),)
        with self._in_use:
            valid = schema.validate(root)
            log = [] if valid else list(islice(schema.error_log, FINDINGS_MAX))
        if valid:
            return ()
        return tuple(_finding(root, entry) for entry in log) or (
            Finding("schema", path_of(root), root.sourceline or 0, "is invalid; the validator does not say why"),
        )


def _finding(root: etree._Element, entry: etree._LogEntry) -> Finding:
    element = element_at(root, entry.path or "")
    path = path_of(element) if element is not None else entry.path or ""
    return Finding(entry.type_name, path, entry.line, entry.message[:TEXT_MAX], entry.column)
