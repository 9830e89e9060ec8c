"""One message of a queue: from the broker's properties to the hub's receipt, or to the queue of rejections.

    properties ─▶ Incoming ─▶ accept() ─┬─ receipt ──────────────────────▶ done: it may leave its queue
         │ unfit                        │    └ the standard's own ─┐
         │                              ├─ Rejected, Conflict ─────┤
         └──────────────────────────────┼─────────────────────────▶│ published ─┬─ confirmed ─▶ done
                                        └─ Unavailable ─▶ held                  └─ anything else ─▶ held

What is held stays where it is, unacknowledged. A verdict is kept with it: only the telling is tried again.
The broker sends unasked: a large document (above 1 MB) waits on the disk until there is room for it in memory.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pika

from adapters.amqp_lane import Publication
from adapters.amqp_publisher import Publisher
from hub.plugin import (
    Accept,
    Aside,
    Conflict,
    Context,
    Delivered,
    Finding,
    Incoming,
    Outcome,
    Rejected,
    Room,
    Unavailable,
)

MEDIA_TYPE = re.compile(
    r'(?:application|text)/xml(?:\s*;\s*charset="?([a-z0-9._:-]{1,40})"?)?', re.IGNORECASE | re.ASCII
)
KEY = re.compile(r"[A-Za-z0-9._:-]{1,200}")
TEXT_CHARACTERS_MAX = 200
ASIDE_BYTES_MIN = 1_000_000

CONFIRM_SECONDS = 10.0  # shorter than a drain: a stop may have to wait for it
FINDINGS_MAX = 100
FINDINGS_BYTES_MAX = 32_000  # RabbitMQ closes the connection above 128 kB of headers

UNREADABLE = pika.BasicProperties()
"""Stands for properties that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message is not taken; ``id`` names the record of it, if there is one."""

    code: str
    id: str | None = None
    findings: Sequence[Finding] = ()
    document: bytes | None = field(default=None, repr=False)  # the same in the standard's own form


@dataclass(frozen=True, slots=True)
class Kept:
    """A message that is on disk under ``id``, and the standard's own receipt of it, if its source sends that."""

    id: str
    document: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Held:
    """Why a message stays in its queue: ``unavailable``, ``reject_to``, ``receipt_to`` or ``crashed``."""

    reason: str
    code: str = ""


@dataclass(eq=False, slots=True)
class Arrival:
    """A message that the broker has delivered and that is not acknowledged yet. ``body`` may wait on the disk."""

    properties: pika.BasicProperties = field(repr=False)
    body: bytes | Aside = field(repr=False)
    size: int
    verdict: Refusal | Kept | None = None  # the hub has judged it; whoever sent it is not told yet


def arrived(properties: pika.BasicProperties, body: bytes, room: Room) -> Arrival:
    """Return what has come; a large body is put aside. Without room on the disk it has to stay in memory."""
    kept: bytes | Aside = body
    if len(body) > ASIDE_BYTES_MIN:
        with suppress(OSError):
            kept = room.put_aside(body)
    return Arrival(properties, kept, len(body))


