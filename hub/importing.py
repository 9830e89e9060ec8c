"""From an official release to a version that can be installed: found, closed, compiled, described. Writes nothing.

    sources ─▶ unpack ─▶ what is in them ─▶ name ─▶ closure ─▶ layout ─▶ compile ─▶ profile ─▶ Prepared

The layout is proved before it is anywhere on disk: it is read and compiled by what will read it later.
"""

from __future__ import annotations

import posixpath
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.library import (
    HEADER,
    MANIFEST,
    MODULES_FOLDER,
    PROFILE,
    Existing,
    Library,
    manifest,
    namespace_of,
)
from hub.unpacking import Unpacked, unpack
from hub.xml import guard
from hub.xml.bundle import CATALOG, MODULES, Bundle, read_bundle
from hub.xml.index import XS
from hub.xml.profile import Profile
from hub.xml.profile_file import read_profile
from hub.xml.registry import FOLDER, Registry
from hub.xml.release import OASIS_CATALOG, CodeList, Release, catalogued, read_release
from hub.xml.release_closure import Closure, Place, close, main_schemas
from hub.xml.release_layout import UMBRELLA, Layout, module_name
from hub.xml.release_parts import join_parts, unrelated
from hub.xml.release_profile import (
    Lists,
    Named,
    Roots,
    dump,
    find_roots,
    known,
    make_profile,
    merge_profile,
    name_release,
    own_lists,
)

NOTE = "Written by `xoev-hub schemas import`. Keys, window and header may be edited: the next import keeps them."

PARTS_MAX = 2  # standards in one release: XBau 2.3 has its Kernmodul inside
ABOVE_MAX = 3  # folders above a release in which a catalogue is looked for


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller says of a release that it does not say of itself."""

    standard: str = ""
    version: str = ""
    without: tuple[str, ...] = ()
    catalog: Path | None = None
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version as it will lie on disk. ``standard`` is "" for a release that has shared modules only."""

    standard: str
    version: str
    files: Mapping[str, bytes] = field(repr=False)
    modules: Mapping[str, bytes] = field(repr=False)
    profile: Profile | None = None
    roots: tuple[Roots, ...] = ()
    codelists: tuple[CodeList, ...] = ()
    mains: tuple[str, ...] = ()
    catalog: Mapping[str, str] = field(default_factory=dict)
    wsdls: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    compile_ms: float = 0.0


def prepare(sources: Sequence[Path], library: Library, wishes: Wishes) -> Prepared:
    """Return a release as it can be installed.

    Raises:
        ConfigError: with all that stands in its way: what is missing and who asks for it, two contents, what libxml2
            says, a version that is here already.
    """
    unpacked = [unpack(source) for source in sources]
    release = _read(_joined(unpacked))
    beside = _beside(sources, wishes.catalog)
    return _Preparing(library, wishes, beside, unpacked[0].name).prepare(release)


