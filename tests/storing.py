"""Values that tests put into a store: messages of invented senders for invented procedures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from hub.delivery import Delivery, Event, EventKind, State
from hub.errors import StoreError
from hub.message import NOTHING, DeliveryId, Header, Message, MessageId, MessageType, new_id
from hub.store import open_store
from hub.store.api import Acceptance, Change, Payload, PayloadRole, Reference, Rejection, Settlement
from hub.store.sql import SqlStore

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=30)
GEWERBE = "wolfsburg/gewerbe"


@dataclass
class Clock:
    """A clock that stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Place:
    """Where a store lies, so that a test can open it twice or again."""

    url: str
    state_dir: Path
    clock: Clock = field(default_factory=Clock)

    def open(self, mode: Literal["daemon", "cli"] = "daemon") -> SqlStore:
        return open_store(self.url, state_dir=self.state_dir, mode=mode, clock=self.clock)


def acceptance(
    identity: str = "",
    *,
    body: bytes = b"<antrag/>",
    sender: str = "bauportal",
    owner: str | None = "wolfsburg",
    destinations: tuple[str, ...] = (GEWERBE,),
    type_: str = "antrag/1.0/antrag.0101",
    key: str | None = None,
    order_key: str | None = None,
    due_at: datetime = NOW,
    received_at: datetime = NOW,
    dead: str = "",
    references: tuple[Reference, ...] = (),
    arrival: Mapping[str, str] = NOTHING,
) -> Acceptance:
    """Return a message with one delivery per destination, all of the received bytes."""
    id_, payload_id = MessageId(new_id()), new_id()
    header = Header(MessageType.parse(type_), message_id=identity, references={"vorgang": "A-1"}, keys={"ort": "WOB"})
    message = Message(
        id_, header, "online-services", sender, owner, owner, received_at, hashlib.sha256(body).hexdigest(), "snap-1",
        sender_reference="ref",
    )  # fmt: skip
    deliveries = tuple(
        Delivery(
            DeliveryId(new_id()), id_, owner, "antraege", destination, due_at, payload_id=payload_id,
            order_key=order_key, snapshot="snap-1", state=State.DEAD if dead else State.WAITING, reason=dead,
        )
        for destination in destinations
    )  # fmt: skip
    payload = Payload(payload_id, PayloadRole.RECEIVED, body, headers={"charset": "utf-8"})
    return Acceptance(message, identity or id_, (payload,), deliveries, references, key, arrival=arrival)


def rejection(
    *,
    body: bytes | None = b"<kaputt>",
    code: str = "schema_violation",
    source: str = "online-services",
    received_at: datetime = NOW,
    type_: str | None = "antrag/1.0",
    key: str | None = None,
    arrival: Mapping[str, str] = NOTHING,
    references: tuple[Reference, ...] = (),
) -> Rejection:
    """Return the record of a rejected document, with its body if one is given."""
    kept = () if body is None else (Payload(new_id(), PayloadRole.RECEIVED, body),)
    findings = Payload(new_id(), PayloadRole.FINDINGS, b"[]", media_type="application/json")
    return Rejection(
        MessageId(new_id()), code, source, "bauportal", hashlib.sha256(body or b"").hexdigest(), received_at, "snap-1",
        type=type_, idempotency_key=key, arrival=arrival, payloads=(*kept, findings), references=references,
    )  # fmt: skip


def claim_one(store: SqlStore, destination: str = GEWERBE, *, now: datetime = NOW, owner: str = "node-1") -> Delivery:
    """Claim the oldest due delivery; there must be one."""
    (claimed,) = store.claim(destination, now=now, limit=1, owner=owner, lease=LEASE)
    return claimed


def settle(store: SqlStore, before: Delivery, kind: EventKind, *, at: datetime = NOW, reason: str = "") -> Delivery:
    """Apply one event to one delivery."""
    (after,) = store.apply(Change((Settlement(before, Event(kind, at, reason=reason)),)))
    return after


def loaded(store: SqlStore, delivery: Delivery) -> tuple[Message, Payload]:
    """Return what a delivery sends; raise what stands there instead."""
    (found,) = store.load_all([delivery])
    if isinstance(found, StoreError):
        raise found
    return found