class Reception:
    """Takes arrivals, from several threads at once. ``reject_to`` and ``receipt_to`` are exchange and routing key."""

    def __init__(
        self,
        context: Context,
        accept: Accept,
        publisher: Publisher,
        reject_to: tuple[str, str],
        receipt_to: tuple[str, str],
    ) -> None:
        self._context, self._accept, self._publisher = context, accept, publisher
        self._reject_to, self._receipt_to = reject_to, receipt_to

    def take(self, arrival: Arrival) -> Held | None:
        """Return ``None`` once the message may leave its queue, else why it must stay."""
        if isinstance(arrival.body, bytes):
            return self._take(arrival, arrival.body)
        if not self._context.room.take(arrival.size):
            return Held("unavailable", "room")
        try:
            try:
                body = arrival.body.read()
            except OSError:
                return Held("unavailable", "disk")
            return self._take(arrival, body)
        finally:
            self._context.room.give(arrival.size)

    def _take(self, arrival: Arrival, body: bytes) -> Held | None:
        if arrival.verdict is None:
            try:
                arrival.verdict = self._hand_in(arrival.properties, body)
            except Unavailable:
                return Held("unavailable")
        if isinstance(arrival.verdict, Kept):
            return self._tell_receipt(arrival.verdict)
        for told in self._told(arrival.verdict, body):
            outcome = self._tell(arrival.verdict, told)
            if not isinstance(outcome, Delivered):
                return Held("reject_to", outcome.code)
        return None

    def _told(self, refusal: Refusal, body: bytes) -> Sequence[bytes]:
        """Return what is published: the body as it came, the standard's rejection that has it inside, or both."""
        if refusal.document is None:
            return (body,)
        return (body, refusal.document) if self._context.on_reject == "both" else (refusal.document,)

    def _hand_in(self, properties: pika.BasicProperties, body: bytes) -> Refusal | Kept:
        """Return why it is not taken, or its receipt once it is on disk; a repetition is on disk already."""
        try:
            incoming = described(properties, body, self._context)
        except Rejected as unfit:
            if self._context.desk:
                self._context.desk.count(self._context.name, unfit.code)
            return Refusal(unfit.code)
        try:
            receipt = self._accept(incoming)
        except Rejected as rejected:
            return Refusal(rejected.code, rejected.id, rejected.findings, rejected.document)
        except Conflict as conflict:
            return Refusal("conflict", conflict.id, document=conflict.document)
        if self._context.on_accept != "standard" or self._context.desk is None:
            return Kept(receipt.message_id)
        return Kept(receipt.message_id, self._context.desk.receipt(incoming, receipt))

    def _tell_receipt(self, kept: Kept) -> Held | None:
        """Publish the standard's own receipt, if there is one; ``x-hub-receipt`` marks it."""
        if kept.document is None:
            return None
        headers = {"x-hub-receipt": "standard", "x-hub-id": kept.id}
        outcome = self._publish(self._receipt_to, kept.document, headers)
        return None if isinstance(outcome, Delivered) else Held("receipt_to", outcome.code)

    def _tell(self, refusal: Refusal, body: bytes) -> Outcome:
        """Publish a body with the verdict beside it and nothing else; ``x-hub-rejection`` marks the standard's own.

        What its sender wrote beside it is left behind: a reply_to would be obeyed, a CC or an expiration carried out.
        """
        headers = {"x-hub-code": refusal.code}
        if refusal.id:
            headers["x-hub-id"] = refusal.id
        if body is refusal.document:
            headers["x-hub-rejection"] = "standard"
        if refusal.findings:
            headers["x-hub-findings"] = _written(refusal.findings)
        return self._publish(self._reject_to, body, headers)

    def _publish(self, to: tuple[str, str], body: bytes, headers: Mapping[str, str]) -> Outcome:
        # The message id is ours: the publisher finds by it what the broker returns.
        properties = pika.BasicProperties(headers=dict(headers), delivery_mode=2, message_id=str(uuid.uuid4()))
        publication = Publication(*to, body, properties)
        deadline = time.monotonic() + CONFIRM_SECONDS
        connect = self._context.limits.connect.total_seconds()
        (outcome,) = self._publisher.deliver([(publication, deadline)], connect)
        return outcome


def described(properties: pika.BasicProperties, body: bytes, context: Context) -> Incoming:
    """Return what is handed in.

    The sender is the source's: ``user_id``, ``app_id`` and headers are what a publisher says of itself. Neither is
    ``message_id`` an idempotency key: publishers count from 1 after every start, and a key that is bound to other
    content would make conflicts of good messages. A redelivery is known by the profile's identity or its digest.

    Raises:
        Rejected: The hub takes nothing like it. Nothing of it is recorded.
    """
    if properties is UNREADABLE:
        raise Rejected("header")
    if properties.content_encoding:
        raise Rejected("content_encoding")
    charset = _charset(properties.content_type)
    if len(body) > context.limits.max_body:
        raise Rejected("body_too_large")
    headers: Mapping[object, object] = properties.headers or {}
    key = _header(headers, "idempotency-key")
    if key is not None and not KEY.fullmatch(key):
        raise Rejected("header")
    return Incoming(
        body=body,
        source=context.name,
        sender=context.sender or "",
        charset=charset,
        idempotency_key=key,
        sender_reference=_header(headers, "sender-reference"),
        recipient=_header(headers, "recipient"),
    )


def _charset(content_type: object) -> str | None:
    """Return what the publisher claims about the encoding. No content type claims nothing; the guard looks itself."""
    if not content_type:
        return None
    match = MEDIA_TYPE.fullmatch(content_type.strip()) if isinstance(content_type, str) else None
    if match is None:
        raise Rejected("media_type")
    return match[1]


def _header(headers: Mapping[object, object], name: str) -> str | None:
    """Return a printable text of at most 200 characters; the name may be written in any case, but once."""
    values = [value for found, value in headers.items() if isinstance(found, str) and found.lower() == name]
    if not values:
        return None
    text = values[0].strip() if isinstance(values[0], str) else ""
    if len(values) > 1 or not 0 < len(text) <= TEXT_CHARACTERS_MAX or not text.isprintable():
        raise Rejected("header")
    return text


def _written(findings: Sequence[Finding]) -> str:
    """Return rule, path and line of each as JSON, without the texts: they may quote the document."""
    written: list[str] = []
    size = 0
    for finding in findings[:FINDINGS_MAX]:
        one = json.dumps({"rule": finding.rule, "path": finding.path, "line": finding.line})
        size += len(one) + 2
        if size > FINDINGS_BYTES_MAX:
            break
        written.append(one)
    return f"[{', '.join(written)}]"
