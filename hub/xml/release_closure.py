"""Which schemas a release is made of, from its main schemas to the last shared module. Pure.

An address is looked for in this order, and the first place that has it wins:

    1  the release's own file at the relative place, or where a catalogue of the release says
    2  a file of the release of the same namespace and file name; for absolute addresses also the only file of that
       namespace; then the same in the places that were handed in: a catalogue beside it, shared modules, standards

Two different contents in one of these places are a problem and no choice: libxml2 would take the first, silently.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from lxml import etree

from hub.errors import Problem
from hub.xml import guard
from hub.xml.bundle import BASE, Found, Walk, Wanted, resolve
from hub.xml.index import XS
from hub.xml.release import Release, SchemaFile

NOT_HERE = "which is neither in the release nor among the standards and modules here"

_QNAMES = {"type", "ref", "base", "itemType", "memberTypes", "substitutionGroup", "refer"}
_COMPONENTS = {"element", "attribute", "simpleType", "complexType", "group", "attributeGroup", "notation"}


@dataclass(frozen=True, slots=True)
class Place:
    """A schema file that can be asked for. ``origin``: release, module, standard; ``name`` is the one it has there."""

    origin: str
    name: str
    body: bytes = field(repr=False)
    namespace: str
    called: str  # its file name as published, by which others ask for it
    addresses: frozenset[str] = frozenset()  # by which a catalogue knows it


@dataclass(frozen=True, slots=True)
class Closure:
    """All that the main schemas reach, by address, and what is wrong with it."""

    places: Mapping[str, Place]
    problems: tuple[Problem, ...]


def close(
    release: Release, mains: Iterable[str], elsewhere: Sequence[Sequence[Place]], without: Iterable[str] = ()
) -> Closure:
    """Return what the main schemas, by their names in the release, reach.

    ``elsewhere``: further places in the order in which they are asked. ``without``: locations that may be missing.
    """
    search = _Search(release, elsewhere, frozenset(without))
    walk = Walk(search.find, "")
    for main in mains:
        walk.start(main)
    places = {address: search.chosen[name] for address, (name, _) in walk.found.items()}
    return Closure(places, (*_merged(walk.problems), *clashes(walk.found)))


class _Search:
    def __init__(self, release: Release, elsewhere: Sequence[Sequence[Place]], without: frozenset[str]) -> None:
        self.chosen: dict[str, Place] = {}
        self._release = release
        self._without = without
        own = [_own(schema) for schema in release.schemas.values()]
        self._tiers = [_by_namespace(places) for places in (own, *elsewhere)]

    def find(self, wanted: Wanted) -> Found:
        found: Place | str | None = self._named(wanted)
        for tier in self._tiers:
            found = found or self._namesake(wanted, tier.get(wanted.namespace, ()))
        if found is None:
            if wanted.location in self._without:
                return None
            namespace = f" (namespace {wanted.namespace})" if wanted.namespace else ""
            return f"asks for {wanted.location}{namespace}, {NOT_HERE}"
        if isinstance(found, str):
            return found
        self.chosen[found.name] = found
        return found.name, found.body

    def _named(self, wanted: Wanted) -> Place | None:
        own = wanted.address.removeprefix(BASE) if wanted.address.startswith(BASE) else None
        for name in (own, self._release.addresses.get(wanted.address)):
            schema = self._release.schemas.get(name or "")
            if schema is not None:
                return _own(schema)
        return None

    def _namesake(self, wanted: Wanted, places: Sequence[Place]) -> Place | str | None:
        called = posixpath.basename(wanted.address)
        alike = [place for place in places if place.called == called or wanted.address in place.addresses]
        alike = [place for place in alike if wanted.address in place.addresses] or alike
        if not alike and not wanted.address.startswith(BASE) and len({meaning(one.body) for one in places}) == 1:
            alike = list(places)  # the only one of its namespace, whatever it is called
        if len({meaning(one.body) for one in alike}) > 1:
            names = " and ".join(sorted(one.name for one in alike)[:3])
            return (
                f"asks for {wanted.location}, of which there are two different contents: {names}; "
                "import it together with the release that has the right one"
            )
        return alike[0] if alike else None


def _own(schema: SchemaFile) -> Place:
    return Place("release", schema.name, schema.body, schema.namespace, posixpath.basename(schema.name))


def _by_namespace(places: Iterable[Place]) -> Mapping[str, Sequence[Place]]:
    found: dict[str, list[Place]] = {}
    for place in sorted(places, key=lambda one: one.name):
        found.setdefault(place.namespace, []).append(place)
    return found


def _merged(problems: Sequence[Problem]) -> Iterator[Problem]:
    """Yield each missing address once, with all who ask for it."""
    askers: dict[str, list[Problem]] = {}
    for one in problems:
        askers.setdefault(one.text, []).append(one)
    for text, asking in askers.items():
        more = sorted({f"{one.file}:{one.line}" for one in asking} - {f"{asking[0].file}:{asking[0].line}"})
        also = f"; so do {', '.join(more[:3])}{' and others' if len(more) > 3 else ''}" if more else ""
        yield Problem(asking[0].file, asking[0].line, 0, "", text + also)


# --- two contents -------------------------------------------------------------------------------------------------


def clashes(files: Mapping[str, tuple[str, bytes]]) -> Iterator[Problem]:
    """Yield the components that two files of one bundle define differently, one problem for each two files.

    libxml2 reads one file for each namespace that is imported ("already imported") and never looks at the other.
    """
    first: dict[tuple[str, str, str], tuple[str, etree._Element]] = {}
    reported: set[tuple[str, str]] = set()
    trees = {name: etree.fromstring(body, guard.trusted_parser()) for name, body in files.values()}
    for name, tree in sorted(trees.items()):
        namespace = tree.get("targetNamespace", "")
        if not namespace:
            continue  # takes that of its includer, and may do so twice
        for one in tree.iterchildren(f"{XS}*"):
            kind = etree.QName(one).localname
            if kind not in _COMPONENTS:
                continue
            other, found = first.setdefault((namespace, kind, one.get("name", "")), (name, one))
            if other != name and (other, name) not in reported and _meant(found) != _meant(one):
                reported.add((other, name))
                text = f"defines {one.get('name')} of {namespace} otherwise than {other}; only one of them can be used"
                yield Problem(name, one.sourceline or 0, 0, "", text)


@cache
def meaning(body: bytes) -> str:
    """Return a digest of what a schema says: without comments, annotations, layout, prefixes and locations."""
    try:
        return hashlib.sha256(_meant(etree.fromstring(body, guard.trusted_parser())).encode()).hexdigest()
    except etree.XMLSyntaxError:
        return hashlib.sha256(body).hexdigest()


def _meant(node: etree._Element) -> str:
    attributes = sorted(
        f"{name}={_expanded(node, value) if name in _QNAMES else value}"
        for name, value in ((str(name), str(value)) for name, value in node.attrib.items())
        if name not in ("schemaLocation", "id", "version")
    )
    inside = [_meant(one) for one in node.iterchildren("*") if one.tag != f"{XS}annotation"]
    text = (node.text or "").strip() if not inside else ""
    return f"<{etree.QName(node).text} {attributes} {text}{''.join(inside)}>"


def _expanded(node: etree._Element, value: str) -> str:
    words = []
    for word in value.split():
        prefix, _, name = word.rpartition(":")
        words.append(f"{{{node.nsmap.get(prefix or None, '')}}}{name}")
    return " ".join(words)


# --- main schemas -------------------------------------------------------------------------------------------------

_SHARED = re.compile(  # what many standards import and none is: never a standard's own namespace
    r"https?://xoev\.de/(schemata|latinchars|DIN-SPEC)|urn:xoev-de:kosit:xoev:datentyp:|http://www\.osci\.de/xinneres/"
    r"|https?://www\.w3\.org/|https?://www\.opengis\.net/|http://docs\.oasis-open\.org/|http://schemas\.xmlsoap\.org/"
    r"|http://uri\.etsi\.org/"
)


def main_schemas(release: Release, only: frozenset[str] = frozenset()) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return for each namespace of messages its main schemas: groups that are alternatives to each other, best first.

    ``only``: the namespaces that the profile speaks of, if it is known. A release of shared modules has none.
    """
    reach = _reach(release)
    own = {one.namespace for one in release.schemas.values() if _is_own(one)}
    own = own & only or own
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    asked = {name for start, names in reach.items() for name in names if name != start}
    for namespace in sorted(own):
        files = {one.name for one in release.schemas.values() if one.namespace == namespace}
        tops = sorted(files - asked)
        rest = {name for name in files if release.schemas[name].elements}
        rest -= {name for top in tops for name in reach[top]}
        if not tops and not only and not _stands_alone(files, reach, release):
            continue  # another namespace of this release asks for all of it
        while rest:  # files that ask for each other: the one that reaches most
            best = min(rest, key=lambda name: (-len(reach[name] & rest), name))
            tops.append(best)
            rest -= reach[best]
        tops = [top for top in tops if any(release.schemas[name].elements for name in reach[top] & files)]
        if tops:
            found[namespace] = _alternatives(tops, files, reach, release)
    return found


