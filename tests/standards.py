"""Small standards for tests: a folder with a profile and its schemas, and documents of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from hub.errors import Problem, Rejected
from hub.files import Files
from hub.xml import guard
from hub.xml.registry import Registry

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
MESSAGES = Path(__file__).parent / "messages"
NS = "urn:test:notiz"

PROFILE = """\
standard: notiz
version: "1"
roots: {namespace: "urn:test:notiz", names: "*"}
xsd: notiz.xsd
header: {form: none}
"""
XSD = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:n="urn:test:notiz" targetNamespace="urn:test:notiz"
    elementFormDefault="qualified">
  <xs:element name="notiz" type="n:Notiz"/>
  <xs:complexType name="Notiz">
    <xs:sequence>
      <xs:element name="zahl" type="xs:int" maxOccurs="unbounded"/>
    </xs:sequence>
    <xs:attribute name="version" type="xs:string"/>
  </xs:complexType>
</xs:schema>
"""


def write(base: Path, files: dict[str, str], folder: str = "notiz/1") -> Path:
    for name, text in files.items():
        path = base / "schemas/xoev" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return base


def load(base: Path) -> tuple[Registry, list[Problem]]:
    return Registry.load(Files(base))


def notiz(base: Path, profile: str = PROFILE, **more: str) -> tuple[Registry, list[Problem]]:
    names = {name.replace("_xsd", ".xsd"): text for name, text in more.items()}
    return load(write(base, {"profile.yaml": profile, "notiz.xsd": XSD, **names}))


def parsed(text: str) -> etree._Element:
    return guard.parse(text.encode())


def refusal(registry: Registry, text: str, at: datetime = NOW) -> Rejected:
    with pytest.raises(Rejected) as caught:
        registry.identify(parsed(text), at)
    return caught.value
