"""A small standard of our own in two versions: 2.0 asks for a telephone number, and follows 1.0 in May 2026.

    umzug/1.0   until 2026-05-01, its documents are taken until 2026-06-01
    umzug/2.0   from 2026-05-01

All persons are invented.
"""

from __future__ import annotations

import uuid
from pathlib import Path

NS = "urn:test:umzug"
V1, V2 = "1.0", "2.0"
WINDOWS = {V1: "valid_to: 2026-05-01\ngrace_until: 2026-06-01\n", V2: "valid_from: 2026-05-01\n"}

_PROFILE = """\
standard: umzug
version: "{version}"
roots: {{namespace: "urn:test:umzug", names: [meldung.0101]}}
version_from: "@version"
xsd: umzug.xsd
header:
  form: none
  namespaces: {{u: "urn:test:umzug"}}
  message_id: /u:meldung.0101/u:kopf/u:nummer
  reader: {{xpath: /u:meldung.0101/u:kopf/u:ags, prefix: ags}}
{window}"""

_XSD = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:test:umzug" elementFormDefault="qualified">
  <xs:element name="meldung.0101"><xs:complexType>
    <xs:sequence>
      <xs:element name="kopf"><xs:complexType><xs:sequence>
        <xs:element name="nummer" type="xs:string"/>
        <xs:element name="ags" type="xs:string"/>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="person"><xs:complexType><xs:sequence>
        <xs:element name="name" type="xs:string"/>
        {telephone}
      </xs:sequence></xs:complexType></xs:element>
    </xs:sequence>
    <xs:attribute name="version" type="xs:string" fixed="{version}" use="required"/>
  </xs:complexType></xs:element>
</xs:schema>
"""

_COPY = """\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:u="urn:test:umzug">
  <xsl:template match="@*|node()"><xsl:copy><xsl:apply-templates select="@*|node()"/></xsl:copy></xsl:template>
  <xsl:template match="/*/@version"><xsl:attribute name="version">{version}</xsl:attribute></xsl:template>
  {more}
</xsl:stylesheet>
"""

BACK = _COPY.format(version=V1, more='<xsl:template match="u:telefon"/>')
"""From 2.0 to 1.0: the telephone number is left out."""

FORWARD = _COPY.format(version=V2, more="")
"""From 1.0 to 2.0: everything stays."""


def write(base: Path, *versions: str, windows: dict[str, str] | None = None) -> None:
    """Write the versions below ``base``, and both stylesheets."""
    for version in versions or (V1, V2):
        folder = base / "schemas/xoev/umzug" / version
        folder.mkdir(parents=True, exist_ok=True)
        window = (windows or WINDOWS)[version]
        telephone = '<xs:element name="telefon" type="xs:string" minOccurs="0"/>' if version == V2 else ""
        (folder / "profile.yaml").write_text(_PROFILE.format(version=version, window=window))
        (folder / "umzug.xsd").write_text(_XSD.format(version=version, telephone=telephone))
    for name, text in (("zurueck.xsl", BACK), ("vorwaerts.xsl", FORWARD)):
        (base / "transforms").mkdir(exist_ok=True)
        (base / "transforms" / name).write_text(text)


def document(version: str = V1, *, telephone: str = "", ags: str = "03103000", name: str = "Änne Beispiel") -> bytes:
    """Return a document of a version."""
    more = f"<telefon>{telephone}</telefon>" if telephone else ""
    return (
        f'<meldung.0101 xmlns="{NS}" version="{version}">'
        f"<kopf><nummer>{uuid.uuid4()}</nummer><ags>{ags}</ags></kopf>"
        f"<person><name>{name}</name>{more}</person></meldung.0101>"
    ).encode()
