"""From values to rows and back. The only place that knows both; nothing here talks to a database."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from itertools import zip_longest
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa

from hub.delivery import Delivery, Event, EventKind, State, advance
from hub.fingerprint import Failure, fingerprint, first_finding
from hub.message import Checked, Header, Message, MessageId, MessageType
from hub.store.api import PROBING, Acceptance, Control, Payload, PayloadRole, Reference, Rejection
from hub.store.payloads import Payloads, Row
from hub.store.tables import MICROSECOND
from hub.store.taking import Taking

DELIVERY_FIELDS = tuple(item.name for item in fields(Delivery))
TYPE_COLUMNS = ("standard", "version", "name")
VALUE = "value:"  # the kind of references that a reply told and a listing shows


@dataclass(frozen=True, slots=True)
class Move:
    """One delivery before and after one event."""

    before: Delivery
    event: Event
    after: Delivery


@dataclass(frozen=True, slots=True)
class MessageRows:
    """Everything that one message brings into the store, as rows in the order of their foreign keys."""

    message: Row = field(repr=False)
    payloads: Sequence[Row] = field(default=(), repr=False)
    deliveries: Sequence[Row] = field(default=(), repr=False)
    references: Sequence[Row] = field(default=(), repr=False)
    taking: Taking | None = None
    moves: Mapping[str, Move] = field(default_factory=dict)  # the claims that are wished for, by delivery


def keyed_digest(key: bytes, value: str) -> str:
    """Return what a value is found by; without the key nobody can try values."""
    return hmac.new(key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class RowMaker:
    """Makes rows in the caller's thread, so that the one writer has nothing left to do but write."""

    def __init__(self, payloads: Payloads, reference_key: bytes) -> None:
        self.payloads = payloads
        self._key = reference_key

    def digest(self, value: str) -> str:
        """Return the keyed digest that a reference is found by."""
        return keyed_digest(self._key, value)

    def accepted(self, acceptance: Acceptance, taking: Taking | None = None) -> MessageRows:
        message = acceptance.message
        row = _message_row(message, acceptance.identity, acceptance.idempotency_key, acceptance.arrival)
        row |= {"verdict": "accepted", "code": None, "parent_id": acceptance.parent_id, "header": _header(message)}
        row |= _type_columns(str(message.header.type))
        row |= {"fingerprint": None, "checks": checks_row(acceptance.checks)}
        return MessageRows(
            row,
            self.payloads.rows(acceptance.payloads, message.id),
            _new_deliveries(acceptance),
            self.references(acceptance.references, message.id, message.owner),
            taking,
            {} if taking is None else {one.id: _claimed(one, taking.now) for one in _wished(acceptance, taking)},
        )

    def rejected(self, rejection: Rejection) -> MessageRows:
        row = _message_row(rejection, None, rejection.idempotency_key, rejection.arrival)
        row |= {"verdict": "rejected", "code": rejection.code, "parent_id": None, "header": None}
        row |= _type_columns(rejection.type)
        row |= {"fingerprint": _fingerprint_of_rejection(rejection), "checks": checks_row(rejection.checks)}
        return MessageRows(
            row,
            self.payloads.rows(rejection.payloads, rejection.id),
            (),
            self.references(rejection.references, rejection.id, rejection.owner),
        )

    def references(self, references: Iterable[Reference], message_id: MessageId, owner: str | None) -> list[Row]:
        return [
            {
                "message_id": message_id,
                "delivery_id": reference.delivery_id,
                "kind": reference.kind,
                "owner": owner,
                "digest": self.digest(reference.value),
                "value": reference.value,
            }
            for reference in references
        ]


def checks_row(checks: Sequence[Checked]) -> dict[str, Any] | None:
    """Return checks as they are kept."""
    return {"done": [[one.name, one.state, one.milliseconds] for one in checks]} if checks else None


def checks_of(kept: Mapping[str, Any] | None) -> tuple[Checked, ...]:
    """Return what :func:`checks_row` has made."""
    return tuple(Checked(*one) for one in (kept or {}).get("done", ()))


def _new_deliveries(acceptance: Acceptance) -> list[Row]:
    """Return the rows of an accepted message's deliveries; those that are born dead have their fingerprint."""
    type_ = str(acceptance.message.header.type)
    rows = []
    for one in acceptance.deliveries:
        token = fingerprint(failure_of(one, type_, acceptance.payloads)) if one.state is State.DEAD else None
        rows.append(delivery_row(one) | {"fingerprint": token})
    return rows


def failure_of(delivery: Delivery, type_: str, payloads: Iterable[Payload]) -> Failure:
    """Return why a delivery is dead; among the payloads are its findings, if it has any."""
    bodies = (one.body for one in payloads if one.role is PayloadRole.FINDINGS and one.delivery_id == delivery.id)
    rule, path = first_finding(next(bodies, b"[]"))
    return Failure(delivery.reason, delivery.phase, delivery.code or rule, path, type_, delivery.destination or "")


def _fingerprint_of_rejection(rejection: Rejection) -> str:
    bodies = (one.body for one in rejection.payloads if one.role is PayloadRole.FINDINGS)
    rule, path = first_finding(next(bodies, b"[]"))
    return fingerprint(Failure(rejection.code, rule=rule, path=path, type=rejection.type or ""))


