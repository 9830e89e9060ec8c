"""A closed bundle: every schema file that a main schema reaches, each under the address by which it is asked for.

Nothing is ever fetched. A standard's own files have addresses below ``bundle:///``, its folder; a file that is asked
for by another address (``http://xoev.de/…/xoev-code.xsd``) is named by ``catalog.json``, a JSON object address -> file,
which may also say that a file of the folder lies among the shared modules (``../../../modules/NAME``). Relative
references count from the address, not from where the file lies. What lies nowhere is a problem, for libxml2 only warns
of it and may compile a schema without the part that would have refused a document.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.xml import guard
from hub.xml.index import REFERENCES, Asked, Declared, Index, declared

FINDINGS_MAX = 100
TEXT_MAX = 500  # characters: libxml2 quotes the value, which may be a whole attachment

BASE = "bundle:///"
CATALOG = "catalog.json"
MODULES = "../../../modules"  # seen from a standard's folder
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_GRAMMAR = ":/?#[]@!$&'()*+,;=%~"


@dataclass(frozen=True, slots=True)
class Bundle:
    """Every schema file that a main schema reaches: by address, its name in ``Files`` and its bytes."""

    folder: str
    main: str
    files: Mapping[str, tuple[str, bytes]] = field(repr=False)
    elements: frozenset[tuple[str, str]] = frozenset()  # (namespace, name) of all global elements

    def compile(self) -> etree.XMLSchema:
        """Return the compiled schema.

        Raises:
            ConfigError: with everything that libxml2 has to say against it.
        """
        if BASE + self.main not in self.files:
            raise ConfigError([self._problem(0, "is not there, or no XML")])
        _, body = self.files[BASE + self.main]
        with guard.COMPILE_LOCK:
            try:
                closed = _Closed(self.files)
                base = _quoted(BASE + self.main)
                schema = etree.XMLSchema(etree.fromstring(body, guard.trusted_parser(closed), base_url=base))
            except (etree.XMLSchemaParseError, etree.XMLSyntaxError) as error:
                raise ConfigError(list(self._problems(error)) or [self._problem(0, "cannot be compiled")]) from None
        skipped = [entry for entry in schema.error_log if "Failed to locate" in entry.message]
        if skipped:
            raise ConfigError([self._problem(entry.line, entry.message[:TEXT_MAX], entry) for entry in skipped])
        return schema

    def _problems(self, error: etree.LxmlError) -> Iterator[Problem]:
        for entry in islice(error.error_log, FINDINGS_MAX):
            if entry.level >= etree.ErrorLevels.ERROR:
                yield self._problem(entry.line, entry.message[:TEXT_MAX], entry)

    def _problem(self, line: int, text: str, entry: etree._LogEntry | None = None) -> Problem:
        address = unquote(entry.filename) if entry is not None and entry.filename else BASE + self.main
        name, _ = self.files.get(address, (f"{self.folder}/{self.main}", b""))
        return Problem(name, line, 0, "", text)


class _Closed(etree.Resolver):
    def __init__(self, files: Mapping[str, tuple[str, bytes]]) -> None:
        self._files = files

    def resolve(self, system_url: str | None, _public_id: str | None, context: Any) -> Any:
        address = unquote(system_url or "")
        found = self._files.get(address)
        if found is None:
            return None  # the parser's own resolver raises
        return self.resolve_string(found[1], context, base_url=_quoted(address))


def _quoted(address: str) -> str:
    """Return an address as libxml2 takes it, with everything escaped that is no part of its grammar."""
    if address.startswith(BASE):
        return BASE + quote(address.removeprefix(BASE))
    return quote(address, safe=_GRAMMAR)


def resolve(base: str, location: str) -> str | None:
    """Return the address that a ``schemaLocation`` in the file at ``base`` means; ``None``: outside the folder."""
    if _ABSOLUTE.match(location):
        return unquote(location)
    scheme, _, rest = base.partition("://")
    host, _, path = rest.partition("/")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(location)))
    if joined.startswith("/"):
        joined = joined.lstrip("/") if host else ".."  # a path from the root: of a host, never of this machine
    return None if joined == ".." or joined.startswith("../") else f"{scheme}://{host}/{joined}"


# --- reading the bundle -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schema file that another one asks for. ``file`` and ``line`` say which; "": the profile does."""

    address: str
    location: str
    namespace: str
    file: str = ""
    line: int = 0


Found: TypeAlias = "tuple[str, bytes] | str | None"  # name and bytes; or what is wrong; None: it may be missing
Find: TypeAlias = Callable[[Wanted], Found]


def read_bundle(
    files: Files, folder: str, main: str, without: frozenset[str] = frozenset(), index: Index | None = None
) -> tuple[Bundle, list[Problem]]:
    """Return the schema files that ``main`` reaches, and what is missing or unreadable among them.

    ``without``: locations that may be missing. Where one is, the file that asks for it is read as if it did not.
    ``index``: what is known of the files already.
    """
    catalogued = _Catalogued(files, folder, without)
    walk = Walk(catalogued.find, folder, index)
    walk.start(main)
    return Bundle(folder, main, walk.found, frozenset(walk.elements)), [*catalogued.problems, *walk.problems]