class _Preparing:
    def __init__(self, library: Library, wishes: Wishes, beside: Sequence[Place], called: str) -> None:
        self._library = library
        self._wishes = wishes
        self._beside = beside
        self._called = called
        self._notes: list[str] = []
        self._registry, _ = Registry.load(Files(library.base))

    def prepare(self, release: Release) -> Prepared:
        mains = main_schemas(release)
        self._refuse_several(release, mains)
        if not mains and not release.extras:
            return self._modules_only(release)
        profiles = self._registry.profiles.values()
        asked = self._wishes
        named = name_release(
            release, tuple(mains), profiles, self._called, standard=asked.standard, version=asked.version
        )
        existing = self._library.existing(named.standard, named.version)
        self._refuse_second(existing, mains, named)
        if existing and _goes_on(existing, mains):
            release = _read(join_parts(_read(_kept(existing)), release, replace=asked.replace))
        if several := unrelated(release, mains, _namespaces(existing) if existing else frozenset()):
            raise _refused(self._called, f"holds several releases, of {', '.join(several)}; import one at a time")
        if existing:
            mains = main_schemas(release, _namespaces(existing))
            _refuse_other(existing, mains, named)
        elif not mains:
            raise _refused(self._called, f"holds no schema, and {named.standard}/{named.version} is not here yet")
        return self._prepared(release, mains, named, existing)

    def _prepared(
        self, release: Release, mains: Mapping[str, Sequence[Sequence[str]]], named: Named, existing: Existing | None
    ) -> Prepared:
        hint = known(mains)
        without = (*self._wishes.without, *(hint.without if hint else ()))
        elsewhere = [self._beside, self._library.modules(), self._library.standards(named.standard, named.version)]
        chosen, closure = _closed(release, mains, elsewhere, without)
        if closure.problems:
            raise ConfigError(closure.problems)
        self._remark_borrowed(closure)
        layout = Layout(release, closure, chosen)
        proof = _Proof(self._library.base, named, layout)
        started = time.perf_counter()
        bundles = {namespace: proof.bundle(main, without) for namespace, main in layout.mains.items()}
        took = (time.perf_counter() - started) * 1000
        found = [find_roots(bundle, namespace) for namespace, bundle in bundles.items()]
        files = {**layout.files, **_header(existing)}
        lists = layout.lists(without if _used(without, closure, release) else ())
        files[PROFILE] = self._profile(named, found, lists, existing, files)
        files[MANIFEST] = manifest({**files, **{f"{MODULES}/{name}": body for name, body in layout.modules.items()}})
        profile = proof.profile(files)
        return Prepared(
            named.standard, named.version, files, layout.modules, profile, tuple(found), release.codelists,
            tuple(layout.mains.values()), layout.catalog, tuple(layout.wsdls), tuple(self._notes), round(took, 1),
        )  # fmt: skip

    def _modules_only(self, release: Release) -> Prepared:
        """Return a release that other standards import from, such as XInneres or xoev-code."""
        if not release.schemas:
            raise _refused(self._called, "holds no schema, no code list, no Schematron and no WSDL")
        elsewhere = [self._beside, self._library.modules(), self._library.standards("", "")]
        closure = close(release, release.schemas, elsewhere, self._wishes.without)
        if closure.problems:
            raise ConfigError(closure.problems)
        modules = {module_name(place.called, place.body): place.body for place in closure.places.values()}
        return Prepared("", "", {}, modules, notes=("no messages in it: shared modules for other standards",))

    def _profile(
        self, named: Named, found: Sequence[Roots], lists: Lists, existing: Existing | None, files: Container[str]
    ) -> bytes:
        if existing is not None:
            header = HEADER if _header(existing) else ""
            lists, gone = own_lists(dict(existing.data), lists, HEADER, files)
            if gone:
                text = f"{', '.join(gone[:5])} ({len(gone)} in all)"
                self._notes.append(f"not in this release, so the profile names it no longer: {text}")
            data, thin = merge_profile(dict(existing.data), found, lists, header=header)
            if thin:
                names = ", ".join(thin)
                self._notes.append(f"only the header schema is here for {names}: the level stays header")
        else:
            others = [one for one in self._registry.profiles.values() if one.standard == named.standard]
            latest = max(others, key=lambda one: one.version, default=None)
            other = self._library.existing(latest.standard, latest.version) if latest else None
            data = make_profile(named, found, lists, dict(other.data) if other else None)
        self._remark(named, found, {name for root in data["roots"] for name in root["names"] if root["names"] != "*"})
        return dump(data, NOTE)

    def _remark_borrowed(self, closure: Closure) -> None:
        borrowed = {place.name for place in closure.places.values() if place.origin == "beside"}
        if borrowed:
            self._notes.append(f"{len(borrowed)} shared modules come from the catalogue beside the release")

    def _remark(self, named: Named, found: Iterable[Roots], listed: AbstractSet[str]) -> None:
        if named.stated and named.stated != named.version:
            self._notes.append(
                f"the messages themselves state version {named.stated}, not {named.version}: give both a window"
            )
        for one in found:
            others = [name for name in one.others if name not in listed]
            if others:
                self._notes.append(f"no header, so no messages: {', '.join(others[:5])} ({len(others)} in all)")

    def _refuse_several(self, release: Release, mains: Mapping[str, object]) -> None:
        said = {
            f"{one.standard} {one.release}"
            for one in release.schemas.values()
            if one.namespace in mains and one.standard and one.release
        }
        if len(said) > PARTS_MAX:
            raise _refused(self._called, f"holds several releases: {', '.join(sorted(said))}; import one at a time")

    def _refuse_second(self, existing: Existing | None, mains: Mapping[str, object], named: Named) -> None:
        if existing is None or existing.shipped or self._wishes.replace or not mains:
            return
        if existing.level == "full":
            where = f"{named.standard}/{named.version}"
            raise _refused(where, "is here already with its official schema; --replace puts this release in its place")


