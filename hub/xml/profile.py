"""What a ``profile.yaml`` says of one version of a standard, as a value. INTERFACE §3 has the grammar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

from lxml import etree

from hub.message import MessageType
from hub.xml.forms import Field, HeaderForm
from hub.xml.place import local_name
from hub.xml.xpath import Namespaces, select, text_of

EVERY = frozenset({"*"})


@dataclass(frozen=True, slots=True)
class Root:
    """Root elements of one namespace with what they share. ``names`` may be ``{"*"}``: what the schema declares."""

    namespace: str
    names: frozenset[str]
    xsd: str
    header: HeaderForm
    version_from: str = "fixed"  # fixed | @attribute | absolute XPath
    versions: frozenset[str] = frozenset()  # texts that ``version_from`` may find
    namespaces: Namespaces = field(init=False, repr=False)  # of this root's XPaths; ``r`` is the root's own
    tags: frozenset[str] = field(init=False, repr=False)  # its names as lxml writes them: {namespace}name

    def __post_init__(self) -> None:
        own = {"r": self.namespace} if self.namespace else {}
        object.__setattr__(self, "namespaces", tuple(sorted({**self.header.namespaces, **own}.items())))
        before = f"{{{self.namespace}}}" if self.namespace else ""
        object.__setattr__(self, "tags", frozenset(before + name for name in self.names))

    def has(self, element: etree._Element) -> bool:
        return element.tag in self.tags

    def fits(self, element: etree._Element) -> bool:
        """Tell whether a document with this root is of this version."""
        return self.version_from == "fixed" or self.stated(element) in self.versions

    def stated(self, element: etree._Element) -> str | None:
        """Return the version that a document with this root states; ``None``: none, or several."""
        if self.version_from.startswith("@"):
            return element.get(self.version_from[1:])
        nodes = select(element, self.version_from, self.namespaces) if self.version_from != "fixed" else ()
        # White space around an element's text is for its schema to judge, which then knows what it is to be.
        return text_of(nodes[0]).strip(" \t\r\n") if len(nodes) == 1 else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A message of this standard that tells a sender what became of its own, and how the hub fills it.

    ``codes`` turn the rule of a finding, or the code of a rejection, into one of the standard's; ``*`` stands for all
    others. ``list_version`` is that of the list which they are from, where the schema does not fix it.
    """

    form: Literal["xinneres", "xbau", "xbau-receipt", "xmeld"]
    type_code: str
    codes: Mapping[str, str] = field(default_factory=dict)
    list_version: str = ""

    @property
    def tells(self) -> Literal["rejection", "receipt"]:
        """Tell which of the two it is."""
        return "receipt" if self.form == "xbau-receipt" else "rejection"


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of a standard: its roots, header, schema and time of service."""

    standard: str
    version: str
    title: str
    level: Literal["full", "header"]
    roots: tuple[Root, ...]
    folder: str  # where it lies, as ``Files`` names it
    keys: Mapping[str, Field] = field(default_factory=dict)
    business_keys: frozenset[str] = frozenset()
    identity: Literal["message_id", "digest"] = "message_id"
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    grace_until: datetime | None = None
    codelists: tuple[str, ...] = ()  # genericode files in the folder
    schematron: tuple[str, ...] = ()  # Schematron files in the folder, without those that another one includes
    without: frozenset[str] = frozenset()  # addresses that a schema imports and that may be missing
    bindings: str | None = None  # name of the module of PyXB bindings, if they shall be generated
    reject_with: tuple[tuple[str, MessageType], ...] = ()  # (glob of names, rejection); the first that fits
    receipt_with: tuple[tuple[str, MessageType], ...] = ()  # (glob of names, receipt); the first that fits
    type_list: str = ""  # URI of the code list of this standard's message types; its version is the standard's
    answers: Mapping[str, Answer] = field(default_factory=dict)  # by the name of the root

    @property
    def names(self) -> frozenset[str]:
        """The local names of all roots."""
        return frozenset().union(*(root.names for root in self.roots))

    @property
    def has_reader(self) -> bool:
        """Whether documents say by an authority key whom they are for."""
        return any(root.header.addresses for root in self.roots)

    def type_of(self, element: etree._Element) -> MessageType:
        """Return the message type of a document of this profile."""
        return MessageType(self.standard, self.version, local_name(element))

    def root_of(self, element: etree._Element) -> Root:
        """Return the entry of ``roots`` that a document belongs to.

        Raises:
            LookupError: It is not of this profile.
        """
        for root in self.roots:
            if root.has(element):
                return root
        raise LookupError("the document is not of this profile")

    def fits(self, element: etree._Element) -> bool:
        return self.root_of(element).fits(element)

    def takes_all(self, element: etree._Element) -> bool:
        """Tell whether any document with this root is of this version, whatever it states."""
        return self.root_of(element).version_from == "fixed"

    def serves(self, at: datetime) -> bool:
        """Tell whether the version is served at a time: from ``valid_from`` to before ``grace_until or valid_to``."""
        return (self.valid_from is None or self.valid_from <= at) and (self._until is None or at < self._until)

    def rejection_of(self, name: str) -> MessageType | None:
        """Return the message that a message of this profile is rejected with; ``None``: the problem document."""
        return next((rejection for glob, rejection in self.reject_with if fnmatchcase(name, glob)), None)

    def receipt_of(self, name: str) -> MessageType | None:
        """Return the message that tells of a message of this profile that it is here; ``None``: there is none."""
        return next((receipt for glob, receipt in self.receipt_with if fnmatchcase(name, glob)), None)

    def overlaps(self, other: Profile) -> bool:
        """Tell whether there is a time at which both are served."""
        return not (_ends_before(self, other) or _ends_before(other, self))

    def claims(self) -> Iterator[tuple[str, str, str]]:
        """Yield (namespace, name, version text) of every document that is of this profile."""
        for root in self.roots:
            for name in root.names:
                for version in {""} if root.version_from == "fixed" else root.versions:
                    yield root.namespace, name, version

    @property
    def _until(self) -> datetime | None:
        return self.grace_until or self.valid_to


def _ends_before(one: Profile, other: Profile) -> bool:
    return one._until is not None and other.valid_from is not None and one._until <= other.valid_from
