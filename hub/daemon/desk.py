"""What a listener may ask on behalf of an authenticated sender: the state of its own messages, nothing else."""

from __future__ import annotations

from hub import view
from hub.metrics import Metrics
from hub.plugin import MessageStatus
from hub.store.api import MessageRecord, PayloadRole, Store


class Desk:
    """Answers senders about their own messages; somebody else's message does not exist for them."""

    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics

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
                return (payload.body, payload.media_type) if payload else None
        return None

    def count(self, source: str, code: str) -> None:
        self._metrics.refused(source, code)

    def _own(self, sender: str, message_id: str) -> MessageRecord | None:
        record = self._store.message(message_id)
        return record if record is not None and record.sender == sender else None