# --- sources ------------------------------------------------------------------------------------------------------


def _joined(unpacked: Sequence[Unpacked]) -> Mapping[str, bytes]:
    if len(unpacked) == 1:
        return unpacked[0].files
    return {f"{i}-{one.name}/{name}": body for i, one in enumerate(unpacked, 1) for name, body in one.files.items()}


def _read(files: Mapping[str, bytes]) -> Release:
    release, problems = read_release(files)
    if problems:
        raise ConfigError(problems)
    return release


def _kept(existing: Existing) -> Mapping[str, bytes]:
    """Return what an earlier import brought, for a release that comes in parts."""
    own = (PROFILE, MANIFEST, CATALOG)
    return {
        name: body
        for name, body in existing.files.items()
        if name not in own and not name.startswith((f"{HEADER}/", UMBRELLA))
    }


def _beside(sources: Sequence[Path], catalog: Path | None) -> Sequence[Place]:
    """Return the schemas that a catalogue beside the release knows, each with its addresses.

    One that nobody named lies in one of the folders above an unpacked release, the nearest counts, and belongs to whom
    the release belongs to.
    """
    found = [_above(source) for source in sources if source.is_dir()]
    places: dict[str, Place] = {}
    for path in [catalog] if catalog else dict.fromkeys(found):
        places |= _catalogue(path) if path else {}
    return list(places.values())


def _above(folder: Path) -> Path | None:
    owner = folder.stat().st_uid
    found = (parent / "catalog.xml" for parent in list(folder.resolve().parents)[:ABOVE_MAX])
    return next((path for path in found if path.is_file() and path.stat().st_uid == owner), None)


def _catalogue(path: Path) -> dict[str, Place]:
    try:
        root = etree.fromstring(path.read_bytes(), guard.trusted_parser())
    except (OSError, etree.XMLSyntaxError) as error:
        raise _refused(str(path), "cannot be read as an OASIS XML catalogue") from error
    if root.tag != f"{{{OASIS_CATALOG}}}catalog":
        raise _refused(str(path), "is no OASIS XML catalogue")
    addresses: dict[str, set[str]] = {}
    for address, name in catalogued("", root).items():
        addresses.setdefault(name, set()).add(address)
    places: dict[str, Place] = {}
    pending = list(addresses)
    while pending:  # with what these ask for beside themselves
        name = pending.pop()
        file = path.parent / name
        if name in places or name.startswith("..") or file.is_symlink() or not file.is_file():
            continue
        body = file.read_bytes()
        known_as = frozenset(addresses.get(name, ()))
        called = posixpath.basename(name)
        places[name] = Place("beside", str(file), body, namespace_of(body), called, known_as)
        pending += _asked_beside(name, body)
    return places


