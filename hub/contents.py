"""Bytes of deliveries that came in a moment ago and wait for room at their destination: what is here is not read again.

In a rush most deliveries wait for less than a second. Few bytes, and not for long: an erased message must not live on.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from hub.delivery import Delivery
from hub.message import DeliveryId, Message
from hub.store.api import Payload

BYTES_MAX = 4_000_000
SECONDS_MAX = 10.0

Content = tuple[Message, Payload]


class Contents:
    """Message and payload by delivery, the oldest forgotten first. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[DeliveryId, Content] = {}
        self._order: deque[tuple[float, DeliveryId, int]] = deque()
        self._bytes = 0

    def put(self, delivery: DeliveryId, content: Content) -> None:
        """Keep it for a while."""
        size = len(content[1].body)
        with self._lock:
            self._found[delivery] = content
            self._order.append((time.monotonic(), delivery, size))
            self._bytes += size
            while self._bytes > BYTES_MAX:
                self._forget_first()

    def take(self, delivery: Delivery) -> Content | None:
        """Return it, if it is here and is still what the delivery sends; it is not kept any longer."""
        with self._lock:
            content = self._found.pop(delivery.id, None)
        return content if content is not None and content[1].id == delivery.payload_id else None

    def forget(self) -> None:
        """Forget what has been here for long."""
        before = time.monotonic() - SECONDS_MAX
        with self._lock:
            while self._order and self._order[0][0] < before:
                self._forget_first()

    def _forget_first(self) -> None:
        _, delivery, size = self._order.popleft()
        self._found.pop(delivery, None)
        self._bytes -= size
