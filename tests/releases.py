"""Small official releases, invented: schemas with absolute imports, modules, code lists, Schematron; and zips."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

NS = "urn:test:xlager:{version}"
CODE_NS = "http://xoev.de/schemata/code/1_0"
CODE_URL = "http://xoev.de/schemata/code/1_0/xoev-code.xsd"
XSD_NS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema"'

CODE = f"""<xs:schema {XSD_NS} targetNamespace="{CODE_NS}">
  <xs:complexType name="Code"><xs:sequence><xs:element name="code" type="xs:token"/></xs:sequence></xs:complexType>
</xs:schema>"""
OTHER_CODE = CODE.replace("xs:token", "xs:string")
LIST = """<gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/">
  <Identification><ShortName>Lagerart</ShortName><Version>3</Version>
    <CanonicalUri>urn:test:codeliste:lagerart</CanonicalUri></Identification>
  <ColumnSet><Column Id="code"/><Key Id="schluessel"><ColumnRef Ref="code"/></Key></ColumnSet>
  <SimpleCodeList><Row><Value><SimpleValue>01</SimpleValue></Value></Row></SimpleCodeList>
</gc:CodeList>"""
SCHEMATRON = """<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron" queryBinding="xslt2">
  <sch:include href="../gemeinsam.sch"/></sch:schema>"""
COMMON = '<sch:schema xmlns:sch="http://purl.oclc.org/dsdl/schematron"/>'
WSDL = '<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" targetNamespace="urn:test:dienst"/>'


def main(version: str = "1.0", import_: str = CODE_URL, about: str = "", more: str = "") -> str:
    """Return a main schema with one message that has a header of form A, and an import by its address."""
    namespace = NS.format(version=version)
    appinfo = f"<standard><nameKurz>XLager</nameKurz></standard><versionStandard><version>{version}</version>"
    return f"""<xs:schema {XSD_NS} xmlns:l="{namespace}" xmlns:c="{CODE_NS}" targetNamespace="{namespace}"
    elementFormDefault="qualified" version="{version}">
  <xs:annotation><xs:appinfo>{about or f"{appinfo}</versionStandard>"}</xs:appinfo></xs:annotation>
  {f'<xs:import namespace="{CODE_NS}" schemaLocation="{import_}"/>' if import_ else ""}
  <xs:element name="bestand.0101"><xs:complexType><xs:sequence>
    <xs:element name="nachrichtenkopf.g2g" form="unqualified"><xs:complexType><xs:sequence>
      <xs:element name="identifikation.nachricht" form="unqualified"><xs:complexType><xs:sequence>
        <xs:element name="nachrichtenUUID" type="xs:string" form="unqualified"/>
        <xs:element name="nachrichtentyp" form="unqualified" type="xs:anyType"/>
        <xs:element name="erstellungszeitpunkt" type="xs:dateTime" form="unqualified"/>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="leser" form="unqualified" type="xs:anyType"/>
      <xs:element name="autor" form="unqualified" type="xs:anyType"/>
    </xs:sequence></xs:complexType></xs:element>
    <xs:element name="menge" type="xs:int"/>
  </xs:sequence><xs:attribute name="standard" fixed="XLager"/><xs:attribute name="version" use="required"
    fixed="{version}"/></xs:complexType></xs:element>
  {more}
</xs:schema>"""


def message(version: str = "1.0", menge: str = "3") -> str:
    return f"""<l:bestand.0101 xmlns:l="{NS.format(version=version)}" standard="XLager" version="{version}">
  <nachrichtenkopf.g2g><identifikation.nachricht>
    <nachrichtenUUID>0190a000-0000-7000-8000-000000000001</nachrichtenUUID>
    <nachrichtentyp><code>0101</code></nachrichtentyp>
    <erstellungszeitpunkt>2026-06-01T12:00:00Z</erstellungszeitpunkt></identifikation.nachricht>
    <leser><kennung>ags:09999001</kennung></leser><autor><kennung>ags:09999002</kennung></autor></nachrichtenkopf.g2g>
  <l:menge>{menge}</l:menge></l:bestand.0101>"""


def release(version: str = "1.0", **changed: str | None) -> dict[str, str]:
    """Return the files of a whole release; ``changed``: ``main``, ``code``, … in the place of what it has."""
    files: dict[str, str | None] = {
        "main": main(version), "code": CODE, "list": LIST, "sch": SCHEMATRON, "common": COMMON, "wsdl": WSDL,
    } | changed  # fmt: skip
    names = {
        "main": "Schema/xlager nachrichten.xsd", "code": "Module/xoev-code.xsd", "list": "Codelisten/Lagerart ü_3.xml",
        "sch": "Regeln/a/regeln.sch", "common": "Regeln/gemeinsam.sch", "wsdl": "WSDL/dienst.wsdl",
    }  # fmt: skip
    return {names[key]: text for key, text in files.items() if text is not None}


def folder(base: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return base


def zipped(path: Path, files: Mapping[str, str | bytes]) -> Path:
    path.write_bytes(zip_bytes(files))
    return path


def zip_bytes(files: Mapping[str, str | bytes]) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return body.getvalue()
