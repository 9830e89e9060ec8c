"""The header forms of the XÖV standards, as data. A new form is an entry here or plain XPaths in a profile.

    A      Basisnachricht G2G, unqualified   XMeld >= 24, XInneres, XAusländer, XBau 2.6 and its Kernmodul, XWasser
    B      Basisnachricht G2G, qualified     XBeteiligung 1.2
    C      XInneres basisnachricht/4 and /5  XMeld 2.4.3, XBau <= 2.3: prefix and number apart
    C2     the same, qualified               XGewerbeanzeige 2.x
    D      XDOMEA <= 3.1                     process id, plain names, no authority keys
    D4     XDOMEA 4
    E      XJustiz                           the kind of an authority is the name of the element with its code
    F      XKfz                              number of the district and a further digit apart
    G-UBL  XRechnung as UBL                  no header: the invoice's own fields
    G-CII  XRechnung as CII
    H      XPlanGML                          no header: the municipality of the plan
    I      XSchule                           no header, no authority
    J      XDatenfelder                      number and time, no authority
    K      XTA 2 (OSCI MessageMetaData)      metadata beside a payload
    none   nothing: a profile's own XPaths, if any

Paths are absolute, so that nothing in a body is ever taken for a header; ``r`` is bound to the root's namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
TEXT = r"(?=[\s\S]*\S)[\s\S]{1,200}"
DATE_TIME = r"-?\d{4,9}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,100})?(Z|[+-]\d\d:\d\d)?"
DATE = r"\d{4}-\d\d-\d\d(Z|[+-]\d\d:\d\d)?|\d{8}"
NUMBER = "[A-Za-z0-9ÄÖÜäöüß][A-Za-z0-9ÄÖÜäöüß._-]{0,99}"
PREFIX = "[A-Za-zÄÖÜäöüß]{1,20}"  # DVDV knows ag, MELDID and töj beside the usual three small letters
AUTHORITY = f"(?:{PREFIX}:)?{NUMBER}"
NAME = f"(?!(?:{PREFIX}:{NUMBER}|[0-9]*)$){TEXT}"  # a name that could be taken for an authority key is none


@dataclass(frozen=True, slots=True)
class Field:
    """Where one value stands: exactly one node, and its whole text matches ``pattern``."""

    xpath: str
    pattern: str = TEXT
    required: bool = True


@dataclass(frozen=True, slots=True)
class AuthorityField:
    """Where an authority stands. Its key reads ``prefix:number``, in whichever way the document writes it.

    ``prefix`` is fixed by the standard, ``prefix_xpath`` says where the document names it (``prefix_is_name``: by the
    name of the element there); without both the value itself is the key. ``suffix_xpath`` finds what may follow the
    number. ``name_xpath`` finds the plain name that may stand instead of a key, and ``plain`` says that there is
    never a key: nobody can be addressed by a name. Of ``repeated`` nodes the first counts.
    """

    xpath: str
    prefix: str = ""
    prefix_xpath: str = ""
    prefix_is_name: bool = False
    suffix_xpath: str = ""
    name_xpath: str = ""
    pattern: str = AUTHORITY
    required: bool = True
    plain: bool = False
    repeated: bool = False


ROOT_IS_TEST = Field("/*/@test", r"[\s\S]*")  # whatever its value


@dataclass(frozen=True, slots=True)
class HeaderForm:
    """Where the facts of a header stand; ``None``: the form has no such fact.

    ``head`` is the local name of the header, a child of the root: there is one, in whatever namespace.
    """

    head: str = ""
    message_id: Field | None = None
    type_code: Field | None = None
    created_at: Field | None = None
    author: AuthorityField | None = None
    reader: AuthorityField | None = None
    test: Field = ROOT_IS_TEST
    references: Mapping[str, Field] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)
    version_from: str = "@version"  # fixed | @attribute | absolute XPath
    type_mismatch: Literal["warning", "error"] = "warning"  # a type code that differs from the root's name

    @property
    def addresses(self) -> bool:
        """Whether the form names its reader by an authority key."""
        return self.reader is not None and not self.reader.plain


def _apart(p: str) -> HeaderForm:
    """Return form C: prefix and number of an authority stand in elements of their own."""
    head = f"/*/{p}nachrichtenkopf"
    author, reader = f"{head}/{p}autor/{p}behoerdenkennung", f"{head}/{p}leser/{p}behoerdenkennung"
    return HeaderForm(
        head="nachrichtenkopf",
        message_id=Field(f"{head}/{p}identifikation.nachricht/{p}nachrichtenUUID", UUID),
        type_code=Field(f"{head}/{p}identifikation.nachricht/{p}nachrichtentyp/code"),
        created_at=Field(f"{head}/{p}identifikation.nachricht/{p}erstellungszeitpunkt", DATE_TIME),
        author=AuthorityField(f"{author}/{p}kennung/code", prefix_xpath=f"{author}/{p}praefix/code"),
        reader=AuthorityField(f"{reader}/{p}kennung/code", prefix_xpath=f"{reader}/{p}praefix/code"),
    )


def _name(xpath: str) -> AuthorityField:
    return AuthorityField(xpath, pattern=NAME, required=False, plain=True)


def _of_justice(side: str) -> AuthorityField:
    """Return a party of form E: a court, a police or tax authority, or a plain name."""
    chosen = f"/*/r:nachrichtenkopf/r:{side}/r:informationen/r:auswahl_kommunikationspartner"
    return AuthorityField(
        f"{chosen}/*/code", prefix_xpath=f"{chosen}/*", prefix_is_name=True, name_xpath=f"{chosen}/r:sonstige"
    )


def _of_traffic(side: str) -> AuthorityField:
    """Return a party of form F. The numbers are those of the Kraftfahrt-Bundesamt's list of authorities."""
    at = f"/*/r:kopf/r:{side}/r:strassenverkehrsBehoerde"
    return AuthorityField(
        f"{at}/behoerdeKreisschluessel",
        prefix="kba",
        suffix_xpath=f"{at}/behoerdeZusatzziffer",
        pattern="kba:[0-9]{5,7}",
        required=False,
    )


