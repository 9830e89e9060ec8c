"""``make demo``: four cities and a county, their fields with a standard each, one refusal, and the way out of it.

Every line that is shown was read from the hub: by its HTTP interface, its command line, or the procedures' ledger.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, TypeAlias

from hub.demo.fields import Arrival, arrivals
from hub.demo.fields import failures as field_failures
from hub.demo.stage import Stage

SETTLE_SECONDS = 30.0
Row: TypeAlias = tuple[Any, ...]
REASON = "Demo: Bausystem in Gifhorn ist wieder aufnahmebereit"


@dataclass(frozen=True, slots=True)
class Document:
    """One sample that is handed in: by HTTP with a sender's token, or (no token) by the folder."""

    file: str
    sender: str
    token: str | None = None


DOCUMENTS = (
    Document("gewerbeanmeldung-wolfsburg.xml", "gewerbe-online", "GEWERBE_TOKEN"),
    Document("gewerbeanmeldung-wittingen.xml", "gewerbe-online", "GEWERBE_TOKEN"),
    Document("gewerbeanmeldung-braunschweig.xml", "gewerbe-online", "GEWERBE_TOKEN"),
    Document("bauantrag-wittingen.xml", "bauportal", "BAUPORTAL_TOKEN"),
    Document("bauantrag-braunschweig.xml", "bauportal", "BAUPORTAL_TOKEN"),
    Document("formelle-pruefung-bauportal.xml", "bauaufsicht", "BAUAUFSICHT_TOKEN"),
    Document("beteiligung-salzgitter.xml", "bauportal", "BAUPORTAL_TOKEN"),
    Document("stellungnahme-salzgitter.xml", "bauportal", "BAUPORTAL_TOKEN"),
    Document("meldeauskunft-braunschweig.xml", "meldeportal", "MELDEPORTAL_TOKEN"),
    Document("rechnung-braunschweig-ubl.xml", "rechnungseingang", "RECHNUNG_TOKEN"),
    Document("rechnung-salzgitter-cii.xml", "rechnungseingang", "RECHNUNG_TOKEN"),
    Document("antrag-wolfsburg.xml", "formularserver", "FORMULAR_TOKEN"),
    Document("termin-wolfsburg.xml", "formularserver", "FORMULAR_TOKEN"),
    Document("termin-wolfsburg-2.xml", "formularserver", "FORMULAR_TOKEN"),
    Document("schwertransport-wolfsburg.xml", "formularserver", "FORMULAR_TOKEN"),
    Document("aussonderung-wolfsburg.xml", "aktenexport"),
    Document("abgabe-wolfsburg.xml", "aktenexport"),
    Document("gewerbeanmeldung-kaputt.xml", "gewerbe-online", "GEWERBE_TOKEN"),
    Document("gewerbeanmeldung-unbekannt.xml", "gewerbe-online", "GEWERBE_TOKEN"),
    Document("schwertransport-gefaelscht.xml", "formularserver", "FORMULAR_TOKEN"),
)

RULED = (Document("rechnung-ohne-zahlungsweg-ubl.xml", "rechnungseingang", "RECHNUNG_TOKEN"),)
"""What only Schematron finds fault with; shown where the extra xslt3 is installed."""


