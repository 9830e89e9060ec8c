"""Aus einer Gewerbeanzeige (XGewerbeanzeige 2.2) wird eine Übernahme ins Gewerberegister (gewerberegister 1.0).

A step in Python: it reads the document with the hub's own parser and builds the target with PyXB bindings, which
refuse what the target's schema does not allow while it is being built. Pure: times and ids come from the message.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import pyxb
import xoev_bindings.gewerberegister_1_0 as register
from lxml import etree
from pyxb.utils.domutils import BindingDOMSupport

from hub.plugin import Finding, Outgoing, Rejected, parse_xml

SOURCE = {"x": "http://www.xgewerbeanzeige.de/spezifikation/2.2"}
KINDS = ("anmeldung", "ummeldung", "abmeldung")

BindingDOMSupport.DeclareNamespace(register.Namespace, "g")  # global in PyXB, therefore once and here


def to_gewerberegister(outgoing: Outgoing) -> Outgoing:
    """Return the delivery with the document that the trade register takes over."""
    root = parse_xml(outgoing.body)
    record = _record(root)
    business, person = _only(record, "x:gewerbe"), _only(record, "x:gewerbe/x:beteiligtePerson")
    document = register.uebernahme(
        mandant=_text(record, "x:gemeindeSchluessel/code")[2:5],
        vorgang=_text(root, "x:nachrichtenkopf/x:identifikation.nachricht/x:nachrichtenUUID").lower(),
        eingang=outgoing.message.received_at.replace(microsecond=0),
        art=etree.QName(record).localname,
        betrieb=_business(business, record),
        anzeigender=pyxb.BIND(
            vorname=_text(person, "x:vorname"),
            familienname=_text(person, "x:familienname"),
            geburtsdatum=_birthday(person),
        ),
    )
    return replace(outgoing, body=document.toxml("utf-8"), content_type="application/xml")


def _record(root: etree._Element) -> etree._Element:
    """Return the one notice of the message: the register takes them over one by one."""
    found = root.xpath("x:satz/*", namespaces=SOURCE)
    if len(found) != 1 or etree.QName(found[0]).localname not in KINDS:
        raise _rejected("satz", f"{len(found)} Sätze; erwartet ist genau eine An-, Um- oder Abmeldung", root)
    record: etree._Element = found[0]
    return record


def _business(business: etree._Element, record: etree._Element) -> object:
    street = business.findtext("x:anschrift/x:strasse", "", SOURCE)
    number = business.findtext("x:anschrift/x:hausNrVon", "", SOURCE)
    return pyxb.BIND(
        name=_text(business, "x:betrieb/x:eingetragenerName"),
        strasse=f"{street} {number}".strip(),
        plz=_text(business, "x:anschrift/x:plz"),
        ort=_text(business, "x:anschrift/x:ort"),
        taetigkeit=_text(record, "x:taetigkeitenGesamt/x:schwerpunkt/x:taetigkeitSchwerpunkt"),
        beginn=record.findtext("x:gueltigAb", None, SOURCE),
    )


def _birthday(person: etree._Element) -> date:
    try:
        return datetime.strptime(_text(person, "x:geburtsdatum"), "%d%m%Y").date()  # noqa: DTZ007  # a day has no zone
    except ValueError:
        text = "kein vollständiger Tag; das Register kennt keine unbekannten Geburtstage"
    raise _rejected("geburtsdatum", text, person)


def _only(element: etree._Element, path: str) -> etree._Element:
    found = element.find(path, SOURCE)
    if found is None:
        raise _rejected("pflichtangabe", f"{path} fehlt", element)
    return found


def _text(element: etree._Element, path: str) -> str:
    text = "".join(_only(element, path).itertext(with_tail=False)).strip()
    if not text:
        raise _rejected("pflichtangabe", f"{path} ist leer", element)
    return text


def _rejected(rule: str, text: str, element: etree._Element) -> Rejected:
    path = element.getroottree().getpath(element)
    return Rejected("transform_failed", [Finding(rule, path=path, line=element.sourceline or 0, text=text)])
