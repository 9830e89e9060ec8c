"""One timeline of a message, from its first byte to the last answer. Pure: it puts in order what is on record.

received ─▶ header ─▶ checks ─▶ decision ─▶ planned ─▶ attempts ─▶ …
jobs, closings, readings by people in between
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from hub import view
from hub.delivery import Delivery, Event, EventKind, State
from hub.store.api import MessageRecord, PayloadInfo, PayloadRole
from hub.store.retracing import Record

Entry = dict[str, Any]
AUTHENTICATED_BY = {"http": "token", "folder": "access to the folder", "amqp": "access to the queue"}
HEADER = ("type_code", "created_at", "author", "reader")  # no id: some standards let people write it


def timeline(
    record: MessageRecord,
    kept: Record,
    events: Mapping[str, Sequence[Event]],
    payloads: Sequence[PayloadInfo],
    findings: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any],
) -> list[Entry]:
    """Return what happened to a message, in the order in which it did. ``decision``: what repeating it says of why."""
    entries = [*_arrival(record, kept, payloads, findings, decision), *_acts(kept)]
    for one in record.deliveries:
        entries += _delivery(one, record, events.get(one.id, ()))
    ordered = sorted(enumerate(entries), key=lambda numbered: (numbered[1]["at"], numbered[0]))
    return [entry | {"at": view.time_text(entry["at"])} for _, entry in ordered]


def _arrival(
    record: MessageRecord,
    kept: Record,
    payloads: Sequence[PayloadInfo],
    findings: Sequence[Mapping[str, Any]],
    decision: Mapping[str, Any],
) -> Iterator[Entry]:
    at = record.received_at
    body = next((info for info in payloads if info.role is PayloadRole.RECEIVED), None)
    adapter = decision.get("adapter")
    yield {
        "at": at,
        "what": "received",
        "source": record.source,
        "sender": record.sender,
        "authenticated_by": AUTHENTICATED_BY.get(adapter or "", adapter),
        "size": body.size if body else None,
        "sha256": record.sha256,
        "parent_id": record.parent_id,
    }
    header = {name: (kept.header or {}).get(name) for name in HEADER}
    yield {"at": at, "what": "header", "type": record.type, "test": record.test, **header}
    for check in kept.checks:
        yield {"at": at, "what": "check", "name": check.name, "state": check.state, "ms": check.milliseconds}
    for finding in findings:
        if finding.get("delivery") is None:
            about = {name: finding.get(name) for name in ("level", "rule", "path", "line")}
            yield {"at": at, "what": "finding", **about}
    yield {
        "at": at,
        "what": "decision",
        "verdict": f"rejected: {record.code}" if record.verdict == "rejected" else "accepted",
        "recipient": record.recipient,
        "owner": record.owner,
        "snapshot": record.snapshot,
        "routes": decision.get("routes", []),
        "obstacle": decision.get("obstacle"),
    }


def _delivery(one: Delivery, record: MessageRecord, events: Sequence[Event]) -> Iterator[Entry]:
    follower = next((other.id for other in record.deliveries if other.replay_of == one.id), None)
    planned = _planned_at(one, record, events)
    about = {"delivery": one.id, "destination": one.destination}
    born_dead = one.state is State.DEAD and not events  # what waits may bear the reason of a hold
    yield {
        "at": planned,
        "what": "planned",
        **about,
        "route": one.route,
        "dead": (one.reason or None) if born_dead else None,
        "code": (one.code or None) if born_dead else None,
        "replay_of": one.replay_of,
        "replayed_as": follower,
    }
    number, began = 0, None
    for event in events:
        if event.kind is EventKind.CLAIMED:
            number, began = number + 1, event.at
            continue
        number = 0 if event.kind is EventKind.RESENT else number
        what = "attempt" if began else str(event.kind)
        yield {"at": event.at, "what": what, **about, **_outcome(event, number, began)}
        began = None
    if began is not None:
        yield {"at": began, "what": "attempt", **about, "number": number, "outcome": "under way"}


def _planned_at(one: Delivery, record: MessageRecord, events: Sequence[Event]) -> datetime:
    """Return when a delivery was planned: with its message, or when it took the place of another one."""
    if one.replay_of is None:
        return record.received_at
    return min([one.due_at, *(event.at for event in events)])


def _outcome(event: Event, number: int, began: datetime | None) -> Entry:
    told = view.event_json(event)
    facts = {name: told[name] for name in ("reason", "phase", "code", "duration_ms", "actor", "job")}
    if began is None:
        return facts
    due = told["due_at"] if event.kind is EventKind.DEFERRED else None
    return {"number": number, "began_at": view.time_text(began), "outcome": str(event.kind), **facts, "next_at": due}


def _acts(kept: Record) -> Iterator[Entry]:
    for deed in kept.deeds:
        yield {
            "at": deed.created_at, "what": "job", "job": deed.id, "kind": deed.kind, "actor": deed.actor,
            "reason": deed.reason, "item": deed.item, "result": deed.result, "detail": deed.detail or None,
        }  # fmt: skip
    for one in kept.audits:
        yield {"what": "audit", **view.audit_json(one), "at": one.at}
