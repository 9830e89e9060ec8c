"""An invented standard that rejects and receipts: small, of the shapes of XInneres and XBau, so that the hub can fill it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

NAMESPACE = "urn:test:ablehnung_1"
TYPE = "ablehnung/1/rueckweisung.0010"
RECEIPT = "ablehnung/1/quittung.1180"
OFFICE: dict[str, Any] = {
    "authority": "dbs:099990000001", "name": "Vermittlung Musterland", "email": "poststelle@musterland.invalid",
    "street": "Beispielweg", "number": "1", "postal_code": "01234", "city": "Musterstadt",
}  # fmt: skip

PROFILE = f"""\
standard: ablehnung
version: "1"
roots: {{namespace: "{NAMESPACE}", names: [rueckweisung.0010, quittung.1180]}}
xsd: ablehnung.xsd
header: {{form: A}}
answers:
  rueckweisung.0010:
    form: xinneres
    type_code: "0010"
    codes: {{not_well_formed: X000, schema_violation: X001, conflict: S100, "*": S999}}
  quittung.1180: {{form: xbau-receipt, type_code: "1180", list_version: "1.0"}}
"""


def _code(name: str, more: str = "") -> str:
    return f"""<xs:element name="{name}"{more}><xs:complexType><xs:sequence>
      <xs:element name="code" type="xs:token"/></xs:sequence>
      <xs:attribute name="listURI" type="xs:anyURI"/><xs:attribute name="listVersionID" type="xs:string"/>
    </xs:complexType></xs:element>"""


_ID = f"""<xs:sequence><xs:element name="nachrichtenUUID" type="xs:string"/>{_code("nachrichtentyp")}
  <xs:element name="erstellungszeitpunkt" type="xs:dateTime"/></xs:sequence>"""

_HEAD = """<xs:element name="nachrichtenkopf.g2g"><xs:complexType><xs:sequence>
      <xs:element name="identifikation.nachricht" type="a:Id"/>
      <xs:element name="leser" type="a:Behoerde"/><xs:element name="autor" type="a:Behoerde"/>
    </xs:sequence></xs:complexType></xs:element>"""

_PRODUCT = """<xs:attribute name="produkt" type="xs:string" use="required"/>
  <xs:attribute name="produkthersteller" type="xs:string" use="required"/>
  <xs:attribute name="produktversion" type="xs:string"/><xs:attribute name="test" type="xs:string"/>"""

XSD = f"""\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:a="{NAMESPACE}" targetNamespace="{NAMESPACE}">
  <xs:complexType name="Id">{_ID}</xs:complexType>
  <xs:complexType name="Behoerde"><xs:sequence>{_code("verzeichnisdienst")}
    <xs:element name="kennung" type="xs:string"/><xs:element name="name" type="xs:string"/>
    <xs:element name="erreichbarkeit" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      {_code("kanal")}<xs:element name="kennung" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
  </xs:sequence></xs:complexType>
  <xs:element name="rueckweisung.0010"><xs:complexType><xs:sequence>
    {_HEAD}
    <xs:element name="anschrift.autor"><xs:complexType><xs:sequence>
      <xs:element name="gebaeude"><xs:complexType><xs:sequence>
        <xs:element name="hausnummer" type="xs:string" minOccurs="0"/><xs:element name="postleitzahl" type="xs:string"/>
        <xs:element name="strasse" type="xs:string"/><xs:element name="wohnort" type="xs:string"/>
      </xs:sequence></xs:complexType></xs:element>
    </xs:sequence></xs:complexType></xs:element>
    <xs:element name="rueckweisung"><xs:complexType><xs:sequence>
      <xs:element name="rueckweisungsgrund" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        {_code("grund")}
        <xs:element name="grundSpezifisch" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
          <xs:element name="fehlerbeschreibung" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="idNachricht" type="a:Id" minOccurs="0"/>
      <xs:element name="nachricht" type="xs:base64Binary"/>
    </xs:sequence></xs:complexType></xs:element>
  </xs:sequence>
  {_PRODUCT}
  </xs:complexType></xs:element>
  <xs:element name="quittung.1180"><xs:complexType><xs:sequence>
    {_HEAD}
    <xs:element name="bezug"><xs:complexType><xs:sequence>
      <xs:element name="referenz" type="xs:string"/></xs:sequence></xs:complexType></xs:element>
    {_code("nachrichtentyp")}
  </xs:sequence>
  {_PRODUCT}
  </xs:complexType></xs:element>
</xs:schema>
"""


def install(folder: Path, *, level: str = "full") -> None:
    """Write the standard into a deployment."""
    place = folder / "schemas/xoev/ablehnung/1"
    place.mkdir(parents=True)
    (place / "profile.yaml").write_text(f"{PROFILE}level: {level}\n", encoding="utf-8")
    (place / "ablehnung.xsd").write_text(XSD, encoding="utf-8")