_INVOICE_NAMESPACES = {
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_A, _B, _D4 = "/*/nachrichtenkopf.g2g", "/*/g2g:nachrichtenkopf.g2g", "/*/r:nachrichtenkopf"
_CII_AGREEMENT = "/*/r:SupplyChainTradeTransaction/ram:ApplicableHeaderTradeAgreement"
_PLANS = ("BP_Plan", "FP_Plan", "LP_Plan", "RP_Plan", "SO_Plan")

FORMS: Mapping[str, HeaderForm] = {
    "none": HeaderForm(),
    "A": HeaderForm(
        head="nachrichtenkopf.g2g",
        message_id=Field(f"{_A}/identifikation.nachricht/nachrichtenUUID", UUID),
        type_code=Field(f"{_A}/identifikation.nachricht/nachrichtentyp/code"),
        created_at=Field(f"{_A}/identifikation.nachricht/erstellungszeitpunkt", DATE_TIME),
        author=AuthorityField(f"{_A}/autor/kennung"),
        reader=AuthorityField(f"{_A}/leser/kennung"),
        references={  # XWasser's own
            "referenzUUID": Field(f"{_A}/referenzUUID", UUID, required=False),
            "dvdvDienstkennung": Field(f"{_A}/dvdvDienstkennung", required=False),
        },
    ),
    "B": HeaderForm(
        head="nachrichtenkopf.g2g",
        message_id=Field(f"{_B}/g2g:identifikation.nachricht/g2g:nachrichtenUUID", UUID),
        type_code=Field(f"{_B}/g2g:identifikation.nachricht/g2g:nachrichtentyp/code"),
        created_at=Field(f"{_B}/g2g:identifikation.nachricht/g2g:erstellungszeitpunkt", DATE_TIME),
        author=AuthorityField(f"{_B}/g2g:autor/beh:kennung"),
        reader=AuthorityField(f"{_B}/g2g:leser/beh:kennung"),
        namespaces={
            "g2g": "http://xoev.de/schemata/basisnachricht/g2g/1_1",
            "beh": "http://xoev.de/schemata/basisnachricht/behoerde/1_1",
        },
    ),
    "C": _apart(""),
    "C2": _apart("r:"),
    "D": HeaderForm(
        head="Kopf",
        message_id=Field("/*/r:Kopf/r:ProzessID"),
        type_code=Field("/*/r:Kopf/r:Nachrichtentyp/code"),
        created_at=Field("/*/r:Kopf/r:Erstellungszeitpunkt", DATE_TIME),
        author=_name("/*/r:Kopf/r:Absender/r:Institution/r:Name"),
        reader=_name("/*/r:Kopf/r:Empfaenger/r:Institution/r:Name"),
        version_from="fixed",
    ),
    "D4": HeaderForm(
        head="nachrichtenkopf",
        message_id=Field(f"{_D4}/r:identifikation.nachricht/nachrichtenUUID", UUID),
        type_code=Field(f"{_D4}/r:identifikation.nachricht/nachrichtentyp/code"),
        created_at=Field(f"{_D4}/r:identifikation.nachricht/erstellungszeitpunkt", DATE_TIME),
        author=_name(f"{_D4}/r:autor/r:NameInstitution/r:Name"),
        reader=_name(f"{_D4}/r:leser/r:NameInstitution/r:Name"),
        references={"ProzessID": Field(f"{_D4}/r:ProzessID", required=False)},
    ),
    "E": HeaderForm(
        head="nachrichtenkopf",
        message_id=Field("/*/r:nachrichtenkopf/r:absender/r:eigeneNachrichtenID"),
        created_at=Field("/*/r:nachrichtenkopf/r:erstellungszeitpunkt", DATE_TIME),
        author=_of_justice("absender"),
        reader=_of_justice("empfaenger"),
        references={
            "fremdeNachrichtenID": Field("/*/r:nachrichtenkopf/r:empfaenger/r:fremdeNachrichtenID", required=False),
            "prozessID": Field("/*/r:nachrichtenkopf/r:nachrichtenuebergreifenderProzess/r:prozessID", required=False),
        },
        version_from="/*/r:nachrichtenkopf/@xjustizVersion",
    ),
    "F": HeaderForm(
        head="kopf",
        message_id=Field("/*/r:kopf/r:nachrichtenid"),
        type_code=Field("/*/r:kopf/r:nachrichtentyp/code"),
        created_at=Field("/*/r:kopf/r:zeitpunktDerErstellung", DATE_TIME),
        author=_of_traffic("referenzAbsender"),
        reader=_of_traffic("referenzEmpfaenger"),
        version_from="/*/r:kopf/@version",
    ),
    "G-UBL": HeaderForm(
        message_id=Field("/*/cbc:ID"),
        type_code=Field("/*/cbc:InvoiceTypeCode | /*/cbc:CreditNoteTypeCode", required=False),
        created_at=Field("/*/cbc:IssueDate", DATE),
        # The Leitweg-ID. Its coarse part is an AGS or ARS; whoever is not public administration writes something else.
        reader=AuthorityField("/*/cbc:BuyerReference", prefix="leitweg", required=False),
        namespaces=_INVOICE_NAMESPACES,
        version_from="/*/cbc:CustomizationID",
    ),
    "G-CII": HeaderForm(
        message_id=Field("/*/r:ExchangedDocument/ram:ID"),
        type_code=Field("/*/r:ExchangedDocument/ram:TypeCode", required=False),
        created_at=Field("/*/r:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString", DATE),
        reader=AuthorityField(f"{_CII_AGREEMENT}/ram:BuyerReference", prefix="leitweg", required=False),
        namespaces=_INVOICE_NAMESPACES,
        version_from="/*/r:ExchangedDocumentContext/ram:GuidelineSpecifiedDocumentContextParameter/ram:ID",
    ),
    "H": HeaderForm(
        reader=AuthorityField(
            " | ".join(f"/*/*/r:{plan}/r:gemeinde/r:XP_Gemeinde/r:ags" for plan in _PLANS),
            prefix="ags",
            required=False,
            repeated=True,  # a plan of several towns is addressed to the one that it names first
        ),
        version_from="fixed",
    ),
    "I": HeaderForm(),
    "J": HeaderForm(
        head="header",
        message_id=Field("/*/r:header/r:nachrichtID"),
        created_at=Field("/*/r:header/r:erstellungszeitpunkt", DATE_TIME),
        version_from="fixed",
    ),
    "K": HeaderForm(
        message_id=Field("/*/r:MsgIdentification/wsa:MessageID"),
        type_code=Field("/*/r:Qualifier/r:MessageType/code"),
        created_at=Field("/*/r:DeliveryAttributes/r:Origin", DATE_TIME, required=False),
        author=AuthorityField("/*/r:Originators/r:Author/r:Identifier"),
        reader=AuthorityField("/*/r:Destinations/r:Reader/r:Identifier"),
        test=Field("/*/@TestMsg", "true|1"),
        references={
            "In-Reply-To": Field("/*/r:MsgIdentification/r:In-Reply-To", required=False),
            "Service": Field("/*/r:Qualifier/r:Service", required=False),
            "BusinessScenario": Field("/*/r:Qualifier/r:BusinessScenario/r:Defined/code", required=False),
            "payloadSchema": Field("/*/r:Qualifier/r:MessageType/@payloadSchema", required=False),
        },
        namespaces={"wsa": "http://www.w3.org/2005/08/addressing"},
        version_from="fixed",
    ),
}
