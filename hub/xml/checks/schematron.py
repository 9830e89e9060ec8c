"""``schematron``: the rules of a standard beyond its schema, by ISO Schematron and SaxonC-HE.

A finding bears the id of its assertion. ``flag`` (or ``role``) says how much it weighs: ``warning`` and ``information``
are warnings, everything else, and nothing, is an error; the route's ``accept:`` may see it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.xml import guard, saxon
from hub.xml.checks.values import Check, Document, Found, Inconclusive, Run, Sources, impossible
from hub.xml.profile import Profile
from hub.xml.schematron import RESULT, read_schematron

WARNINGS = frozenset({"warning", "warn", "information", "info", "notice", "hint"})
_STEP = re.compile(r"/Q\{([^}]*)\}([^/\[]+)\[(\d+)\]")


def prepare(check: Check, profile: Profile, sources: Sources) -> Run:
    """Return the check by the profile's Schematron files, each a program that is compiled after the fork."""
    if not profile.schematron:
        raise impossible(f"{profile.folder}/profile.yaml", "names no Schematron files")
    if not saxon.available():
        raise ConfigError([Problem("", 0, 0, "", f"schematron {saxon.MISSING}")])
    programs = []
    for name in chosen(check, profile):
        text = read_schematron(sources.files, profile.folder, name, check.phase)
        programs.append(sources.programs.get(f"{profile.folder}/{name}", text))

    def run(document: Document) -> Iterable[Found]:
        text = etree.tostring(document.root, encoding="unicode")
        for program in programs:
            try:
                result = program.apply(text)
            except saxon.Failed as failure:
                raise Inconclusive(f"{program.name} {failure}") from None
            yield from _findings(document.root, result)

    return run


def chosen(check: Check, profile: Profile) -> list[str]:
    """Return the files that count on a route: some standards have one for each kind of message."""
    for glob in check.files:
        if not any(fnmatchcase(name, glob) for name in profile.schematron):
            there = ", ".join(profile.schematron)
            raise impossible(f"{profile.folder}/profile.yaml", f"no Schematron file fits {glob!r}; there are {there}")
    every = not check.files
    return [name for name in profile.schematron if every or any(fnmatchcase(name, glob) for glob in check.files)]


def _findings(root: etree._Element, result: str) -> Iterator[Found]:
    found = etree.fromstring(result.encode(), guard.trusted_parser())
    for one in found.iterchildren(f"{{{RESULT}}}f"):
        level = "warning" if one.get("level", "").lower() in WARNINGS else "error"
        text = " ".join("".join(map(str, one.itertext())).split())
        yield Found(one.get("id", ""), partial(_element, root, one.get("at", "")), text, level)


def _element(root: etree._Element, path: str) -> etree._Element:
    """Return the element that a path of ``fn:path`` names: of an attribute or text the one that it belongs to."""
    steps = _STEP.findall(path)
    node = root
    for namespace, name, position in steps[1:]:
        tag = f"{{{namespace}}}{name}" if namespace else name
        alike = list(node.iterchildren(tag))
        if int(position) > len(alike):
            return node
        node = alike[int(position) - 1]
    return node
