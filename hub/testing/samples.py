"""Invented messages for tests. Nobody in them exists."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hub.message import DeliveryId, MessageId
from hub.plugin import Header, Message, MessageType, Outgoing

MARKER = "Musterfrau-Canary-4711"
"""Stands in every sample's body, so that a test can prove that it stands nowhere else."""

BODY = f"""<?xml version="1.0" encoding="UTF-8"?>
<a:antrag.0101 xmlns:a="urn:xoev-de:beispiel:standard:antrag_1.0">
 <a:inhalt><a:name>Zoë {MARKER}</a:name></a:inhalt>
</a:antrag.0101>
""".encode()


def outgoing(number: int = 1, **changes: Any) -> Outgoing:
    """Return the delivery with this number: same number, same ids and bytes. ``changes`` are fields to replace."""
    sample = Outgoing(
        delivery_id=DeliveryId(_id("delivery", number)),
        destination="musterstadt/gewerbe",
        message=message(number),
        body=BODY,
    )
    return replace(sample, **changes)


def message(number: int = 1, **changes: Any) -> Message:
    """Return the invented message with this number."""
    sample = Message(
        id=MessageId(_id("message", number)),
        header=Header(
            type=MessageType("antrag", "1.0", "antrag.0101"), message_id=_id("own", number), reader="ags:08111000"
        ),
        source="online-services",
        sender="antragsportal",
        owner="musterstadt",
        recipient="musterstadt",
        received_at=datetime(2026, 11, 2, 8, 0, tzinfo=UTC),
        sha256=hashlib.sha256(BODY).hexdigest(),
        snapshot="0" * 64,
        sender_reference=f"AZ-{number}",
        body=BODY,
    )
    return replace(sample, **changes)


def _id(kind: str, number: int) -> str:
    digest = hashlib.sha256(f"{kind} {number}".encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))
