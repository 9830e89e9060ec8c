"""Records of the store as the JSON that users build on (INTERFACE §5). Pure; never a payload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hub.delivery import Delivery, Event, State
from hub.message import Finding
from hub.plugin import MessageStatus
from hub.store.api import Job, MessageRecord

STAGES: Mapping[State, str] = {
    State.WAITING: "accepted",
    State.SENDING: "accepted",
    State.TAKEN: "taken",
    State.DELIVERED: "delivered",
    State.DEAD: "accepted",
    State.CLOSED: "accepted",
}


def time_text(at: datetime | None) -> str | None:
    """Return a time as ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_json(record: MessageRecord) -> dict[str, Any]:
    """Return a message in the shape of INTERFACE §5."""
    standard, version = record.type.split("/", 2)[:2] if record.type else (None, None)
    return {
        "id": record.id,
        "status": record.status,
        "type": record.type,
        "standard": standard,
        "version": version,
        "sender": record.sender,
        "source": record.source,
        "owner": record.owner,
        "recipient": record.recipient,
        "test": record.test,
        "received_at": time_text(record.received_at),
        "snapshot": record.snapshot,
        "code": record.code,
        "parent_id": record.parent_id,
        "deliveries": [delivery_json(one, record.values.get(one.id, {})) for one in record.deliveries],
    }


def delivery_json(delivery: Delivery, values: Mapping[str, str]) -> dict[str, Any]:
    """Return a delivery in the shape of INTERFACE §5."""
    waiting = delivery.state is State.WAITING
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "route": delivery.route,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "reason": delivery.reason or None,
        "phase": delivery.phase or None,
        "code": delivery.code or None,
        "next_attempt_at": time_text(delivery.due_at) if waiting else None,
        "values": dict(values),
        "replay_of": delivery.replay_of,
    }


def event_json(event: Event) -> dict[str, Any]:
    """Return one fact of a delivery's timeline."""
    return {
        "at": time_text(event.at),
        "kind": event.kind,
        "due_at": time_text(event.due_at),
        "reason": event.reason or None,
        "phase": event.phase or None,
        "code": event.code or None,
        "duration_ms": round(event.duration.total_seconds() * 1000, 1) if event.duration is not None else None,
        "actor": event.actor,
        "job": event.job_id,
    }


def finding_json(finding: Finding, *, with_text: bool) -> dict[str, Any]:
    """Return a finding; its text, which may quote the document, only where the reader may see it."""
    shown: dict[str, Any] = {
        "rule": finding.rule,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "level": finding.level,
    }
    if with_text:
        shown["text"] = finding.text
    return shown


def job_json(job: Job) -> dict[str, Any]:
    """Return a job with the results of its items."""
    return {
        "id": job.id,
        "kind": job.kind,
        "actor": job.actor,
        "reason": job.reason,
        "created_at": time_text(job.created_at),
        "state": job.state,
        "count": len(job.items),
        "results": [{"item": result.item, "result": result.result, "detail": result.detail} for result in job.results],
    }


def status_for_sender(record: MessageRecord) -> MessageStatus:
    """Return what a sender may know of its own message (INTERFACE §4)."""
    return MessageStatus(
        status=record.status,
        deliveries=tuple(
            {
                "id": one.id,
                "state": one.state,
                "stage": "declined" if one.reason == "declined" else STAGES[one.state],
                "at": time_text(one.due_at),
                "reason": one.reason or None,
                "values": dict(record.values.get(one.id, {})),
            }
            for one in record.deliveries
        ),
    )


def findings_of(body: bytes) -> list[dict[str, Any]]:
    """Return findings as they were kept: rule, path, line, column, level."""
    kept: list[dict[str, Any]] = json.loads(body)
    return kept