class _Catalogued:
    """Finds what lies in a standard's folder, or where its catalogue says."""

    def __init__(self, files: Files, folder: str, without: frozenset[str]) -> None:
        self.problems: list[Problem] = []
        self._files = files
        self._folder = folder
        self._without = without
        self._catalog = self._read_catalog()

    def find(self, wanted: Wanted) -> Found:
        own = wanted.address.removeprefix(BASE) if wanted.address.startswith(BASE) else None
        mapped = self._catalog.get(wanted.address) or self._catalog.get(own or "")
        if mapped is None and own is None:
            if wanted.location in self._without:
                return None
            return f"asks for {wanted.location}, which {CATALOG} here does not map to a file"
        name = posixpath.normpath(f"{self._folder}/{mapped or own}")
        if not name.startswith((f"{self._folder}/", posixpath.normpath(f"{self._folder}/{MODULES}") + "/")):
            return f"asks for {wanted.location}, which lies outside this folder"
        try:
            return name, self._files.read(name)
        except OSError:
            return f"the schema {mapped or own} is not there"

    def _read_catalog(self) -> Mapping[str, str]:
        name = f"{self._folder}/{CATALOG}"
        if name not in self._files.find(self._folder, CATALOG):
            return {}
        try:
            catalog = json.loads(self._files.read(name))
        except (OSError, ValueError):
            self.problems.append(Problem(name, 0, 0, "", "expected a JSON object: address -> file in this folder"))
            return {}
        return {unquote(str(url)): str(file) for url, file in catalog.items()} if isinstance(catalog, dict) else {}


class Walk:
    """Follows includes and imports from file to file, each once. ``find`` says what lies where."""

    def __init__(self, find: Find, folder: str, index: Index | None = None) -> None:
        self.found: dict[str, tuple[str, bytes]] = {}
        self.elements: set[tuple[str, str]] = set()
        self.problems: list[Problem] = []
        self.dispensable: set[str] = set()  # addresses that are missing and may be
        self._find = find
        self._folder = folder
        self._index = index
        self._seen: set[tuple[str, str]] = set()

    def start(self, main: str) -> None:
        """Read a main schema and all that it reaches."""
        pending: list[tuple[Wanted, str | None]] = [(Wanted(BASE + main, main, ""), None)]
        read: dict[str, _Read] = {}
        while pending:  # and no recursion: who writes schemas may chain thousands
            wanted, includer = pending.pop()
            one = self._take(wanted, read)
            if one is None:
                continue
            target = one.declared.namespace or includer or ""
            if (wanted.address, target) in self._seen:
                continue
            self._seen.add((wanted.address, target))
            self.elements.update((target, name) for name in one.declared.elements)
            followed = [self._follow(asked, wanted.address, one.name, target) for asked in one.declared.asks]
            pending += reversed([each for each in followed if each is not None])
        for address, one in read.items():
            self.found[address] = (one.name, self._readable(one, address))

    def _take(self, wanted: Wanted, read: dict[str, _Read]) -> _Read | None:
        """Return one schema file, or note why there is none."""
        if wanted.address in read:
            return read[wanted.address]
        found = self._find(wanted)
        if found is None:
            self.dispensable.add(wanted.address)
            return None
        if isinstance(found, str):
            where = wanted.file or f"{self._folder}/profile.yaml"
            self.problems.append(Problem(where, wanted.line, 0, "", found))
            return None
        name, body = found
        try:
            says = declared(body) if self._index is None else self._index.declared(name, body)
        except etree.XMLSyntaxError as error:
            self.problems.append(Problem(name, error.lineno or 0, 0, "", "is not well-formed XML"))
            return None
        read[wanted.address] = _Read(name, body, says)
        return read[wanted.address]

    def _follow(self, asked: Asked, base: str, name: str, target: str) -> tuple[Wanted, str | None] | None:
        """Return what an include or import asks for; ``None``: nothing, or what cannot be."""
        location = asked.location
        if not location:
            return None
        namespace = asked.namespace if asked.imports else target
        address = resolve(base, location.strip())
        if address is None:
            text = f"asks for {location}, which lies outside this folder"
            self.problems.append(Problem(name, asked.line, 0, "", text))
            return None
        return Wanted(address, location, namespace, name, asked.line), None if asked.imports else target

    def _readable(self, one: _Read, base: str) -> bytes:
        """Return the schema as libxml2 can use it.

        It makes no address of blanks and umlauts: they are escaped. What may be missing is not asked for any more.
        """
        if not any(self._usable(asked.location, base) != asked.location for asked in one.declared.asks):
            return one.body
        tree = etree.fromstring(one.body, guard.trusted_parser())
        for child in tree.iterchildren(*REFERENCES):
            location = self._usable(child.get("schemaLocation", ""), base)
            if location is None:
                del child.attrib["schemaLocation"]
            elif location:
                child.set("schemaLocation", location)
        return etree.tostring(tree)

    def _usable(self, location: str, base: str) -> str | None:
        """Return a location as libxml2 takes it; ``None``: it is not there and may be missing."""
        plain = location.strip()
        if not plain:
            return location
        missing = self.dispensable and resolve(base, plain) in self.dispensable
        return None if missing else quote(plain, safe=_GRAMMAR)


@dataclass(frozen=True, slots=True)
class _Read:
    """A schema file: its name, its bytes, and what it declares."""

    name: str
    body: bytes = field(repr=False)
    declared: Declared
