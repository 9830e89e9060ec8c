"""What a test lends to an adapter in place of the hub: a context, a log that can be read, a desk, an intake."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hub.plugin import (
    NO_LIMIT,
    Accept,
    Context,
    Incoming,
    Limits,
    MessageStatus,
    Receipt,
    Room,
    SecretRef,
    SenderDesk,
    TlsSettings,
)
from hub.room import Budget
from hub.spool import Spool
from hub.testing.clock import SettableClock
from hub.xml import guard


class RecordedLog:
    """Keeps what was logged, for a test to read."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict[str, Any]]] = []

    @property
    def text(self) -> str:
        """Everything that was logged, as one text."""
        return "\n".join(f"{level} {event} {keys!r}" for level, event, keys in self.entries)

    def events(self, level: str) -> list[str]:
        """Return the names of the events of one level, oldest first."""
        return [event for found, event, _ in self.entries if found == level]

    def debug(self, event: str, **keys: Any) -> None:
        self.entries.append(("debug", event, keys))

    def info(self, event: str, **keys: Any) -> None:
        self.entries.append(("info", event, keys))

    def warning(self, event: str, **keys: Any) -> None:
        self.entries.append(("warning", event, keys))

    def error(self, event: str, **keys: Any) -> None:
        self.entries.append(("error", event, keys))


class RecordedDesk:
    """A sender's desk with what a test has put on it. Counts refusals by (source, code).

    ``receipts`` holds what is answered for a standard's own receipt, call by call; the last one stays.
    """

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], MessageStatus] = {}
        self.replies: dict[tuple[str, str, str], tuple[bytes, str]] = {}
        self.counted: list[tuple[str, str]] = []
        self.receipts: list[bytes | BaseException | None] = [None]
        self.receipted: list[tuple[Incoming, Receipt]] = []

    def status(self, sender: str, message_id: str) -> MessageStatus | None:
        return self.messages.get((sender, message_id))

    def reply(self, sender: str, message_id: str, delivery_id: str) -> tuple[bytes, str] | None:
        return self.replies.get((sender, message_id, delivery_id))

    def receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        answer = self.receipts.pop(0) if len(self.receipts) > 1 else self.receipts[0]
        if isinstance(answer, BaseException):
            raise answer
        self.receipted.append((incoming, receipt))
        return answer

    def count(self, source: str, code: str) -> None:
        self.counted.append((source, code))


class ScriptedIntake:
    """An intake that answers as a test says, and keeps what it was given.

    ``script`` holds a receipt or an exception per call, the first call's first; after its end everything is accepted.
    ``before`` is called with each message before it is answered.
    """

    def __init__(self, *script: Receipt | BaseException, before: Callable[[Incoming], None] | None = None) -> None:
        self.script = list(script)
        self.before = before
        self.offered: list[Incoming] = []
        self._lock = threading.Lock()

    def __call__(self, incoming: Incoming) -> Receipt:
        with self._lock:
            self.offered.append(incoming)
            number = len(self.offered)
            answer = self.script.pop(0) if self.script else None
        if self.before:
            self.before(incoming)
        if isinstance(answer, BaseException):
            raise answer
        return answer or Receipt(_message_id(number))

    @property
    def accept(self) -> Accept:
        """The intake as the type that ``listen`` and ``poll`` take."""
        return self


def make_context(
    base: Path,
    *,
    name: str = "test",
    log: RecordedLog | None = None,
    desk: SenderDesk | None = None,
    clock: Callable[[], Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    sender: str | None = None,
    insecure: str | None = None,
    client_tls: ssl.SSLContext | None = None,
    server_tls: ssl.SSLContext | None = None,
    room: Room | int | None = None,
) -> Context:
    """Return a context whose relative paths count from ``base``.

    ``secrets`` maps ``env:NAME`` or ``file:PATH`` to the secret; it may be changed while the test runs. What is not in
    it cannot be read, as a file that is missing. ``room`` is a source's share of the bytes in flight, or how many these
    are if it is the only source; there is no limit without it.
    """
    known = {} if secrets is None else secrets

    def secret(reference: SecretRef) -> str:
        if str(reference) not in known:
            raise FileNotFoundError(2, "no such secret", str(reference))
        return known[str(reference)]

    def tls(_: TlsSettings) -> ssl.SSLContext:
        return client_tls or ssl.create_default_context()

    def serve_tls(_: TlsSettings) -> ssl.SSLContext:
        if server_tls is None:
            raise FileNotFoundError(2, "the test gives no certificate")
        return server_tls

    return Context(
        name=name,
        log=log or RecordedLog(),
        clock=clock or SettableClock(),
        base=base,
        read=lambda path: (base / path).read_bytes(),
        secret=secret,
        parse=guard.parse,
        tls=tls,
        limits=limits or Limits(),
        insecure=insecure,
        sender=sender,
        desk=desk,
        server_tls=serve_tls,
        room=_room(room, base),
    )


def _room(room: Room | int | None, base: Path) -> Room:
    if room is None:
        return NO_LIMIT
    return Budget(room, Spool(base)).of("test") if isinstance(room, int) else room


def _message_id(number: int) -> Any:
    return f"01920000-0000-7000-8000-{number:012d}"