def _wished(acceptance: Acceptance, taking: Taking) -> Iterable[Delivery]:
    """Yield what its taker wants. What has an order key must stand in line: that takes a claim."""
    for one in acceptance.deliveries:
        due = one.state is State.WAITING and one.due_at <= taking.now
        if due and one.order_key is None and one.destination in taking.destinations:
            yield one


def _claimed(delivery: Delivery, now: datetime) -> Move:
    event = Event(EventKind.CLAIMED, now)
    return Move(delivery, event, advance(delivery, event))


def _message_row(item: Message | Rejection, identity: str | None, key: str | None, arrival: Mapping[str, str]) -> Row:
    return {
        "id": item.id,
        "source": item.source,
        "sender": item.sender,
        "identity": identity,
        "idempotency_key": key,
        "sha256": item.sha256,
        "owner": item.owner,
        "recipient": item.recipient,
        "test": item.test,
        "received_at": item.received_at,
        "snapshot": item.snapshot,
        "arrival": arrival,
    }


def _type_columns(type_: str | None) -> Row:
    """Return the columns of a type; of a rejected document perhaps only the first segments are known."""
    segments = (type_ or "").split("/", 2)
    return {name: segment or None for name, segment in zip_longest(TYPE_COLUMNS, segments)}


def _header(message: Message) -> dict[str, Any]:
    """Return the header without its type, which has columns of its own."""
    header = message.header
    return {
        "message_id": header.message_id,
        "type_code": header.type_code,
        "created_at": header.created_at,
        "author": header.author,
        "reader": header.reader,
        "test": header.test,
        "references": dict(header.references),
        "keys": dict(header.keys),
        "sender_reference": message.sender_reference,
    }


def type_of(row: sa.RowMapping) -> str | None:
    """Return the type as far as it is known."""
    return "/".join(filter(None, (row[name] for name in TYPE_COLUMNS))) or None


def message_of(row: sa.RowMapping) -> Message:
    """Return the accepted message of a row, without its body."""
    header = dict(row["header"] or {})
    sender_reference = header.pop("sender_reference", None)
    header |= {name: MappingProxyType(header.get(name) or {}) for name in ("references", "keys")}
    return Message(
        id=row["id"],
        header=Header(MessageType(*(row[name] or "" for name in TYPE_COLUMNS)), **header),
        source=row["source"],
        sender=row["sender"],
        owner=row["owner"],
        recipient=row["recipient"],
        received_at=row["received_at"],
        sha256=row["sha256"],
        snapshot=row["snapshot"],
        test=row["test"],
        sender_reference=sender_reference,
    )


# --- deliveries and events ----------------------------------------------------------------------------------------


def delivery_row(delivery: Delivery) -> Row:
    """Return the row of a newly planned delivery; its ``seq`` and its message's are the database's to give."""
    row = {name: getattr(delivery, name) for name in DELIVERY_FIELDS if name != "seq"}
    row["of_message"] = delivery.message_id  # for the default of ``message_seq``
    return row | {"state": delivery.state.value, "reason": str(delivery.reason), "phase": str(delivery.phase)}


MOVED_COLUMNS = ("state", "reason", "phase", "code", "due_at", "attempts", "first_attempt_at", "revision")


def moved_columns(delivery: Delivery) -> Row:
    """Return the columns that an event may change."""
    return {
        "state": delivery.state.value,
        "reason": str(delivery.reason),
        "phase": str(delivery.phase),
        "code": delivery.code,
        "due_at": delivery.due_at,
        "attempts": delivery.attempts,
        "first_attempt_at": delivery.first_attempt_at,
        "revision": delivery.revision,
    }


def delivery_of(row: sa.RowMapping) -> Delivery:
    return Delivery(**{name: row[name] for name in DELIVERY_FIELDS} | {"state": State(row["state"])})


def event_row(after: Delivery, event: Event) -> Row:
    return {
        "delivery_id": after.id,
        "revision": after.revision,
        "kind": event.kind.value,
        "at": event.at,
        "due_at": event.due_at,
        "reason": str(event.reason),
        "phase": str(event.phase),
        "code": event.code,
        "duration_us": None if event.duration is None else event.duration // MICROSECOND,
        "actor": event.actor,
        "job_id": event.job_id,
    }


def event_of(row: sa.RowMapping) -> Event | None:
    """Return the event of a row; None if its kind is of a newer program: kept, and ignored by the fold."""
    if row["kind"] not in {kind.value for kind in EventKind}:
        return None
    duration = row["duration_us"]
    return Event(
        kind=EventKind(row["kind"]),
        at=row["at"],
        due_at=row["due_at"],
        reason=row["reason"],
        phase=row["phase"],
        code=row["code"],
        duration=None if duration is None else timedelta(microseconds=duration),
        actor=row["actor"],
        job_id=row["job_id"],
    )


def control_of(row: sa.RowMapping) -> Control:
    return Control(
        destination=row["destination"],
        kind=row["kind"],
        reason=row["reason"],
        since=row["since"],
        by=row["by"],
        until=row["until"],
        code=row["code"],
    )


def end_of(row: sa.RowMapping) -> datetime | None:
    """Return when a hold ended or will end by itself, whichever came first."""
    until = None if row["kind"] in PROBING else row["until"]
    ends = [end for end in (row["ended_at"], until) if end is not None]
    return min(ends, default=None)
