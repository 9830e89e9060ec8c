"""Large documents: a standard of its own, anlage/1.0, whose message carries one attachment in base64, and a target format.

The hub has never seen either. The attachments are invented bytes that no compression makes smaller.
"""

from __future__ import annotations

import base64
import random
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.leinen import Leinen, ags

MB = 1_000_000
NAMESPACE = "urn:test:anlage_1.0"
TARGET = "urn:test:akte_1.0"
BOXED = "urn:test:kasten_1.0"

PROFILE = f"""\
standard: anlage
version: "1.0"
title: Antrag mit Anlage (erfunden)
roots: {{namespace: "{NAMESPACE}", names: [antrag]}}
version_from: "@fassung"
xsd: anlage.xsd
header:
  form: none
  namespaces: {{a: "{NAMESPACE}"}}
  message_id: /a:antrag/a:kopf/a:id
  created_at: /a:antrag/a:kopf/a:zeit
  reader: {{xpath: /a:antrag/a:kopf/a:leser, prefix: ags}}
"""
XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{NAMESPACE}" elementFormDefault="qualified">
  <xs:element name="antrag">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="kopf">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="id" type="xs:string"/>
              <xs:element name="zeit" type="xs:dateTime"/>
              <xs:element name="leser" type="xs:string"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
        <xs:element name="anlage" type="xs:base64Binary" maxOccurs="unbounded"/>
      </xs:sequence>
      <xs:attribute name="fassung" type="xs:string" use="required"/>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""
TARGET_PROFILE = f"""\
standard: akte
version: "1.0"
title: Akte eines Fachverfahrens (erfunden)
roots: {{namespace: "{TARGET}", names: [akte]}}
version_from: "@fassung"
xsd: akte.xsd
header:
  form: none
  namespaces: {{k: "{TARGET}"}}
  message_id: /k:akte/@vorgang
"""
TARGET_XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{TARGET}" elementFormDefault="qualified">
  <xs:element name="akte">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="zeichen" type="xs:unsignedInt"/>
        <xs:element name="dokument" type="xs:base64Binary" maxOccurs="unbounded"/>
      </xs:sequence>
      <xs:attribute name="fassung" type="xs:string" use="required"/>
      <xs:attribute name="vorgang" type="xs:string" use="required"/>
    </xs:complexType>
  </xs:element>
</xs:schema>
"""
XSLT = f"""\
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:a="{NAMESPACE}" xmlns:k="{TARGET}" exclude-result-prefixes="a">
  <xsl:template match="/a:antrag">
    <k:akte fassung="1.0" vorgang="{{a:kopf/a:id}}">
      <k:zeichen><xsl:value-of select="string-length(a:anlage[1])"/></k:zeichen>
      <xsl:for-each select="a:anlage"><k:dokument><xsl:value-of select="."/></k:dokument></xsl:for-each>
    </k:akte>
  </xsl:template>
</xsl:stylesheet>
"""


def pdf(size: int, seed: int = 1) -> bytes:
    """Return bytes of about this size that begin and end like a PDF; the same for the same seed."""
    return b"%PDF-1.7\n" + random.Random(seed).randbytes(size - 20) + b"\n%%EOF\n"


def antrag(*attachments: bytes, town: int = 0, id_: str | None = None) -> bytes:
    """Return an application to a town with these attachments."""
    parts = b"".join(b"\n  <anlage>" + base64.b64encode(one) + b"</anlage>" for one in attachments)
    return b"".join(
        (
            f"""<?xml version="1.0" encoding="UTF-8"?>
<antrag xmlns="{NAMESPACE}" fassung="1.0">
  <kopf><id>{id_ or uuid.uuid4()}</id><zeit>2026-11-21T10:00:00+01:00</zeit><leser>{ags(town)}</leser></kopf>""".encode(),
            parts,
            b"\n</antrag>\n",
        )
    )


class Anlagen(Leinen):
    """A deployment that takes large documents beside small ones.

    ``procedures`` serve the small documents of their towns, ``files`` the large ones of the first town, by service.
    ``mapped`` names those that get the target format.
    """

    def __init__(
        self,
        folder: Path,
        procedures: Mapping[str, Mapping[str, Any]],
        large: Mapping[str, Mapping[str, Any]],
        *,
        mapped: frozenset[str] = frozenset(),
        max_body: str = "50MB",
        max_text: str = "45MB",
    ) -> None:
        super().__init__(folder, procedures)
        for service, settings in large.items():
            self.procedure(self.towns[0], service, settings)
        self.routes["inbound"]["online"] |= {"max_body": max_body, "max_text": max_text}
        steps = [{"xslt": "transforms/akte.xsl"}, {"validate": "akte/1.0"}]
        self.routes["routes"]["anlage"] = {
            "match": {"type": "anlage/1.0"},
            "deliver_to": [
                {"to": f"{{municipality}}/{service}", "steps": steps}
                if service in mapped
                else f"{{municipality}}/{service}"
                for service in large
            ],
        }
        self.file("schemas/xoev/anlage/1.0/profile.yaml", PROFILE)
        self.file("schemas/xoev/anlage/1.0/anlage.xsd", XSD)
        self.file("schemas/xoev/akte/1.0/profile.yaml", TARGET_PROFILE)
        self.file("schemas/xoev/akte/1.0/akte.xsd", TARGET_XSD)
        self.file("transforms/akte.xsl", XSLT)
