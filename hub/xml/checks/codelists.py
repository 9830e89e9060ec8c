"""``codelists``: every code stands in the code list that its element names, in the version that it names.

An element with a ``code`` inside names its list by ``listURI`` and ``listVersionID``; what the schema fixes need not be
written. What was found in real messages decides the rest:

    code not in the list                          code_unknown            error
    version not here                              list_version_unknown    warning, an error under ``strict``
    version "", "0" or none                       the newest here counts; an error under ``strict``
    list not here, nor its codes in the schema    list_unknown            error: nobody has looked at the code
    listURI ""                                    list_unnamed            warning, an error under ``strict``
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.xml.checks.genericode import CodeList, read_code_list
from hub.xml.checks.values import Check, Document, Found, Run, Sources, impossible
from hub.xml.profile import Profile
from hub.xml.typed import Typed, Types
from hub.xml.xpath import text_of

SHOWN_MAX = 80
UNSTATED = ("", "0")  # as real senders write it


def prepare(check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by the profile's code lists and the types of its schema."""
    if not profile.codelists:
        raise impossible(f"{profile.folder}/profile.yaml", "names no code lists")
    known = sources.registry.types(profile)
    lists = read_lists(sources.files, profile.folder, profile.codelists)
    level = "error" if check.strict else "warning"

    def run(document: Document) -> Iterable[Found]:
        types = known[profile.root_of(document.root).xsd]
        for typed in types.walk(document.root):
            code = next(typed.node.iterchildren("{*}code"), None)
            if code is not None and next(code.iterchildren("*"), None) is None:
                yield from _Coded(typed, code, types).findings(lists, level)

    return run


def read_lists(files: Files, folder: str, names: Iterable[str]) -> Mapping[str, Mapping[str, CodeList]]:
    """Return the code lists of a folder by URI and version.

    Raises:
        ConfigError: With every file that is no list, or has other codes than another one of the same URI and version.
    """
    lists: dict[str, dict[str, CodeList]] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            found = read_code_list(files, f"{folder}/{name}")
        except ConfigError as error:
            problems += error.problems
            continue
        if lists.setdefault(found.uri, {}).setdefault(found.version, found).codes != found.codes:
            text = f"has other codes than another file with version {found.version} of the code list {found.uri}"
            problems.append(Problem(f"{folder}/{name}", 0, 0, "", text))
    if problems:
        raise ConfigError(problems)
    return lists


class _Coded:
    """An element with a code, and the list that it names."""

    def __init__(self, typed: Typed, code: etree._Element, types: Types) -> None:
        self._node, self._code = typed.node, code
        self._declared = types.resolved(typed.type)
        self._types = types
        self._uri = self._stated("listURI")
        self._version = self._stated("listVersionID")

    def findings(self, lists: Mapping[str, Mapping[str, CodeList]], level: str) -> Iterator[Found]:
        versions = lists.get(self._uri or "")
        if versions is None:
            if self._uri and not self._is_closed():
                text = f"the code list {_shown(self._uri)} is not here, so nobody has looked at the code"
                yield Found("list_unknown", self._code, text)
            elif (self._uri is not None or self._version is not None) and not self._is_closed():
                yield Found("list_unnamed", self._node, "names no code list, so nobody can look at the code", level)
            return
        found = versions.get(self._version or "")
        if found is None:
            stated = (self._version or "") not in UNSTATED
            if stated or level == "error":
                here = ", ".join(sorted(versions, key=_natural))
                text = f"version {_shown(self._version or '')} of the code list {self._uri} is not here; here: {here}"
                yield Found("list_version_unknown", self._node, text, level)
            if stated:
                return  # its codes may differ from those here
            found = versions[max(versions, key=_natural)]
        text = text_of(self._code).strip()
        if text not in found.codes:
            where = f"version {found.version} of the code list {found.uri}"
            yield Found("code_unknown", self._code, f"the code {_shown(text)} is not in {where}")

    def _stated(self, name: str) -> str | None:
        written = self._node.get(name)
        if written is None:
            declared = self._declared.attributes.get(name)
            written = declared.value if declared is not None else None
        return str(written).strip() if written is not None else None

    def _is_closed(self) -> bool:
        """Tell whether the schema itself lists the codes: then it has looked at this one."""
        inside = self._declared.elements.get(str(self._code.tag))
        return inside is not None and self._types.simple(inside.type).enumerated


def _shown(text: str) -> str:
    return repr(text[:SHOWN_MAX])


def _natural(version: str) -> list[tuple[int, str]]:
    """Return a key by which version 10 comes after version 9, and 2024-08-01 after 2023-01-01."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", version, re.ASCII)]
