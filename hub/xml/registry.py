"""Every standard that the hub knows: which document is of which, and the schema to check it by.

A standard is a folder ``schemas/xoev/STANDARD/VERSION`` with a ``profile.yaml``, beside routes.yaml or among the
shipped ones; the deployment's own wins. Adding one needs files, no code.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from lxml import etree

from hub.errors import ConfigError, Problem, Rejected
from hub.files import SHIPPED, Files
from hub.message import Finding
from hub.xml.bundle import Bundle, read_bundle
from hub.xml.index import Index
from hub.xml.place import path_of
from hub.xml.profile import EVERY, Profile, Root
from hub.xml.profile_file import read_profile
from hub.xml.schema import Schema
from hub.xml.typed import Types

FOLDER = "schemas/xoev"
SHOWN_MAX = 80  # characters of a value in a finding
IMPORT = "a published standard comes with: xoev-hub schemas import FILE.zip"


class Registry:
    """The profiles of a snapshot, and their schemas, each compiled at its first use."""

    def __init__(self, profiles: Iterable[Profile], bundles: Mapping[tuple[str, str], Bundle]) -> None:
        self.profiles: Mapping[tuple[str, str], Profile] = {(one.standard, one.version): one for one in profiles}
        self._bundles = bundles  # by (folder, main schema)
        self._schemas: dict[tuple[str, str], Schema] = {}
        self._types: dict[tuple[str, str], Types] = {}  # by (folder, main schema)
        self._by_root: dict[str, list[Profile]] = {}  # by the tag
        for profile in self.profiles.values():
            for root in profile.roots:
                for tag in root.tags:
                    self._by_root.setdefault(tag, []).append(profile)

    @classmethod
    def load(cls, files: Files, index: Index | None = None) -> tuple[Registry, list[Problem]]:
        """Read every profile and its schema files, and say what is wrong with them.

        ``index``: filled with what they declare; without one, the deployment's own is read.
        """
        index = index or Index(files)
        problems: list[Problem] = []
        profiles: dict[tuple[str, str], Profile] = {}
        bundles: dict[tuple[str, str], Bundle] = {}
        for name in (*files.find(FOLDER, "*/*/profile.yaml"), *files.find(SHIPPED + FOLDER, "*/*/profile.yaml")):
            folder = name.removesuffix("/profile.yaml")
            standard, version = folder.split("/")[-2:]
            if (standard, version) in profiles:
                continue
            profile, found = read_profile(files, folder)
            problems += found
            if profile is None:
                continue
            for main in sorted({root.xsd for root in profile.roots}):
                bundles[folder, main], missing = read_bundle(files, folder, main, profile.without, index)
                problems += missing
            profiles[standard, version] = _with_names(profile, bundles)
        problems += _ambiguous(profiles.values())
        return cls(profiles.values(), bundles), problems

    def identify(self, root: etree._Element, at: datetime) -> Profile:
        """Return the profile of a document that was received at ``at``.

        Raises:
            Rejected: ``unknown_type``, or ``version_not_served`` with the versions that are.
        """
        candidates = self._by_root.get(str(root.tag))
        if not candidates:
            name = etree.QName(root)
            where = f"the root {name.localname[:100]} in the namespace {(name.namespace or '(none)')[:200]}"
            text = f"no standard of this hub has {where}; {IMPORT}"
            raise Rejected("unknown_type", [_finding(root, "unknown_type", text)])
        # Who takes every document of a root (UBL) comes after who asks it for its version (XRechnung).
        fitting = [one for one in candidates if one.fits(root)]
        if len(fitting) > 1:
            fitting.sort(key=lambda one: one.takes_all(root))
        for profile in fitting:
            if profile.serves(at):
                return profile
        raise Rejected(
            "version_not_served", [_finding(root, "version_not_served", _served(root, candidates, fitting, at))]
        )

    def related(self, root: etree._Element) -> Sequence[Profile]:
        """Return every profile that knows a document's root, in whatever version."""
        return self._by_root.get(str(root.tag), [])

    def schema(self, profile: Profile) -> Schema:
        """Return the profile's schema; compiled once.

        Raises:
            ConfigError: It cannot be compiled.
        """
        key = (profile.standard, profile.version)
        if key not in self._schemas:
            self._schemas[key] = self._compile(profile)
        return self._schemas[key]

    def types(self, profile: Profile) -> Mapping[str, Types]:
        """Return the types of each main schema of a profile, read once."""
        mains = sorted({root.xsd for root in profile.roots})
        for main in mains:
            if (profile.folder, main) not in self._types:
                self._types[profile.folder, main] = Types(self._bundles[profile.folder, main])
        return {main: self._types[profile.folder, main] for main in mains}

    def _compile(self, profile: Profile) -> Schema:
        compiled: dict[str, etree.XMLSchema] = {}
        problems: list[Problem] = []
        for main in sorted({root.xsd for root in profile.roots}):
            try:
                compiled[main] = self._bundles[profile.folder, main].compile()
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(problems)
        return Schema({tag: compiled[root.xsd] for root in profile.roots for tag in root.tags})


def _with_names(profile: Profile, bundles: Mapping[tuple[str, str], Bundle]) -> Profile:
    """Return the profile with ``*`` made out: every root that its schema declares and no entry before it names."""
    roots: list[Root] = []
    taken: set[tuple[str, str]] = set()
    for root in profile.roots:
        names = root.names
        if names == EVERY:
            declared = bundles[profile.folder, root.xsd].elements
            names = frozenset(name for namespace, name in declared if namespace == root.namespace)
        names = frozenset(name for name in names if (root.namespace, name) not in taken)
        taken.update((root.namespace, name) for name in names)
        roots.append(replace(root, names=names))
    return replace(profile, roots=tuple(roots))


def _ambiguous(profiles: Iterable[Profile]) -> Iterator[Problem]:
    """Find documents that two profiles would claim at the same time."""
    claims: dict[tuple[str, str, str], Profile] = {}
    reported: set[tuple[str, str]] = set()
    for profile in profiles:
        for claim in profile.claims():
            other = claims.setdefault(claim, profile)
            pair = (other.folder, profile.folder)
            if other is not profile and pair not in reported and profile.overlaps(other):
                reported.add(pair)
                text = f"the root {claim[1]} belongs to {other.standard}/{other.version} at the same time"
                yield Problem(f"{profile.folder}/profile.yaml", 0, 0, "roots", text)


def _served(root: etree._Element, candidates: Sequence[Profile], fitting: Iterable[Profile], at: datetime) -> str:
    served = sorted({profile.version for profile in candidates if profile.serves(at)})
    now = f"served at this time: {', '.join(served)}" if served else "no version is served at this time"
    named = sorted({profile.version for profile in fitting})
    if named:
        return f"version {', '.join(named)} is not served; {now}"
    stated = candidates[0].root_of(root).stated(root)
    found = "the document states no version" if stated is None else f"version {stated[:SHOWN_MAX]!r} is unknown here"
    return f"{found}; {now}; {IMPORT}"


def _finding(root: etree._Element, rule: str, text: str) -> Finding:
    return Finding(rule, path_of(root), root.sourceline or 0, text[:500])