def _asked_beside(name: str, body: bytes) -> list[str]:
    try:
        root = etree.fromstring(body, guard.trusted_parser())
    except etree.XMLSyntaxError:
        return []
    asked = [one.get("schemaLocation", "") for one in root.iterchildren(f"{XS}include", f"{XS}import")]
    here = posixpath.dirname(name)
    return [posixpath.normpath(posixpath.join(here, one)) for one in asked if one and "://" not in one]


# --- what was there -----------------------------------------------------------------------------------------------


def _goes_on(existing: Existing, mains: Iterable[str]) -> bool:
    """Tell whether a release adds to what is here: a further part of it, or code lists and Schematron alone."""
    return (
        existing.level == "full"
        if not tuple(mains) and not existing.imported
        else (existing.imported and (existing.level == "header" or not tuple(mains)))
    )


def _namespaces(existing: Existing) -> frozenset[str]:
    roots = existing.data.get("roots")
    return frozenset(str(one["namespace"]) for one in (roots if isinstance(roots, list) else [roots]) if one)


def _refuse_other(existing: Existing, mains: Iterable[str], named: Named) -> None:
    foreign = [namespace for namespace in mains if namespace not in _namespaces(existing)]
    if foreign:
        raise _refused(
            f"{named.standard}/{named.version}",
            f"its profile speaks of {', '.join(sorted(_namespaces(existing)))}, this release of {', '.join(foreign)}",
        )


def _header(existing: Existing | None) -> Mapping[str, bytes]:
    """Return the header-level profile that a version stands upon, for roots without an official schema, and after."""
    if existing is None:
        return {}
    if existing.imported:
        return {name: body for name, body in existing.files.items() if name.startswith(f"{HEADER}/")}
    if existing.level != "header":
        return {}
    return {f"{HEADER}/{name}": body for name, body in existing.files.items()}


def _used(without: Sequence[str], closure: Closure, release: Release) -> bool:
    asked = {location for one in release.schemas.values() for location, _ in one.asks}
    return bool(without) and bool(asked & set(without)) and bool(closure.places)


# --- closure -------------------------------------------------------------------------------------------


def _closed(
    release: Release,
    mains: Mapping[str, Sequence[Sequence[str]]],
    elsewhere: Sequence[Sequence[Place]],
    without: Sequence[str],
) -> tuple[dict[str, tuple[str, ...]], Closure]:
    """Return the main schemas of each namespace, of several alternatives the most complete, and all they reach."""
    chosen: dict[str, tuple[str, ...]] = {}
    for namespace, alternatives in mains.items():
        tried = alternatives
        if len(alternatives) > 1:
            tried = sorted(alternatives, key=lambda one: len(close(release, one, elsewhere, without).problems))
        chosen[namespace] = tuple(tried[0])
    return chosen, close(release, [main for tops in chosen.values() for main in tops], elsewhere, without)


class _Proof:
    """Reads and compiles a layout as it will be read and compiled from disk."""

    def __init__(self, base: Path, named: Named, layout: Layout) -> None:
        self._base = base
        self._folder = f"{FOLDER}/{named.standard}/{named.version}"
        self._shared = {f"{MODULES_FOLDER}/{name}": body for name, body in layout.modules.items()}
        self._files = self._frozen(layout.files)

    def bundle(self, main: str, without: Sequence[str]) -> Bundle:
        bundle, problems = read_bundle(self._files, self._folder, main, frozenset(without))
        if problems:
            raise ConfigError(problems)
        bundle.compile()
        return bundle

    def profile(self, files: Mapping[str, bytes]) -> Profile:
        profile, problems = read_profile(self._frozen(files), self._folder)
        if profile is None:
            raise ConfigError(problems)
        return profile

    def _frozen(self, files: Mapping[str, bytes]) -> Files:
        own = {f"{self._folder}/{name}": body for name, body in files.items()}
        return Files.frozen(self._base, {**own, **self._shared})


def _refused(where: str, text: str) -> ConfigError:
    return ConfigError([Problem(where, 0, 0, "", text)])
