"""The fields of the cooperation: what must arrive in each, and what the hub and the procedures' ledger say of it."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from lxml import etree

from hub.demo.stage import Stage
from hub.plugin import parse_xml

REASON = "Demo: was kam in welchem Format an?"


@dataclass(frozen=True, slots=True)
class Field:
    """One field: messages of a type, and the destinations that they must reach.

    Where a destination has a format of its own, its root element stands beside it.
    """

    name: str
    type: str
    to: Mapping[str, str | None] = field(default_factory=dict)


FIELDS = (
    Field("Melderegisteranfrage an das Meldeverfahren", "xmeld/*", {"braunschweig/einwohner": None}),
    Field(
        "Gewerbeanzeigen an verschiedene Verfahren zweier Städte",
        "xgewerbeanzeige/*",
        {"wolfsburg/gewerbe": "uebernahme", "braunschweig/gewerbe": "meldung"},
    ),
    Field("Bauantrag mit Dokumenten an den Landkreis", "xbau/*/baugenehmigung.antrag.*", {"gifhorn/bau": "bauakte"}),
    Field("Antwort der Bauaufsicht an das Bauportal", "xbau/*", {"bauportal/antworten": None}),
    Field("Stellungnahme im Beteiligungsverfahren", "xbeteiligung/*/*.stellungnahme.*", {"salzgitter/planung": None}),
    Field("Aktenabgabe an das DMS des Absenders", "xdomea/*/Abgabe.*", {"wolfsburg/dms": None}),
    Field("Rechnung in UBL nach Leitweg-ID", "xrechnung/*/Invoice", {"braunschweig/rechnung": None}),
    Field("Rechnung in CII nach Leitweg-ID", "xrechnung/*/CrossIndustryInvoice", {"salzgitter/rechnung": None}),
    Field("Unterschriebener Schwertransportantrag", "schwertransport/*", {"wolfsburg/schwertransport": None}),
    Field("Terminbuchung nach eigenem Standard", "termin/*", {"wolfsburg/termine": None}),
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """What became of a field's message on its way to one destination. ``seen``: the procedure has noted these bytes."""

    field: str
    to: str
    adapter: str
    state: str
    format: str
    checks: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()  # SHA-256 of those that stand in it in base64
    seen: bool | None = None  # None: a folder notes nothing


def arrivals(stage: Stage, messages: Sequence[Mapping[str, Any]]) -> list[Arrival]:
    """Return what became of each field, in the order of the table above; what never went there is ``missing``."""
    ledger = _ledger(stage)
    return [
        _arrival(stage, one, destination, expected, messages, ledger)
        for one in FIELDS
        for destination, expected in one.to.items()
    ]


def _arrival(
    stage: Stage,
    one: Field,
    destination: str,
    expected: str | None,
    messages: Sequence[Mapping[str, Any]],
    ledger: Mapping[str, str],
) -> Arrival:
    adapter = stage.adapters.get(destination, "?")
    found = [
        (message, delivery)
        for message in messages
        for delivery in message["deliveries"]
        if fnmatchcase(message["type"] or "", one.type) and delivery["destination"] == destination
    ]
    if not found:
        return Arrival(one.name, destination, adapter, "missing", "")
    # A delivery that was replayed is closed; the one in its place counts.
    message, delivery = next((pair for pair in found if pair[1]["state"] == "delivered"), found[-1])
    checks = stage.checks.get(delivery["route"] or "", ())
    if expected is None:
        name = message["type"].rpartition("/")[2]
        seen = delivery["id"] in ledger if adapter != "folder" else None
        return Arrival(one.name, destination, adapter, delivery["state"], name, checks, seen=seen)
    body = stage.output("messages", "show", delivery["id"], "--payload", "outgoing", "--reason", REASON)
    root = parse_xml(body)
    return Arrival(
        one.name,
        destination,
        adapter,
        delivery["state"],
        etree.QName(root).localname,
        checks,
        tuple(hashlib.sha256(base64.b64decode(one.text or "")).hexdigest() for one in root.iter("{*}inhalt")),
        ledger.get(delivery["id"]) == hashlib.sha256(body).hexdigest(),
    )


def _ledger(stage: Stage) -> Mapping[str, str]:
    """Return the SHA-256 of what each delivery brought, as the procedures noted it when they took it."""
    path = stage.folder / "var" / "ledger.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    entries = [json.loads(line) for line in lines]
    return {entry["delivery"]: entry["sha256"] for entry in entries if entry["taken"]}


def failures(found: Sequence[Arrival], *, broker: bool, rules: bool) -> list[str]:
    """Return which fields did not come as they should.

    Without a broker, those that need one keep waiting; without ``rules`` invoices are not checked by any.
    """
    expected = {(one.name, to): format_ for one in FIELDS for to, format_ in one.to.items()}
    wrong = []
    for one in found:
        if one.adapter == "amqp" and not broker:
            continue
        if one.state != "delivered" or one.seen is False:
            wrong.append(f"{one.field}: {one.to} ist {one.state}")
        elif expected[one.field, one.to] not in (None, one.format):
            wrong.append(f"{one.field}: {one.to} bekam {one.format}")
        elif rules and "Rechnung" in one.field and "schematron" not in one.checks:
            wrong.append(f"{one.field}: ohne Schematron")
    if not any(one.documents for one in found):
        wrong.append("kein Dokument in base64 kam an")
    return wrong
