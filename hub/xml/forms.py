"""The header forms of the XÖV standards, as data. A new form is an entry here or plain XPaths in a profile.

    A      Basisnachricht G2G, unqualified   XMeld >= 24, XBau 2.6 and its Kernmodul, XWasser
    B      Basisnachricht G2G, qualified     XBeteiligung 1.2
    C      XInneres basisnachricht/4 and /5  XMeld 2.4.3, XBau <= 2.3: prefix and number apart
    C2     the same, qualified               XGewerbeanzeige 2.x
    D      XDOMEA <= 3.1                     process id, plain names, no authority keys
    D4     XDOMEA 4
    G-UBL  XRechnung as UBL                  no header: the invoice's own fields
    G-CII  XRechnung as CII
    none   nothing: a profile's own XPaths, if any

Paths are absolute, so that nothing in a body is ever taken for a header; ``r`` is bound to the root's namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
TEXT = r"(?=[\s\S]*\S)[\s\S]{1,200}"
DATE_TIME = r"-?\d{4,9}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)?"
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

    ``prefix`` is fixed by the standard, ``prefix_xpath`` says where the document names it; without both the value
    itself is the key. ``plain`` says that it is a name and no key: nobody can be addressed by it.
    """

    xpath: str
    prefix: str = ""
    prefix_xpath: str = ""
    pattern: str = AUTHORITY
    required: bool = True
    plain: bool = False


@dataclass(frozen=True, slots=True)
class HeaderForm:
    """Where the facts of a header stand; ``None``: the form has no such fact."""

    message_id: Field | None = None
    type_code: Field | None = None
    created_at: Field | None = None
    author: AuthorityField | None = None
    reader: AuthorityField | None = None
    references: Mapping[str, Field] = field(default_factory=dict)
    namespaces: Mapping[str, str] = field(default_factory=dict)

    @property
    def addresses(self) -> bool:
        """Whether the form names its reader by an authority key."""
        return self.reader is not None and not self.reader.plain


def _apart(head: str, p: str) -> HeaderForm:
    """Return form C: prefix and number of an authority stand in elements of their own."""
    author, reader = f"{head}/{p}autor/{p}behoerdenkennung", f"{head}/{p}leser/{p}behoerdenkennung"
    return HeaderForm(
        message_id=Field(f"{head}/{p}identifikation.nachricht/{p}nachrichtenUUID", UUID),
        type_code=Field(f"{head}/{p}identifikation.nachricht/{p}nachrichtentyp/code"),
        created_at=Field(f"{head}/{p}identifikation.nachricht/{p}erstellungszeitpunkt", DATE_TIME),
        author=AuthorityField(f"{author}/{p}kennung/code", prefix_xpath=f"{author}/{p}praefix/code"),
        reader=AuthorityField(f"{reader}/{p}kennung/code", prefix_xpath=f"{reader}/{p}praefix/code"),
    )


def _name(xpath: str) -> AuthorityField:
    return AuthorityField(xpath, pattern=NAME, required=False, plain=True)


_INVOICE_NAMESPACES = {
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
    "ram": "urn:un:unece:uncefact:data:standard:ReusableAggregateBusinessInformationEntity:100",
    "udt": "urn:un:unece:uncefact:data:standard:UnqualifiedDataType:100",
}
_A, _B, _D4 = "/*/nachrichtenkopf.g2g", "/*/g2g:nachrichtenkopf.g2g", "/*/r:nachrichtenkopf"
_CII_AGREEMENT = "/*/r:SupplyChainTradeTransaction/ram:ApplicableHeaderTradeAgreement"

FORMS: Mapping[str, HeaderForm] = {
    "none": HeaderForm(),
    "A": HeaderForm(
        message_id=Field(f"{_A}/identifikation.nachricht/nachrichtenUUID", UUID),
        type_code=Field(f"{_A}/identifikation.nachricht/nachrichtentyp/code"),
        created_at=Field(f"{_A}/identifikation.nachricht/erstellungszeitpunkt", DATE_TIME),
        author=AuthorityField(f"{_A}/autor/kennung"),
        reader=AuthorityField(f"{_A}/leser/kennung"),
    ),
    "B": HeaderForm(
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
    "C": _apart("/*/nachrichtenkopf", ""),
    "C2": _apart("/*/r:nachrichtenkopf", "r:"),
    "D": HeaderForm(
        message_id=Field("/*/r:Kopf/r:ProzessID"),
        type_code=Field("/*/r:Kopf/r:Nachrichtentyp/code"),
        created_at=Field("/*/r:Kopf/r:Erstellungszeitpunkt", DATE_TIME),
        author=_name("/*/r:Kopf/r:Absender/r:Institution/r:Name"),
        reader=_name("/*/r:Kopf/r:Empfaenger/r:Institution/r:Name"),
    ),
    "D4": HeaderForm(
        message_id=Field(f"{_D4}/r:identifikation.nachricht/nachrichtenUUID", UUID),
        type_code=Field(f"{_D4}/r:identifikation.nachricht/nachrichtentyp/code"),
        created_at=Field(f"{_D4}/r:identifikation.nachricht/erstellungszeitpunkt", DATE_TIME),
        author=_name(f"{_D4}/r:autor/r:NameInstitution/r:Name"),
        reader=_name(f"{_D4}/r:leser/r:NameInstitution/r:Name"),
    ),
    "G-UBL": HeaderForm(
        message_id=Field("/*/cbc:ID"),
        type_code=Field("/*/cbc:InvoiceTypeCode | /*/cbc:CreditNoteTypeCode", required=False),
        created_at=Field("/*/cbc:IssueDate", DATE),
        # The Leitweg-ID. Its coarse part is an AGS or ARS; whoever is not public administration writes something else.
        reader=AuthorityField("/*/cbc:BuyerReference", prefix="leitweg", required=False),
        namespaces=_INVOICE_NAMESPACES,
    ),
    "G-CII": HeaderForm(
        message_id=Field("/*/r:ExchangedDocument/ram:ID"),
        type_code=Field("/*/r:ExchangedDocument/ram:TypeCode"),
        created_at=Field("/*/r:ExchangedDocument/ram:IssueDateTime/udt:DateTimeString", DATE),
        reader=AuthorityField(f"{_CII_AGREEMENT}/ram:BuyerReference", prefix="leitweg", required=False),
        namespaces=_INVOICE_NAMESPACES,
    ),
}
