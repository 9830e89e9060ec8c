"""Messages that tell a sender what became of its own, in its standard's form: built with PyXB, proved by the schema.

    Original + Verdict + Office ─▶ typed construction (bindings of the standard) ─▶ bytes ─▶ official XSD ─▶ or None

How one is filled is code here, one function per form; which codes it names is data of its profile. What cannot be
built, or is not valid, is none at all: the sender then gets the problem document, which needs nothing of this.
Nothing here imports PyXB before it is needed, for only worker processes build.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from lxml import etree

from hub.message import Finding, Header, MessageType
from hub.xml import bindings, guard
from hub.xml.detection import find_blindly
from hub.xml.forms import UUID
from hub.xml.office import Office, plain
from hub.xml.profile import Answer, Profile
from hub.xml.schema import Schema
from hub.xml.xpath import text_of

ORIGINAL_BYTES_MAX = 7_000_000  # as base64 it must stay below the 10 MB that libxml2 allows one text
TEXTS_MAX = 20
TEXT_MAX = 500
DIRECTORY_VERSION = "3"
PRODUCT = "xoev-hub"
EMAIL = "01"  # of urn:de:xoev:codeliste:erreichbarkeit


@dataclass(frozen=True, slots=True)
class Original:
    """The message that is answered, and what is known of it. ``type_list``: URI and version of its type's code list."""

    body: bytes = field(repr=False)
    sender: str
    header: Header | None = None
    root: etree._Element | None = field(default=None, repr=False)  # None: it is no XML
    type_list: tuple[str, str] = ("", "")
    test: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of it: the code of a rejection with its findings; of what was accepted there is none."""

    id: str  # of the answer: a UUID
    at: datetime
    code: str = ""
    findings: Sequence[Finding] = ()


class Answering:
    """Builds the messages of one root of one profile."""

    def __init__(self, type_: MessageType, profile: Profile, schema: Schema, version: str = "") -> None:
        """Load the bindings, which are active in this process.

        Raises:
            LookupError: The profile does not say how such a message is filled, or its schema does not declare it.
        """
        self._answer: Answer = profile.answers[type_.name]
        self._type, self._schema = type_, schema
        self._root = next((root for root in profile.roots if type_.name in root.names), None)
        if self._root is None:
            raise LookupError(f"{type_.name} is no root of {profile.standard}/{profile.version}")
        self._module = importlib.import_module(f"{bindings.PACKAGE}.{profile.bindings}")
        self._stated = min(self._root.versions, default=profile.version)
        self._version = version

    def document(self, original: Original, judgement: Judgement, office: Office) -> bytes | None:
        """Return the message, valid by its schema; ``None`` if there is none for this original."""
        import pyxb

        try:
            built = self._build(original, judgement, office)
            body: bytes = built.toxml("utf-8")
        except (pyxb.PyXBException, _MissingError):
            return None
        root = etree.fromstring(body, guard.trusted_parser())
        return body if not self._schema.validate(root) else None

    def _build(self, original: Original, judgement: Judgement, office: Office) -> Any:
        fill = _FORMS[self._answer.form]
        content = fill(_Filling(self._answer, original, judgement, office))
        element = getattr(self._module, re.sub(r"\W", "_", self._type.name))
        test = "Antwort auf eine Testnachricht" if original.test else None
        return element(
            produkt=PRODUCT,
            produkthersteller=PRODUCT,
            **({"produktversion": self._version} if self._version else {}),
            **({"test": test} if test else {}),
            **_fixed(element),
            **content,
        )


def _fixed(element: Any) -> Mapping[str, str]:
    """Return standard and version as the schema fixes them: PyXB writes required attributes only if they are given."""
    uses = element.typeDefinition()._AttributeMap.values()
    fixed = {use.id(): str(use.defaultValue()) for use in uses if use.fixed()}
    return {name: fixed[name] for name in ("standard", "version") if name in fixed}


class _MissingError(Exception):
    """The original does not say what this form needs, or is too large for it."""


@dataclass(frozen=True, slots=True)
class _Filling:
    """The parts that the forms share."""

    answer: Answer
    original: Original
    judgement: Judgement
    office: Office

    def head(self) -> Any:
        import pyxb

        return pyxb.BIND(
            identifikation_nachricht=pyxb.BIND(
                nachrichtenUUID=self.judgement.id,
                nachrichtentyp=pyxb.BIND(code=self.answer.type_code),
                erstellungszeitpunkt=self.judgement.at,
            ),
            leser=self._reader(),
            autor=pyxb.BIND(
                verzeichnisdienst=_directory("DVDV"),
                kennung=self.office.authority,
                name=self.office.name,
                erreichbarkeit=[self._contact()],
            ),
        )

    def _reader(self) -> Any:
        """Return the author of the original; where that is not known, the sender by the name that it has here."""
        import pyxb

        header = self.original.header
        key = (header.author if header else None) or self.original.sender
        name = self._of_author("name") or self.original.sender
        directory = self._of_author("verzeichnisdienst/code") or ("DVDV" if ":" in key else "")
        return pyxb.BIND(verzeichnisdienst=_directory(directory), kennung=plain(key), name=plain(name))

    def _of_author(self, path: str) -> str:
        if self.original.root is None:
            return ""
        nodes = find_blindly(self.original.root, f"/*/nachrichtenkopf.g2g/autor/{path}")
        return text_of(nodes[0]).strip() if len(nodes) == 1 else ""

    def _contact(self) -> Any:
        import pyxb

        return pyxb.BIND(kanal=pyxb.BIND(code=EMAIL, listVersionID=DIRECTORY_VERSION), kennung=self.office.email)

    def address(self) -> Any:
        import pyxb

        office = self.office
        number = {"hausnummer": office.number} if office.number else {}
        return pyxb.BIND(
            gebaeude=pyxb.BIND(postleitzahl=office.postal_code, strasse=office.street, wohnort=office.city, **number)
        )

    def identification(self, *, with_list: bool) -> Any:
        """Return what the original says it is.

        Raises:
            _MissingError: It does not say so, or not in the form of a UUID.
        """
        import pyxb

        header = self.original.header
        if header is None or not re.fullmatch(UUID, header.message_id or "") or not header.created_at:
            raise _MissingError
        uri, version = self.original.type_list
        if with_list and not uri:
            raise _MissingError
        code = header.type_code or header.type.name.rpartition(".")[2]
        listed = {"listURI": uri, "listVersionID": version} if with_list else {}
        return pyxb.BIND(
            nachrichtenUUID=header.message_id,
            nachrichtentyp=pyxb.BIND(code=code, **listed),
            erstellungszeitpunkt=header.created_at,
        )

    def body(self) -> bytes:
        """Return the original, to be carried back.

        Raises:
            _MissingError: It is too large for that.
        """
        if len(self.original.body) > ORIGINAL_BYTES_MAX:
            raise _MissingError
        return self.original.body

    def reasons(self) -> Mapping[str, Sequence[str]]:
        """Return the standard's codes, the texts of the findings under each; there is at least one code."""
        codes, other = self.answer.codes, self.answer.codes.get("*", "")
        whole = codes.get(self.judgement.code, other)
        found: dict[str, list[str]] = {}
        for one in self.judgement.findings[:TEXTS_MAX]:
            found.setdefault(codes.get(one.rule, whole), []).append(_told(one))
        return found or {whole: []}


