"""What a source may ask on behalf of an authenticated sender: of its own messages, nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hub import view
from hub.inspection import Rejection
from hub.intake import Planning
from hub.message import Incoming, MessageType, Receipt
from hub.metrics import Metrics
from hub.plugin import MessageStatus
from hub.store.api import Audit, MessageRecord, PayloadRole, Store


class Desk:
    """Answers senders about their own messages; somebody else's message does not exist for them."""

    def __init__(self, store: Store, metrics: Metrics, planning: Planning) -> None:
        self._store, self._metrics, self._planning = store, metrics, planning

    def status(self, sender: str, message_id: str) -> MessageStatus | None:
        record = self._own(sender, message_id)
        return view.status_for_sender(record) if record else None

    def reply(self, sender: str, message_id: str, delivery_id: str) -> tuple[bytes, str] | None:
        record = self._own(sender, message_id)
        if record is None or all(one.id != delivery_id for one in record.deliveries):
            return None
        for info in reversed(self._store.payloads(message_id)):
            if info.role is PayloadRole.REPLY and info.delivery_id == delivery_id:
                payload = self._store.payload(info.id)
                # Every reading of a payload is on the trail, the sender's own as well.
                about = f"{delivery_id} {PayloadRole.REPLY}"
                self._store.audit(Audit(datetime.now(UTC), sender, "source", "read_payload", about, "its sender asked"))
                return (payload.body, payload.media_type) if payload else None
        return None

    def receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        record = self._own(incoming.sender, receipt.message_id)
        if record is None or record.type is None:
            return None
        # As the first of them came: a repetition gets the same bytes.
        first = replace(incoming, id=record.id, received_at=record.received_at)
        return self._planning.document(first, Rejection("", type=MessageType.parse(record.type), test=record.test))

    def count(self, source: str, code: str) -> None:
        self._metrics.refused(source, code)

    def _own(self, sender: str, message_id: str) -> MessageRecord | None:
        record = self._store.message(message_id)
        return record if record is not None and record.sender == sender else None
