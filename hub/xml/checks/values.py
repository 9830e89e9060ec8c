"""The words in which checks are asked for, and in which they answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from lxml import etree

from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.message import Finding
from hub.xml.bundle import TEXT_MAX
from hub.xml.place import path_of
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs

NEEDS_THE_FULL_SCHEMA = frozenset({"xsd", "codelists", "idref", "din91379"})
"""Checks that ask the official schema; the header schema knows nothing of what they look for."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check as a route asks for it. Each of the others belongs to the check of which its sentence speaks."""

    name: str
    level: Literal["full", "header"] = "full"  # xsd: by the official schema, or by the header schema
    strict: bool = False  # codelists: a version that is not here is an error
    phase: str = ""  # schematron: the phase that counts; "": the schema's own
    files: tuple[str, ...] = ()  # schematron: globs of the profile's files; none: all
    trust: tuple[str, ...] = ()  # signature: PEM files of certificates and authorities
    covers: str = ""  # signature: XPath of the element that must be signed; "": the whole document

    def __str__(self) -> str:
        if self.name == "xsd" and self.level == "header":
            return "xsd: header"
        return f"{self.name}: strict" if self.strict else self.name

    @property
    def needs_full(self) -> bool:
        return self.name in NEEDS_THE_FULL_SCHEMA and self.level == "full"


@dataclass(frozen=True, slots=True)
class Document:
    """What is checked: well-formed, identified, and never changed by a check."""

    root: etree._Element = field(repr=False)
    profile: Profile
    at: datetime  # when it was received
    body: bytes = field(default=b"", repr=False)  # what ``root`` was parsed from, for line and column


@dataclass(frozen=True, slots=True)
class Sources:
    """Where checks take their schemas, lists, rules and certificates from."""

    files: Files
    registry: Registry
    programs: Programs


@dataclass(frozen=True, slots=True)
class Found:
    """What a check found, before anybody asks where: of a thousand findings a hundred are shown."""

    rule: str
    place: etree._Element | Callable[[], etree._Element] = field(repr=False)
    text: str = field(repr=False)
    level: str = "error"

    def shown(self) -> Finding:
        """Return the finding with its absolute path and line."""
        element = self.place() if callable(self.place) else self.place
        return Finding(self.rule, path_of(element), element.sourceline or 0, self.text[:TEXT_MAX], level=self.level)


Run: TypeAlias = Callable[[Document], Iterable[Found | Finding]]
Prepare: TypeAlias = Callable[[Check, Profile, Sources], Run]


class Inconclusive(Exception):
    """A check could not tell. What did not run has not passed. The text holds nothing of the document."""


def impossible(file: str, text: str, line: int = 0) -> ConfigError:
    """Return what a check raises that cannot be prepared."""
    return ConfigError([Problem(file, line, 0, "", text)])
