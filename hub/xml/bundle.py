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

FINDINGS_MAX = 100
TEXT_MAX = 500  # characters: libxml2 quotes the value, which may be a whole attachment

XS = "{http://www.w3.org/2001/XMLSchema}"
BASE = "bundle:///"
CATALOG = "catalog.json"
MODULES = "../../../modules"  # seen from a standard's folder
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_GRAMMAR = ":/?#[]@!$&'()*+,;=%~"
_REFERENCES = (f"{XS}include", f"{XS}redefine", f"{XS}import")


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
    files: Files, folder: str, main: str, without: frozenset[str] = frozenset()
) -> tuple[Bundle, list[Problem]]:
    """Return the schema files that ``main`` reaches, and what is missing or unreadable among them.

    ``without``: locations that may be missing. Where one is, the file that asks for it is read as if it did not.
    """
    catalogued = _Catalogued(files, folder, without)
    walk = Walk(catalogued.find, folder)
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

    def __init__(self, find: Find, folder: str) -> None:
        self.found: dict[str, tuple[str, bytes]] = {}
        self.elements: set[tuple[str, str]] = set()
        self.problems: list[Problem] = []
        self.dispensable: set[str] = set()  # addresses that are missing and may be
        self._find = find
        self._folder = folder
        self._seen: set[tuple[str, str]] = set()
        self._names: dict[str, str] = {}  # of the files, by address

    def start(self, main: str) -> None:
        """Read a main schema and all that it reaches."""
        pending: list[tuple[Wanted, str | None]] = [(Wanted(BASE + main, main, ""), None)]
        read: dict[str, tuple[str, bytes, etree._Element]] = {}
        while pending:  # and no recursion: who writes schemas may chain thousands
            wanted, includer = pending.pop()
            tree = self._take(wanted, read)
            if tree is None:
                continue
            target = tree.get("targetNamespace") or includer or ""
            if (wanted.address, target) in self._seen:
                continue
            self._seen.add((wanted.address, target))
            self.elements.update((target, str(one.get("name"))) for one in tree.iterchildren(f"{XS}element"))
            followed = [self._follow(one, wanted.address, target) for one in tree.iterchildren(*_REFERENCES)]
            pending += reversed([one for one in followed if one is not None])
        for address, (name, body, tree) in read.items():
            self.found[address] = (name, self._readable(tree, body, address))

    def _take(self, wanted: Wanted, read: dict[str, tuple[str, bytes, etree._Element]]) -> etree._Element | None:
        """Return one schema file as a tree, or note why there is none."""
        if wanted.address in read:
            return read[wanted.address][2]
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
            tree = etree.fromstring(body, guard.trusted_parser())
        except etree.XMLSyntaxError as error:
            self.problems.append(Problem(name, error.lineno or 0, 0, "", "is not well-formed XML"))
            return None
        read[wanted.address] = (name, body, tree)
        self._names[wanted.address] = name
        return tree

    def _follow(self, one: etree._Element, base: str, target: str) -> tuple[Wanted, str | None] | None:
        """Return what an include or import asks for; ``None``: nothing, or what cannot be."""
        location = one.get("schemaLocation")
        if not location:
            return None
        imported = one.tag == f"{XS}import"
        namespace = one.get("namespace", "") if imported else target
        address = resolve(base, location.strip())
        name, line = self._names[base], one.sourceline or 0
        if address is None:
            self.problems.append(Problem(name, line, 0, "", f"asks for {location}, which lies outside this folder"))
            return None
        return Wanted(address, location, namespace, name, line), None if imported else target

    def _readable(self, tree: etree._Element, body: bytes, base: str) -> bytes:
        """Return the schema as libxml2 can use it.

        It makes no address of blanks and umlauts: they are escaped. What may be missing is not asked for any more.
        """
        changed = False
        for one in tree.iterchildren(*_REFERENCES):
            location = one.get("schemaLocation", "")
            plain = location.strip()
            if plain and resolve(base, plain) in self.dispensable:
                del one.attrib["schemaLocation"]
                changed = True
            elif plain and location != quote(plain, safe=_GRAMMAR):
                one.set("schemaLocation", quote(plain, safe=_GRAMMAR))
                changed = True
        return etree.tostring(tree) if changed else body