def run(json_file: Path | None, at: datetime, out: TextIO) -> int:
    """Run the demo, show it on ``out``, and return 0 if everything came as it should."""
    started = time.monotonic()
    with Stage() as stage:
        _tell(out, "Hub und simulierte Fachverfahren starten …")
        stage.start()
        answers = [_hand_in(stage, document) for document in DOCUMENTS + (RULED if stage.rules else ())]
        _settle(stage, answers)
        before = _messages(stage)
        _show(stage, before, answers, out)
        story = _operator(stage, before, out)
        after = _messages(stage)
        found = arrivals(stage, after)
        _show_fields(stage, found, out)
        table = _table(at, before, after, answers, story, stage) | {"fields": [asdict(one) for one in found]}
        failures = _failures(table) + field_failures(found, broker=stage.broker is not None, rules=stage.rules)
    if json_file:
        json_file.write_text(json.dumps(table, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    for failure in failures:
        _tell(out, f"FEHLER: {failure}")
    _tell(out, f"\n{'fertig' if not failures else 'nicht in Ordnung'} nach {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


def _tell(out: TextIO, text: str) -> None:
    out.write(text + "\n")
    out.flush()


def _hand_in(stage: Stage, document: Document) -> dict[str, Any]:
    body = (stage.folder / "tests" / "messages" / document.file).read_bytes()
    shown: dict[str, Any] = {"file": document.file, "sender": document.sender}
    if document.token is None:
        part = stage.folder / "var" / "in" / "akten" / f"{document.file}.part"
        part.write_bytes(body)
        part.rename(part.with_suffix(""))
        return shown | {"by": "folder", "status": None}
    answer = stage.http.post(
        stage.url,
        data=body,
        headers={
            "Content-Type": "application/xml",
            "Authorization": f"Bearer {stage.environment[document.token]}",
            "Sender-Reference": document.file,
        },
        timeout=60,
    )
    return shown | {"by": "http", "status": answer.status_code, "answer": answer.json()}


def _messages(stage: Stage) -> Sequence[dict[str, Any]]:
    code, listing = stage.command("messages", "list", "--limit", "100", "--json")
    if code != 0:
        raise OSError(f"xoev-hub messages list ended with exit code {code}")
    items: Sequence[dict[str, Any]] = listing["items"]
    return list(reversed(items))


def _settle(stage: Stage, answers: Sequence[Mapping[str, Any]]) -> None:
    """Wait until every delivery is delivered or dead; those without a broker keep waiting."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        messages = _messages(stage)
        open_ = [
            one
            for message in messages
            for one in message["deliveries"]
            if one["state"] in ("waiting", "sending") and not _skipped(stage, one)
        ]
        if len(messages) == len(answers) and not open_:
            return
        time.sleep(0.2)


def _skipped(stage: Stage, delivery: Mapping[str, Any]) -> bool:
    return not stage.broker and stage.adapters.get(delivery["destination"]) == "amqp"


# --- the operator ------------------------------------------------------------------------------------------------


def _operator(stage: Stage, messages: Sequence[Mapping[str, Any]], out: TextIO) -> dict[str, Any]:
    """Find the dead delivery, see why, mend the procedure, replay; return what was seen."""
    dead = [(m, d) for m in messages for d in m["deliveries"] if d["state"] == "dead"]
    if not dead:
        return {}
    message, delivery = dead[0]
    _tell(out, f"\nEine Zustellung ist tot: {delivery['destination']}, Grund {delivery['reason']} ({delivery['code']})")
    _tell(out, f"  $ xoev-hub messages show {message['id']}")
    _, shown = stage.command("messages", "show", message["id"], "--json")
    for event in shown["deliveries"][0]["events"]:
        facts = (event["kind"], event["reason"], event["phase"], event["code"])
        _tell(out, f"      {event['at']}  {'  '.join(fact for fact in facts if fact)}")
    stage.script(lambda text: text.replace('[{code: "17"}]', "[{ok: {az: GF-63-2026}}]"))
    _tell(out, f'  $ xoev-hub replay {message["id"]} --reason "{REASON}"')
    code, job = stage.command("replay", message["id"], "--reason", REASON, "--json")
    story = {
        "message": message["id"],
        "delivery": delivery["id"],
        "destination": delivery["destination"],
        "before": delivery["state"],
        "reason": delivery["reason"],
        "code": delivery["code"],
        "exit_code": code,
        "job": job,
        "after": None,
    }
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline and story["after"] != "delivered":
        _, shown = stage.command("messages", "show", message["id"], "--json")
        fresh = [one for one in shown["deliveries"] if one["replay_of"] == delivery["id"]]
        if fresh:
            story |= {"after": fresh[0]["state"], "new_delivery": fresh[0]["id"], "values": fresh[0]["values"]}
        time.sleep(0.2)
    _tell(out, f"      {story['after']}, Aktenzeichen {story.get('values', {}).get('aktenzeichen', '-')}")
    return story


# --- what is shown -----------------------------------------------------------------------------------------------


def _show(
    stage: Stage, messages: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]], out: TextIO
) -> None:
    rows: list[Row] = []
    for message in messages:
        if message["status"] == "rejected":
            rows.append((message["type"] or "?", message["sender"], "-", "abgewiesen", message["code"]))
        for one in message["deliveries"]:
            state, said = one["state"], ", ".join(one["values"].values()) or one["reason"] or ""
            if _skipped(stage, one):
                state, said = "übersprungen", "RabbitMQ ist nicht erreichbar"
            rows.append((message["type"], message["sender"], one["destination"] or "?", state, said))
    _tell(out, "")
    _columns(("Nachricht", "von", "an", "Stand", "Aktenzeichen oder Grund"), rows, out)
    _tell(out, "\nAbgewiesen, mit Befund für den Absender:")
    for answer in answers:
        for finding in (answer.get("answer") or {}).get("findings", []):
            _tell(out, f"  {answer['file']}: {finding['rule']}, Zeile {finding['line']}, {finding['path']}")


def _show_fields(stage: Stage, found: Sequence[Arrival], out: TextIO) -> None:
    _tell(out, "\nDie Felder der Zusammenarbeit:")
    rows: list[Row] = []
    for one in found:
        skipped = one.adapter == "amqp" and not stage.broker
        documents = f", {len(one.documents)} Dokumente in base64" if one.documents else ""
        rows.append(
            (
                one.field,
                one.to,
                one.adapter,
                "übersprungen" if skipped else one.state,
                ", ".join(one.checks),
                f"{one.format}{documents}",
            )
        )
    _columns(("Feld", "Ziel", "über", "Stand", "geprüft mit", "Format beim Empfänger"), rows, out)


def _columns(head: Row, rows: Sequence[Row], out: TextIO) -> None:
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        _tell(out, "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _table(
    at: datetime,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    story: Mapping[str, Any],
    stage: Stage,
) -> dict[str, Any]:
    delivered = [
        one | {"message": message["id"], "type": message["type"], "adapter": stage.adapters.get(one["destination"])}
        for message in after
        for one in message["deliveries"]
    ]
    return {
        "api": 1,
        "at": at.isoformat(),
        "standards": sorted({m["standard"] for m in after if m["standard"] and m["deliveries"]}),
        "municipalities": sorted({m["owner"] for m in after if m["owner"] and m["deliveries"]}),
        "handed_in": [{key: one[key] for key in ("file", "sender", "by", "status")} for one in answers],
        "deliveries": delivered,
        "rejections": [_rejection(one) for one in answers if one["status"] in (400, 413, 422)],
        "dead_before_replay": [
            one["id"] for message in before for one in message["deliveries"] if one["state"] == "dead"
        ],
        "replay": dict(story),
        "skipped": [] if stage.broker else [{"adapter": "amqp", "why": "RabbitMQ lets nobody in"}],
        "messages": list(after),
    }


def _rejection(answer: Mapping[str, Any]) -> dict[str, Any]:
    said = answer["answer"]
    return {"file": answer["file"], "id": said.get("id"), "code": said["code"], "findings": said["findings"]}


def _failures(table: Mapping[str, Any]) -> list[str]:
    """Return what did not come as it should."""
    delivered = [one for one in table["deliveries"] if one["state"] == "delivered"]
    found = []
    if len(table["standards"]) < 6:
        found.append(f"nur {len(table['standards'])} Standards")
    if len(table["municipalities"]) < 4:
        found.append(f"nur {len(table['municipalities'])} Kommunen")
    if sum(one["adapter"] == "soap" for one in delivered) < 2:
        found.append("weniger als zwei Zustellungen über SOAP")
    if not table["skipped"] and not any(one["adapter"] == "amqp" for one in delivered):
        found.append("keine Zustellung über AMQP")
    if len(table["rejections"]) < 2 or not all(one["findings"] for one in table["rejections"]):
        found.append("weniger als zwei Abweisungen mit Befund")
    if table["replay"].get("before") != "dead" or table["replay"].get("after") != "delivered":
        found.append("die tote Zustellung kam nach der Wiedervorlage nicht an")
    return found
