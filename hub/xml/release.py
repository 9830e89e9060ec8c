"""What an official release holds: schemas, WSDLs, code lists, Schematron, and addresses of its own. Pure.

    files of the release ──▶ read_release ──▶ Release ──▶ closing (addresses) ──▶ naming (profile) ──▶ files to store

What a file is, its root element says and not its name. Instances, documents and everything else is left aside.

Where an imported version stores what, in ``schemas/xoev/STANDARD/VERSION``:
    profile.yaml        the profile; ``codelists:`` and ``schematron:`` list the files of the two folders below
    xsd/…               the standard's own schemas, in the release's own folders and under their own names
    codelists/NAME      genericode lists, flat; the key column, URI and version stand in each
    schematron/…        Schematron files and what they include, in the release's own folders; listed are those that
                        no other one includes
    wsdl/…              WSDLs
    catalog.json        absolute address, or name in this folder -> file; shared modules lie in ``schemas/modules``
    MANIFEST.sha256     ``sha256sum --check`` reads it; everything here but profile.yaml, which is the operator's
    header/             the header-level profile that was here before, if one was
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from lxml import etree

from hub.errors import Problem
from hub.xml import guard
from hub.xml.index import XS

WSDL = ("http://schemas.xmlsoap.org/wsdl/", "http://www.w3.org/ns/wsdl")
SCHEMATRON = "http://purl.oclc.org/dsdl/schematron"
OASIS_CATALOG = "urn:oasis:names:tc:entity:xmlns:xml:catalog"
_GENERICODE = "http://docs.oasis-open.org/codelist/"
_TELLING = (".xsd", ".wsdl", ".sch", ".gc")  # these must be XML; any other file may be anything


@dataclass(frozen=True, slots=True)
class SchemaFile:
    """One schema of a release."""

    name: str
    body: bytes = field(repr=False)
    namespace: str
    version: str  # of the file, as its root element says; a release's modules have their own
    elements: tuple[str, ...]  # global ones
    asks: tuple[tuple[str, str], ...]  # (location, namespace) of what it includes, redefines and imports
    standard: str = ""  # what the XGenerator writes into each file: the short name of the standard,
    release: str = ""  # and the version of the standard
    fixed: tuple[tuple[str, str], ...] = ()  # attributes with a fixed value: standard, version, xjustizVersion

    @property
    def fixes_standard(self) -> bool:
        """Whether messages of this schema say of which standard they are."""
        return any(name == "standard" for name, _ in self.fixed)


@dataclass(frozen=True, slots=True)
class CodeList:
    """A genericode list: where it lies, its URI and its version."""

    name: str
    uri: str
    version: str


@dataclass(frozen=True, slots=True)
class Release:
    """What was found in one or several sources."""

    files: Mapping[str, bytes] = field(repr=False)
    schemas: Mapping[str, SchemaFile]
    wsdls: tuple[str, ...]
    typed_wsdls: bool  # a WSDL here imports schemas by their names beside it
    codelists: tuple[CodeList, ...]
    schematron: tuple[str, ...]  # those that no other one includes
    schematron_parts: tuple[str, ...]  # these, and what they include
    addresses: Mapping[str, str]  # from OASIS catalogues of the release: address -> name

    @property
    def extras(self) -> bool:
        """Whether it has something for a version that is here, even if it has no messages."""
        return bool(self.codelists or self.schematron or (self.wsdls and not self.schemas))


def read_release(files: Mapping[str, bytes]) -> tuple[Release, list[Problem]]:
    """Return what is in the files, and those that claim to be a schema, WSDL or list and are no XML."""
    reading = _Reading(files)
    for name in sorted(files):
        reading.take(name)
    return reading.release(), reading.problems


class _Reading:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.problems: list[Problem] = []
        self._files = files
        self._schemas: dict[str, SchemaFile] = {}
        self._wsdls: list[str] = []
        self._typed_wsdls = False
        self._codelists: list[CodeList] = []
        self._schematron: dict[str, list[str]] = {}  # name -> what it includes
        self._addresses: dict[str, str] = {}

    def take(self, name: str) -> None:
        body = self._files[name]
        telling = name.lower().endswith(_TELLING)
        if not telling and not body.lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0").startswith(b"<"):
            return
        try:
            root = etree.fromstring(body, guard.trusted_parser())
        except etree.XMLSyntaxError as error:
            if telling:
                self.problems.append(Problem(name, error.lineno or 0, 0, "", "is not well-formed XML"))
            return
        tag = etree.QName(root)
        match tag.localname:
            case "schema" if root.tag == f"{XS}schema":
                self._schemas[name] = _schema(name, body, root)
            case "schema" if tag.namespace == SCHEMATRON:
                self._schematron[name] = list(_included(name, root))
            case "definitions" | "description" if tag.namespace in WSDL:
                self._wsdls.append(name)
                asked = (one.get("schemaLocation", "") for one in root.iter(f"{XS}import", f"{XS}include"))
                self._typed_wsdls |= any(_beside(name, location) in self._files for location in asked if location)
            case "CodeList" if (tag.namespace or "").startswith(_GENERICODE):
                self._codelists.append(_code_list(name, root))
            case "catalog" if tag.namespace == OASIS_CATALOG:
                self._addresses |= catalogued(name, root)

    def release(self) -> Release:
        included = {part for parts in self._schematron.values() for part in parts}
        mains = tuple(name for name in self._schematron if name not in included)
        parts = dict.fromkeys(mains)
        pending = list(mains)
        while pending:
            for part in self._schematron.get(pending.pop()) or ():
                if part not in parts:
                    parts[part] = None
                    pending.append(part)
        return Release(
            files=self._files,
            schemas=self._schemas,
            wsdls=tuple(self._wsdls),
            typed_wsdls=self._typed_wsdls,
            codelists=tuple(self._codelists),
            schematron=mains,
            schematron_parts=tuple(name for name in parts if name in self._files),
            addresses={url: name for url, name in self._addresses.items() if name in self._files},
        )


def _schema(name: str, body: bytes, root: etree._Element) -> SchemaFile:
    target = root.get("targetNamespace", "")
    asks = [
        (location.strip(), one.get("namespace", "") if one.tag == f"{XS}import" else target)
        for one in root.iterchildren(f"{XS}include", f"{XS}redefine", f"{XS}import")
        if (location := one.get("schemaLocation"))
    ]
    elements = tuple(str(one.get("name")) for one in root.iterchildren(f"{XS}element"))
    about = f"{XS}annotation/{XS}appinfo/"
    return SchemaFile(
        name=name,
        body=body,
        namespace=target,
        version=root.get("version", ""),
        elements=elements,
        asks=tuple(asks),
        standard=(root.findtext(f"{about}standard/nameKurz") or "").strip(),
        release=(root.findtext(f"{about}versionStandard/version") or "").strip(),
        fixed=tuple(
            (str(one.get("name")), str(one.get("fixed")))
            for one in root.iter(f"{XS}attribute")
            if one.get("fixed") and one.get("name") in ("standard", "version", "xjustizVersion")
        ),
    )


def _code_list(name: str, root: etree._Element) -> CodeList:
    said = {
        etree.QName(one).localname: (one.text or "").strip()
        for part in root.iterchildren("Identification", "{*}Identification")
        for one in part.iterchildren("*")
    }
    return CodeList(name, said.get("CanonicalUri", ""), said.get("Version", ""))


def _included(name: str, root: etree._Element) -> Iterator[str]:
    """Yield the files that a Schematron schema includes: its own parts, and XSLT with functions."""
    xsl = "{http://www.w3.org/1999/XSL/Transform}"
    for one in root.iter(f"{{{SCHEMATRON}}}include", f"{{{SCHEMATRON}}}extends", f"{xsl}include", f"{xsl}import"):
        if href := one.get("href"):
            yield _beside(name, href.partition("#")[0])


def _beside(name: str, location: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(location)))


def catalogued(name: str, root: etree._Element) -> dict[str, str]:
    """Return what an OASIS catalogue at ``name`` says: address -> name. Only what lies below or beside it counts."""
    found: dict[str, str] = {}
    for one in root.iter(f"{{{OASIS_CATALOG}}}uri", f"{{{OASIS_CATALOG}}}system"):
        address, target = one.get("name") or one.get("systemId"), unquote(one.get("uri", ""))
        if address and target and "://" not in target and not target.startswith("/"):
            found[unquote(address)] = _beside(name, target)
    return found
