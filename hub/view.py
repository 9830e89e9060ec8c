"""Records of the store as the JSON that users build on (INTERFACE §5). Pure; never a payload."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hub.delivery import Delivery, Event, State
from hub.message import Finding

if TYPE_CHECKING:
    from hub.job import Job, JobItem
    from hub.plugin import MessageStatus
    from hub.selection import Preview
    from hub.store.api import Audit, MessageRecord
    from hub.store.groups_api import Group

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
        "repeated": record.repeated,
        "repeated_at": time_text(record.repeated_at),
        "deliveries": [
            delivery_json(one, record.values.get(one.id, {}))
            | {"replayed_as": [other.id for other in record.deliveries if other.replay_of == one.id]}
            for one in record.deliveries
        ],
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


def job_json(
    job: Job, progress: Mapping[str, int], items: Sequence[JobItem] = (), next_: int | None = None
) -> dict[str, Any]:
    """Return a job, how far it is, and a page of its items' results."""
    from hub.job import LEFT, RESULTS  # few of those who show something show jobs

    return {
        "id": job.id,
        "kind": job.kind,
        "actor": job.actor,
        "reason": job.reason,
        "created_at": time_text(job.created_at),
        "state": job.state,
        "note": job.note or None,
        "changed_by": job.changed_by or None,
        "changed_at": time_text(job.changed_at),
        "rate": job.rate,
        "canary": job.canary,
        "canary_passed": job.canary_passed if job.canary else None,
        "count": sum(progress.values()),
        "progress": {result: progress.get(result, 0) for result in (*RESULTS, LEFT)},
        "results": [{"item": one.item, "result": one.result, "detail": one.detail} for one in items if one.result],
        "next": next_,
    }


def preview_json(preview: Preview) -> dict[str, Any]:
    """Return what is known of the items of a job before it begins."""
    return {
        "count": preview.count,
        "first_received_at": time_text(preview.first),
        "last_received_at": time_text(preview.last),
        "delivered": preview.delivered,
        "unclear": preview.unclear,
        "groups": [
            {"municipality": owner, "destination": to, "state": state, "reason": reason or None, "count": count}
            for (owner, to, state, reason), count in preview.groups.items()
        ],
    }


def group_json(group: Group) -> dict[str, Any]:
    """Return a group of equal failures; ``trend`` counts by the hour, the last one last."""
    return {
        "fingerprint": group.fingerprint,
        "kind": group.kind,
        "count": group.count,
        "first_at": time_text(group.first),
        "last_at": time_text(group.last),
        "trend": {"last_hour": group.trend[-1], "hour_before": group.trend[-2], "hours": list(group.trend)},
        "reason": group.reason,
        "phase": group.phase or None,
        "code": group.code or None,
        "path": group.path or None,
        "type": group.type,
        "destination": group.destination,
        "example": group.example,
        "notes": [{"at": time_text(one.at), "actor": one.actor, "text": one.text} for one in group.notes],
    }


def audit_json(entry: Audit) -> dict[str, Any]:
    """Return what somebody did."""
    return {
        "at": time_text(entry.at),
        "actor": entry.actor,
        "via": entry.via,
        "action": entry.action,
        "object": entry.object,
        "reason": entry.reason,
        "result": entry.result or None,
    }


def status_for_sender(record: MessageRecord) -> MessageStatus:
    """Return what a sender may know of its own message (INTERFACE §4)."""
    from hub.plugin import MessageStatus  # here, as no listing needs it

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