def families(release: Release, namespaces: Iterable[str]) -> list[frozenset[str]]:
    """Return which namespaces of messages belong together: what they lead to is the same, shared modules aside."""
    reach = _reach(release)
    found: list[tuple[set[str], set[str]]] = []  # namespaces of messages, and all that they lead to
    for namespace in namespaces:
        files = [one for one in release.schemas.values() if one.namespace == namespace]
        if _SHARED.match(namespace):
            continue
        led = {release.schemas[name].namespace for one in files for name in reach[one.name]}
        led = {name for name in led if not _SHARED.match(name)}
        joined = [one for one in found if one[1] & led]
        found = [one for one in found if one not in joined]
        found.append((set.union({namespace}, *(one[0] for one in joined)), led.union(*(one[1] for one in joined))))
    return [frozenset(names) for names, _ in found]


def _is_own(schema: SchemaFile) -> bool:
    if not schema.elements:
        return False
    return schema.fixes_standard or not _SHARED.match(schema.namespace)


def _stands_alone(files: set[str], reach: Mapping[str, frozenset[str]], release: Release) -> bool:
    return not any(reach[name] & files for name, one in release.schemas.items() if name not in files and _is_own(one))


def _reach(release: Release) -> dict[str, frozenset[str]]:
    """Return for each schema all that it leads to inside the release, itself included."""
    named: dict[tuple[str, str], list[str]] = {}
    for one in release.schemas.values():
        named.setdefault((one.namespace, posixpath.basename(one.name)), []).append(one.name)
    asks: dict[str, set[str]] = {}
    for one in release.schemas.values():
        asks[one.name] = set()
        for location, namespace in one.asks:
            address = resolve(BASE + one.name, location) or ""
            own = address.removeprefix(BASE)
            there = release.addresses.get(address) or (own if own in release.schemas else None)
            asks[one.name].update([there] if there else named.get((namespace, posixpath.basename(address)), ()))
    return {name: frozenset(_followed(name, asks)) for name in asks}


def _followed(start: str, asks: Mapping[str, set[str]]) -> set[str]:
    seen, pending = {start}, [start]
    while pending:
        for name in asks.get(pending.pop(), ()):
            if name not in seen:
                seen.add(name)
                pending.append(name)
    return seen


def _alternatives(
    tops: Sequence[str], files: set[str], reach: Mapping[str, frozenset[str]], release: Release
) -> tuple[tuple[str, ...], ...]:
    """Group tops that share files of their namespace. Groups that declare the same elements are alternatives."""
    groups: list[set[str]] = []
    for top in tops:
        joined = [group for group in groups if any(reach[top] & reach[other] & files for other in group)]
        groups = [group for group in groups if group not in joined] + [set.union({top}, *joined)]
    declared = [
        {name for top in group for file in reach[top] & files for name in release.schemas[file].elements}
        for group in groups
    ]
    if not any(one & other for i, one in enumerate(declared) for other in declared[i + 1 :]):
        return (tuple(sorted(tops)),)
    order = sorted(range(len(groups)), key=lambda i: (-len(declared[i]), min(groups[i])))
    return tuple(tuple(sorted(groups[i])) for i in order)
