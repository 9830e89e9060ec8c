"""A small standard that has everything the checks look for, and what they find in a document of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hub.files import Files
from hub.message import Finding
from hub.xml import guard
from hub.xml.checks.table import Checks
from hub.xml.checks.values import Check, Document, Found
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs
from tests.standards import NOW, write

NS = "urn:test:akte"
TEXT = "urn:xoev-de:kosit:xoev:datentyp:din-91379_2022-08"

PROFILE = """\
standard: akte
version: "1"
roots: {namespace: "urn:test:akte", names: "*"}
xsd: akte.xsd
header: {form: none}
"""
XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:a="{NS}" xmlns:din="{TEXT}" targetNamespace="{NS}"
    elementFormDefault="qualified">
  <xs:import namespace="{TEXT}" schemaLocation="din.xsd"/>
  <xs:include schemaLocation="codes.xsd"/>
  <xs:element name="akte" type="a:Akte"/>
  <xs:element name="zusatz" type="din:datatypeC"/>
  <xs:complexType name="Teil">
    <xs:sequence>
      <xs:element name="titel" type="din:datatypeC"/>
      <xs:element name="untertitel" type="din:datatypeC" minOccurs="0"/>
      <xs:element name="kuerzel" minOccurs="0" form="unqualified">
        <xs:simpleType><xs:restriction base="din:datatypeC"><xs:maxLength value="5"/></xs:restriction></xs:simpleType>
      </xs:element>
      <xs:element name="zahl" type="xs:string" minOccurs="0"/>
      <xs:group ref="a:Verweise"/>
    </xs:sequence>
    <xs:attribute name="kennung" type="xs:ID"/>
    <xs:attribute name="siehe" type="xs:IDREFS"/>
  </xs:complexType>
  <xs:group name="Verweise">
    <xs:sequence>
      <xs:element name="verweis" type="xs:IDREF" minOccurs="0" maxOccurs="unbounded"/>
      <xs:element name="nummer" type="xs:ID" minOccurs="0"/>
    </xs:sequence>
  </xs:group>
  <xs:complexType name="Akte">
    <xs:complexContent>
      <xs:extension base="a:Teil">
        <xs:sequence>
          <xs:element name="art" type="a:Art" minOccurs="0"/>
          <xs:element name="staat" type="a:Staat" minOccurs="0"/>
          <xs:element name="frei" type="a:Frei" minOccurs="0" maxOccurs="unbounded"/>
          <xs:element ref="a:zusatz" minOccurs="0"/>
          <xs:element name="teil" type="a:Teil" minOccurs="0" maxOccurs="unbounded"/>
          <xs:element name="mehr" minOccurs="0">
            <xs:complexType><xs:sequence><xs:any processContents="lax" maxOccurs="unbounded"/></xs:sequence></xs:complexType>
          </xs:element>
        </xs:sequence>
      </xs:extension>
    </xs:complexContent>
  </xs:complexType>
</xs:schema>
"""
CODES = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:complexType name="Code">
    <xs:sequence><xs:element name="code" type="xs:token" form="unqualified"/></xs:sequence>
    <xs:attribute name="listURI" type="xs:anyURI"/>
    <xs:attribute name="listVersionID" type="xs:normalizedString"/>
  </xs:complexType>
  <xs:complexType name="Frei"><xs:complexContent><xs:extension base="Code"/></xs:complexContent></xs:complexType>
  <xs:complexType name="Staat">
    <xs:complexContent>
      <xs:restriction base="Code">
        <xs:sequence><xs:element name="code" type="xs:token" form="unqualified"/></xs:sequence>
        <xs:attribute name="listURI" type="xs:anyURI" fixed="urn:test:codeliste:staat"/>
        <xs:attribute name="listVersionID" type="xs:normalizedString" use="required"/>
      </xs:restriction>
    </xs:complexContent>
  </xs:complexType>
  <xs:complexType name="Art">
    <xs:complexContent>
      <xs:restriction base="Code">
        <xs:sequence>
          <xs:element name="code" form="unqualified">
            <xs:simpleType>
              <xs:restriction base="xs:token"><xs:enumeration value="A"/><xs:enumeration value="B"/></xs:restriction>
            </xs:simpleType>
          </xs:element>
        </xs:sequence>
        <xs:attribute name="listURI" type="xs:anyURI" fixed="urn:test:codeliste:art"/>
        <xs:attribute name="listVersionID" type="xs:normalizedString" fixed="1"/>
      </xs:restriction>
    </xs:complexContent>
  </xs:complexType>
</xs:schema>
"""
DIN = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{TEXT}">
  <xs:simpleType name="datatypeC"><xs:restriction base="xs:string"><xs:pattern value="[ -~äöüß]*"/></xs:restriction></xs:simpleType>
</xs:schema>
"""
FILES = {"profile.yaml": PROFILE, "akte.xsd": XSD, "codes.xsd": CODES, "din.xsd": DIN}


def code_list(version: str, *codes: str, uri: str = "urn:test:codeliste:staat", key: str = "SCHLUESSEL") -> str:
    """Return a genericode file whose codes stand in the second column, and whose values name no column."""
    rows = "".join(
        f"<Row><Value><SimpleValue>Name von {code}</SimpleValue></Value><Value><SimpleValue>{code}</SimpleValue></Value></Row>"
        for code in codes
    )
    return f"""\
<gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/">
  <Identification><ShortName>staat</ShortName><Version>{version}</Version><CanonicalUri>{uri}</CanonicalUri>
    <CanonicalVersionUri>{uri}_{version}</CanonicalVersionUri></Identification>
  <ColumnSet><Column Id="name" Use="required"/><Column Id="{key}" Use="required"/>
    <Key Id="erster"><ColumnRef Ref="{key}"/></Key><Key Id="zweiter"><ColumnRef Ref="name"/></Key></ColumnSet>
  <SimpleCodeList>{rows}</SimpleCodeList>
</gc:CodeList>
"""


def registry(base: Path, more: Mapping[str, str] = {}, profile: str = "") -> tuple[Registry, Profile]:
    """Return the registry of a deployment that has the standard, and its profile with ``profile`` added."""
    write(base, {**FILES, **more, "profile.yaml": PROFILE + profile}, "akte/1")
    found, problems = Registry.load(Files(base))
    assert problems == []
    return found, found.profiles["akte", "1"]


def document(inside: str, attributes: str = "") -> str:
    return f'<akte xmlns="{NS}" {attributes}>{inside}</akte>'


def findings(base: Path, check: Check, text: str, more: Mapping[str, str] = {}, profile: str = "") -> list[Finding]:
    """Return what a check finds in a document, which the schema finds valid."""
    known, found = registry(base, more, profile)
    root = guard.parse(text.encode())
    assert known.schema(found).validate(root) == ()
    run = Checks(Files(base), known, Programs()).prepared(check, found)
    return [one.shown() if isinstance(one, Found) else one for one in run(Document(root, found, NOW))]


def rules(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(one.rule, one.level, one.path) for one in found]
