"""One small invented document of each header form, with places for its facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

G2G = "http://xoev.de/schemata/basisnachricht/g2g/1_1"
BEH = "http://xoev.de/schemata/basisnachricht/behoerde/1_1"
OSCI = "http://www.osci.eu/ws/2014/10/transport"
UBL = "urn:oasis:names:specification:ubl:schema:xsd:"
CII = "urn:un:unece:uncefact:data:standard:"
RAM = f"{CII}ReusableAggregateBusinessInformationEntity:100"

UUID = "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0001"
ZONED = "2026-03-02T09:15:00.562+01:00"


@dataclass(frozen=True, slots=True)
class Sample:
    """A document with ``{author}`` and ``{reader}`` (``{reader_prefix}``, ``{reader_number}``) in it, and its facts."""

    form: str
    document: str
    facts: Mapping[str, str | None]
    author: str | None = "psw:01003110"
    reader: str | None = "ags:03103000"
    version: str = ""
    standard: str = ""

    def written(self, author: str | None = None, reader: str | None = None) -> str:
        """Return the document with these authorities, or with its own."""
        texts: dict[str, str] = {}
        for side, key in (("author", author or self.author or ""), ("reader", reader or self.reader or "")):
            prefix, _, number = key.rpartition(":")
            texts |= {side: escape(key), f"{side}_prefix": prefix, f"{side}_number": number}
        return self.document.format(**texts)


def _identification(q: str, code: str = "0401") -> str:
    return f"""<{q}identifikation.nachricht><{q}nachrichtenUUID>{UUID}</{q}nachrichtenUUID>
  <{q}nachrichtentyp listURI="urn:de:test" listVersionID="1"><code>{code}</code><name>probe.{code}</name></{q}nachrichtentyp>
  <{q}erstellungszeitpunkt>{ZONED}</{q}erstellungszeitpunkt></{q}identifikation.nachricht>"""


def _apart(q: str) -> str:
    def side(name: str, fact: str) -> str:
        return f"""<{q}{name}><{q}behoerdenkennung>
  <{q}praefix listVersionID="7"><code>{{{fact}_prefix}}</code></{q}praefix>
  <{q}kennung listURI="urn:x" listVersionID="1"><code>{{{fact}_number}}</code></{q}kennung>
  </{q}behoerdenkennung><{q}behoerdenname>Amt {name}</{q}behoerdenname></{q}{name}>"""

    return f"""<p:probe.0401 xmlns:p="urn:test:probe" standard="XProbe" version="1.2" produkt="Probe"><{q}nachrichtenkopf>
  {_identification(q)}{side("leser", "reader")}{side("autor", "author")}</{q}nachrichtenkopf><p:inhalt/></p:probe.0401>"""


def _justice(side: str, fact: str, number: str) -> str:
    return f"""<j:{side}><j:informationen><j:auswahl_kommunikationspartner>
  <j:{{{fact}_prefix}} listVersionID="3.6"><code>{{{fact}_number}}</code></j:{{{fact}_prefix}}>
  </j:auswahl_kommunikationspartner></j:informationen><j:aktenzeichen>1 C 2/26</j:aktenzeichen>{number}</j:{side}>"""


def _traffic(side: str, fact: str) -> str:
    return f"""<k:{side}><k:strassenverkehrsBehoerde><behoerdeKreisschluessel>{{{fact}_number}}</behoerdeKreisschluessel>
  <behoerdeZusatzziffer>0</behoerdeZusatzziffer></k:strassenverkehrsBehoerde></k:{side}>"""


def _g2g(extra: str = "") -> str:
    return f"""<nachrichtenkopf.g2g>{_identification("")}
  <leser><verzeichnisdienst listVersionID="3"><code>DVDV</code></verzeichnisdienst><kennung>{{reader}}</kennung>
    <name>Bürgerbüro</name><erreichbarkeit><kanal><code>01</code></kanal><kennung>post@example</kennung></erreichbarkeit></leser>
  <autor><verzeichnisdienst listVersionID="3"><code/></verzeichnisdienst><kennung>{{author}}</kennung><name/></autor>{extra}
  </nachrichtenkopf.g2g>"""


_BASE = {"message_id": UUID, "type_code": "0401", "created_at": ZONED}
SAMPLES = (
    Sample(
        "A",
        f"""<p:probe.0401 xmlns:p="urn:test:probe" standard="XProbe" version="25.11a">{_g2g()}
  <anschrift.autor><kennung>ags:09999999</kennung></anschrift.autor></p:probe.0401>""",
        _BASE,
        version="25.11a",
        standard="XProbe",
    ),
    Sample(
        "A",  # XWasser's own fields
        f"""<p:probe.0401 xmlns:p="urn:test:probe" test="true" version="1.0.0">
  {_g2g(f"<referenzUUID>{UUID}</referenzUUID><dvdvDienstkennung>urn:dienst</dvdvDienstkennung>")}</p:probe.0401>""",
        {**_BASE, "referenzUUID": UUID, "dvdvDienstkennung": "urn:dienst"},
        version="1.0.0",
    ),
    Sample(
        "B",
        f"""<p:probe.0401 xmlns:p="urn:test:probe" xmlns:g="{G2G}" xmlns:b="{BEH}" version="1.2"><g:nachrichtenkopf.g2g>
  {_identification("g:")}
  <g:leser><b:verzeichnisdienst><code>DVDV</code></b:verzeichnisdienst><b:kennung>{{reader}}</b:kennung></g:leser>
  <g:autor><b:kennung>{{author}}</b:kennung><b:name>Amt</b:name></g:autor></g:nachrichtenkopf.g2g></p:probe.0401>""",
        _BASE,
        version="1.2",
    ),
    Sample("C", _apart(""), _BASE, author="MELDID:12052000", version="1.2", standard="XProbe"),
    Sample("C2", _apart("p:"), _BASE, reader="töj:000100", version="1.2", standard="XProbe"),
    Sample(
        "D",
        f"""<x:Aussonderung.Probe.0503 xmlns:x="urn:xoev-de:xdomea:schema:3.1.0"><x:Kopf><x:ProzessID>{UUID}</x:ProzessID>
  <x:Nachrichtentyp listVersionID="2.0"><code>0503</code></x:Nachrichtentyp>
  <x:Erstellungszeitpunkt>{ZONED}</x:Erstellungszeitpunkt>
  <x:Absender><x:Institution><x:Name>{{author}}</x:Name></x:Institution></x:Absender>
  <x:Empfaenger><x:Institution><x:Name>{{reader}}</x:Name></x:Institution></x:Empfaenger></x:Kopf>
  </x:Aussonderung.Probe.0503>""",
        {**_BASE, "type_code": "0503"},
        author="Stadt Probe & Co.",
        reader="[Archiv]",
        version="3.1.0",
    ),
    Sample(
        "D4",
        f"""<x:Aussonderung.Probe.0503 xmlns:x="urn:xoev-de:xdomea:schema:4.0.0" standard="xdomea" version="4.0.0">
  <x:nachrichtenkopf><x:identifikation.nachricht><nachrichtenUUID>{UUID}</nachrichtenUUID>
  <nachrichtentyp><code>0503</code></nachrichtentyp><erstellungszeitpunkt>{ZONED}</erstellungszeitpunkt>
  </x:identifikation.nachricht><x:leser><x:NameInstitution><x:Name>{{reader}}</x:Name></x:NameInstitution></x:leser>
  <x:autor><x:NameInstitution><x:Name>{{author}}</x:Name></x:NameInstitution></x:autor>
  <x:ProzessID>P-1</x:ProzessID></x:nachrichtenkopf></x:Aussonderung.Probe.0503>""",
        {**_BASE, "type_code": "0503", "ProzessID": "P-1"},
        author="Stadt Probe",
        reader="Archiv Probe",
        version="4.0.0",
        standard="xdomea",
    ),
    Sample(
        "E",
        f"""<j:nachricht.gds.probe.0005005 xmlns:j="http://www.xjustiz.de"><j:nachrichtenkopf xjustizVersion="3.6.2">
  <j:erstellungszeitpunkt>2109-11-01T08:28:06</j:erstellungszeitpunkt>
  {_justice("absender", "author", f"<j:eigeneNachrichtenID>{UUID.upper()}</j:eigeneNachrichtenID>")}
  {_justice("empfaenger", "reader", "<j:fremdeNachrichtenID>F-1</j:fremdeNachrichtenID>")}
  <j:nachrichtenuebergreifenderProzess><j:prozessID>P-1</j:prozessID></j:nachrichtenuebergreifenderProzess>
  </j:nachrichtenkopf></j:nachricht.gds.probe.0005005>""",
        {
            "message_id": UUID.upper(),
            "type_code": None,
            "created_at": "2109-11-01T08:28:06",
            "fremdeNachrichtenID": "F-1",
            "prozessID": "P-1",
        },
        author="polizeibehoerde:080",
        reader="gericht:R3200",
        version="3.6.2",
    ),
    Sample(
        "F",
        f"""<k:probe.0401 xmlns:k="urn:test:kfz"><k:kopf produkt="P" produktHersteller="H" produktVersion="1" version="5.3">
  <k:nachrichtentyp listURI="urn:xoev-de:bund:kba:codeliste:nachrichtentyp"><code>0401</code></k:nachrichtentyp>
  <k:nachrichtenid>{UUID}</k:nachrichtenid><k:zeitpunktDerErstellung>{ZONED}</k:zeitpunktDerErstellung>
  {_traffic("referenzAbsender", "author")}{_traffic("referenzEmpfaenger", "reader")}</k:kopf></k:probe.0401>""",
        _BASE,
        author="kba:01003",
        reader="kba:03103",
        version="5.3",
    ),
    Sample(
        "G-UBL",
        f"""<i:Invoice xmlns:i="{UBL}Invoice-2" xmlns:cbc="{UBL}CommonBasicComponents-2">
  <cbc:CustomizationID>urn:cen.eu:en16931:2017</cbc:CustomizationID><cbc:ID>R 1/26</cbc:ID>
  <cbc:IssueDate>2026-04-04</cbc:IssueDate><cbc:InvoiceTypeCode>380</cbc:InvoiceTypeCode>
  <cbc:BuyerReference>{{reader_number}}</cbc:BuyerReference></i:Invoice>""",
        {"message_id": "R 1/26", "type_code": "380", "created_at": "2026-04-04"},
        author=None,
        reader="leitweg:03103000-12345-03",
        version="urn:cen.eu:en16931:2017",
    ),
    Sample(
        "G-CII",
        f"""<c:CrossIndustryInvoice xmlns:c="{CII}CrossIndustryInvoice:100" xmlns:ram="{RAM}"><c:ExchangedDocumentContext>
  <ram:GuidelineSpecifiedDocumentContextParameter><ram:ID>urn:cen.eu:en16931:2017</ram:ID>
  </ram:GuidelineSpecifiedDocumentContextParameter></c:ExchangedDocumentContext>
  <c:ExchangedDocument><ram:ID>R-1</ram:ID><ram:TypeCode>380</ram:TypeCode><ram:IssueDateTime>
  <u:DateTimeString xmlns:u="{CII}UnqualifiedDataType:100" format="102">20260404</u:DateTimeString></ram:IssueDateTime>
  </c:ExchangedDocument><c:SupplyChainTradeTransaction><ram:ApplicableHeaderTradeAgreement>
  <ram:BuyerReference>{{reader_number}}</ram:BuyerReference></ram:ApplicableHeaderTradeAgreement>
  </c:SupplyChainTradeTransaction></c:CrossIndustryInvoice>""",
        {"message_id": "R-1", "type_code": "380", "created_at": "20260404"},
        author=None,
        reader="leitweg:03103000-12345-03",
        version="urn:cen.eu:en16931:2017",
    ),
    Sample(
        "H",
        """<x:XPlanAuszug xmlns:x="http://www.xplanung.de/xplangml/6/0" xmlns:g="http://www.opengis.net/gml/3.2">
  <g:featureMember><x:BP_Plan><x:name>Am Anger</x:name><x:gemeinde><x:XP_Gemeinde><x:ags>{reader_number}</x:ags>
  <x:gemeindeName>Probe</x:gemeindeName></x:XP_Gemeinde></x:gemeinde></x:BP_Plan></g:featureMember>
  <g:featureMember><x:SO_Gebiet><x:gemeinde><x:XP_Gemeinde><x:ags>09999999</x:ags></x:XP_Gemeinde></x:gemeinde>
  </x:SO_Gebiet></g:featureMember></x:XPlanAuszug>""",
        {"message_id": None, "type_code": None, "created_at": None},
        author=None,
        version="6.0",
    ),
    Sample(
        "J",
        f"""<x:xdatenfelder.probe.0102 xmlns:x="urn:xoev-de:fim:standard:xdatenfelder_3.0.0"><x:header>
  <x:nachrichtID>abcd1234</x:nachrichtID><x:erstellungszeitpunkt>{ZONED}</x:erstellungszeitpunkt></x:header>
  </x:xdatenfelder.probe.0102>""",
        {"message_id": "abcd1234", "type_code": None, "created_at": ZONED},
        author=None,
        reader=None,
        version="3.0.0",
    ),
    Sample(
        "K",
        f"""<o:MessageMetaData xmlns:o="{OSCI}" TestMsg="false">
  <o:DeliveryAttributes><o:Origin>{ZONED}</o:Origin></o:DeliveryAttributes>
  <o:Originators><o:Author><o:Identifier type="xoev" category="Standesamt">{{author}}</o:Identifier></o:Author></o:Originators>
  <o:Destinations><o:Reader><o:Identifier type="xoev">{{reader}}</o:Identifier></o:Reader></o:Destinations>
  <o:MsgIdentification><w:MessageID xmlns:w="http://www.w3.org/2005/08/addressing">urn:uuid:{UUID}</w:MessageID>
  </o:MsgIdentification><o:Qualifier><o:Service>urn:dienst</o:Service>
  <o:BusinessScenario><o:Defined><code>PROBE</code></o:Defined></o:BusinessScenario>
  <o:MessageType listURI="urn:l" listVersionID="1" payloadSchema="urn:test:probe"><code>0401</code></o:MessageType>
  </o:Qualifier><o:MsgSize>1</o:MsgSize></o:MessageMetaData>""",
        {
            "message_id": f"urn:uuid:{UUID}",
            "type_code": "0401",
            "created_at": ZONED,
            "Service": "urn:dienst",
            "BusinessScenario": "PROBE",
            "payloadSchema": "urn:test:probe",
        },
    ),
)