def _directory(code: str) -> Any:
    import pyxb

    return pyxb.BIND(code=code, listVersionID=DIRECTORY_VERSION)


def _told(finding: Finding) -> str:
    where = f"{finding.path}, " if finding.path else ""
    line = f"Zeile {finding.line}, " if finding.line else ""
    return plain(f"{where}{line}{finding.rule}: {finding.text}"[:TEXT_MAX])


# --- the forms ----------------------------------------------------------------------------------------------------


def _xinneres(filling: _Filling) -> Mapping[str, Any]:
    """XInneres rueckweisung.asynchron.0010: the whole original in base64, several reasons."""
    import pyxb

    reasons = [
        pyxb.BIND(
            grund=pyxb.BIND(code=code),
            grundSpezifisch=[pyxb.BIND(fehlerbeschreibung=text) for text in texts],
        )
        for code, texts in filling.reasons().items()
    ]
    content = {"rueckweisungsgrund": reasons, "nachricht": filling.body()}
    with suppress(_MissingError):  # it is optional: of what is no XML nothing is known
        content["idNachricht"] = filling.identification(with_list=True)
    return {
        "nachrichtenkopf_g2g": filling.head(),
        "anschrift_autor": filling.address(),
        "rueckweisung": pyxb.BIND(**content),
    }


def _xmeld(filling: _Filling) -> Mapping[str, Any]:
    """XMeld administration.returntosender.0910, for synchronous messages: names the original, and has one reason."""
    import pyxb

    code, texts = next(iter(filling.reasons().items()))
    return {
        "nachrichtenkopf_g2g": filling.head(),
        "anschrift_autor": filling.address(),
        "rts_container": pyxb.BIND(begruendung=pyxb.BIND(grund=pyxb.BIND(code=code), ergaenzende_hinweise=list(texts))),
        "ursprungsnachricht": filling.identification(with_list=False),
    }


def _xbau(filling: _Filling) -> Mapping[str, Any]:
    """XBau-Kernmodul rueckweisung.G2G.1100: a text for each reason, and the original in base64."""
    import pyxb

    version = filling.answer.list_version
    reasons = [
        pyxb.BIND(grund=pyxb.BIND(code=code, listVersionID=version), **({"fehlertext": text} if text else {}))
        for code, texts in filling.reasons().items()
        for text in texts or [""]
    ]
    return {
        "nachrichtenkopf_g2g": filling.head(),
        "rueckweisungDaten": pyxb.BIND(
            rueckweisungsgrund=reasons,
            idNachricht=filling.identification(with_list=False),
            nachricht=filling.body(),
        ),
    }


def _xbau_receipt(filling: _Filling) -> Mapping[str, Any]:
    """XBau-Kernmodul generischeQuittierungEingang.1180: which message has arrived."""
    import pyxb

    header = filling.original.header
    if header is None or not re.fullmatch(UUID, header.message_id or ""):
        raise _MissingError
    code = header.type_code or header.type.name.rpartition(".")[2]
    return {
        "nachrichtenkopf_g2g": filling.head(),
        "bezug": pyxb.BIND(referenz=header.message_id),
        "nachrichtentyp": pyxb.BIND(code=code, listVersionID=filling.answer.list_version),
    }


_FORMS: Mapping[str, Callable[[_Filling], Mapping[str, Any]]] = {
    "xinneres": _xinneres,
    "xmeld": _xmeld,
    "xbau": _xbau,
    "xbau-receipt": _xbau_receipt,
}


def bound(profile: Profile) -> Profile:
    """Return a profile with a module of bindings; a profile's own name for it stays."""
    name = re.sub(r"[^a-z0-9]", "_", f"{profile.standard}_{profile.version}".lower())
    return profile if profile.bindings else replace(profile, bindings=name)
