"""The doors that ``send`` may use: the store itself, when no daemon has it, or a running hub's HTTP source."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import urlsplit

import click

from hub.cli.common import now
from hub.cli.session import Session, actor
from hub.errors import Conflict, Rejected, StoreBusy, Unavailable
from hub.message import Finding, Incoming, MessageId, Receipt
from hub.plugin import SecretRef
from hub.store.api import Audit

if TYPE_CHECKING:
    from hub.deployment import Deployment, Source
    from hub.inspection import Snapshot

TIMEOUT_SECONDS = (5, 90)
CONFLICT = 409
JUDGED = (400, 401, 403, 408, 413, 415, 422, 431)  # it is the document, or its sender; all else may pass


class Door(Protocol):
    """Takes documents in, and closes."""

    def accept(self, incoming: Incoming) -> Receipt: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


def open_door(session: Session, sender: str, source: str | None, url: str | None) -> Door:
    """Return the door for this sender.

    Raises:
        click.UsageError: The sender is not configured, or may use no such source.
        Unavailable: A daemon has the store, and none of its sources can be reached.
        PermissionError: The sender's token cannot be read.
    """
    snapshot = session.snapshot()
    deployment = snapshot.deployment
    if sender not in deployment.senders:
        known = ", ".join(deployment.senders)
        raise click.BadParameter(f"{sender!r} is not configured; known: {known}", param_hint="--sender")
    chosen = _source(deployment, sender, source)
    if url is None:
        try:
            return _Here(session, snapshot, chosen)
        except StoreBusy:
            url = _url(chosen)
    elif urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise click.BadParameter(f"{url!r}, expected an address such as http://127.0.0.1:8080", param_hint="--url")
    elif not urlsplit(url).path.strip("/"):
        url = url.rstrip("/") + getattr(chosen.settings, "path", "/v1/messages")
    return _There(session, chosen, sender, url)


def _source(deployment: Deployment, sender: str, wanted: str | None) -> Source:
    usable = [one for one in deployment.sources.values() if sender in one.senders]
    if wanted is not None:
        usable = [one for one in usable if one.name == wanted]
    if not usable:
        raise click.UsageError(f"{sender} may use no source{f' {wanted}' if wanted else ''}")
    return next((one for one in usable if one.adapter == "http"), usable[0])


def _url(source: Source) -> str:
    listen = getattr(source.settings, "listen", None)
    if listen is None:
        text = f"a daemon has the store, and its source {source.name} takes nothing by HTTP"
        raise Unavailable(f"{text}; hand it in there ({source.adapter}), or say --url of a source that does")
    scheme = "https" if getattr(source.settings, "tls", None) else "http"
    host, _, port = listen.rpartition(":")
    reachable = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # it listens everywhere, so here, too
    return f"{scheme}://{reachable}:{port}{getattr(source.settings, 'path', '/v1/messages')}"


class _Here:
    """The intake in this process, under the store's lock."""

    def __init__(self, session: Session, snapshot: Snapshot, source: Source) -> None:
        from hub.intake import Intake
        from hub.snapshot import OneSnapshot

        store = self._store = session.open_store("daemon")
        session.keep_snapshot(store, snapshot)
        self._source = source
        planning = OneSnapshot(snapshot)
        self._intake = Intake(store, lambda: planning, lambda: snapshot.deployment, now)

    def accept(self, incoming: Incoming) -> Receipt:
        from dataclasses import replace

        receipt = self._intake.accept(replace(incoming, source=self._source.name))
        text = f"for {incoming.sender} by {self._source.name}"
        self._store.audit(Audit(now(), actor(), "cli", "send", receipt.message_id, "", text))
        return receipt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """The store is closed with the session."""


class _There:
    """A running hub, spoken to as any online service does (INTERFACE §4)."""

    def __init__(self, session: Session, source: Source, sender: str, url: str) -> None:
        import requests

        self._url = url
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers["Authorization"] = f"Bearer {_token(session, source, sender)}"

    def accept(self, incoming: Incoming) -> Receipt:
        import requests

        told = {
            "Content-Type": "application/xml",
            "Connection": "close",
            "Idempotency-Key": incoming.idempotency_key,
            "Sender-Reference": incoming.sender_reference,
            "Recipient": incoming.recipient,
        }
        headers = {name: value.encode() for name, value in told.items() if value}
        try:
            answer = self._http.post(
                self._url, data=incoming.body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
            )
            said = answer.json()
        except requests.ConnectionError as error:
            why = "TLS is refused" if isinstance(error, requests.exceptions.SSLError) else "nobody takes the connection"
            text = f"{self._url} does not answer as a hub does: {why}; is it running there, on this address?"
            raise Unavailable(text) from error
        except (requests.RequestException, ValueError) as error:
            raise Unavailable(f"{self._url} does not answer as a hub does ({type(error).__name__})") from error
        if not isinstance(said, dict):
            raise Unavailable(f"{self._url} does not answer as a hub does")
        return self._receipt(answer.status_code, said)

    def _receipt(self, status: int, said: dict[str, Any]) -> Receipt:
        if status in (200, 202) and said.get("id"):
            return Receipt(MessageId(said["id"]), bool(said.get("duplicate")), str(said.get("state", "accepted")))
        if status == CONFLICT:
            raise Conflict("other content under the same identity", said.get("id"))
        if status not in JUDGED:
            raise Unavailable(f"{self._url} says {status} {said.get('code', '')}".rstrip())
        findings = [
            Finding(str(one.get("rule")), str(one.get("path", "")), int(one.get("line") or 0), str(one.get("text", "")))
            for one in said.get("findings", ())
        ]
        raise Rejected(str(said.get("code")), findings, said.get("id"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()


def _token(session: Session, source: Source, sender: str) -> str:
    from hub.secrets import Secrets

    credentials = getattr(source.settings, "senders", {}).get(sender)
    references = [one for one in getattr(credentials, "token", ()) if isinstance(one, SecretRef)]
    for reference in references:
        try:
            return Secrets(session.base).read(reference)
        except (OSError, KeyError):
            continue
    raise PermissionError(f"the token of {sender} cannot be read: {', '.join(map(str, references)) or 'it has none'}")
