"""Delivers to a Briefkasten: a form by HTTP POST, answered by a number in plain text.

    POST ADDRESS                        kennung, dokument, anlage …
    ─▶ 201, or 200 if it had it         text/plain: Eingangsnummer: BK-2026-4711

One question decides between trying again and asking a person: may the Briefkasten have the document? It is answered by
where the attempt was when it ended; therefore connecting, sending and reading are told apart here.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

from hub.plugin import (
    Adapter,
    Blocked,
    Context,
    Deferred,
    Outcome,
    Outgoing,
    Phase,
    Reason,
    Secret,
    Settings,
    TlsSettings,
    Unclear,
)
from pydantic import field_validator

from xoev_hub_briefkasten.form import form_of
from xoev_hub_briefkasten.judgement import Answer, judge
from xoev_hub_briefkasten.watchdog import Watchdog


class BriefkastenSettings(Settings):
    """What routes.yaml says about a destination with ``adapter: briefkasten``. Unknown keys are errors."""

    address: str
    token: Secret | None = None
    tls: TlsSettings = TlsSettings()

    @field_validator("address")
    @classmethod
    def _is_address(cls, address: str) -> str:
        try:
            url = urlsplit(address)
            known = url.scheme in ("http", "https") and url.hostname and url.port != 0 and url.username is None
        except ValueError:
            known = False
        if not known or not address.isascii() or not address.isprintable() or " " in address:
            raise ValueError("expected https://HOST[:PORT]/PATH")  # what was found is not shown: it may hold a password
        return address


class BriefkastenDestination:
    """One Briefkasten. Connects anew for each delivery, so threads share nothing but the settings."""

    def __init__(self, settings: BriefkastenSettings, context: Context) -> None:
        self._settings = settings
        self._context = context
        self._url = urlsplit(settings.address)
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")

    def open(self) -> None:
        """Nothing to acquire: connections come with deliveries."""

    def close(self) -> None:
        """Nothing to release."""

    def deliver(self, outgoing: Outgoing) -> Outcome:
        """Send one form, and say what became of it."""
        left = outgoing.deadline - time.monotonic()
        if left <= 0:
            return Deferred(Reason.UNREACHABLE, code="deadline")
        try:
            authorization = self._authorization()
        except (OSError, KeyError):  # read at every attempt, so a new secret counts at once
            return Blocked(Reason.PEER_AUTH, code="secret-missing")
        try:
            tls = self._context.tls(self._settings.tls) if self._url.scheme == "https" else None
        except OSError:
            return Blocked(Reason.PEER_TLS, code="tls-files")
        connection = http.client.HTTPConnection(str(self._url.hostname), self._port)
        with closing(connection), Watchdog(connection, left) as watchdog:
            failure = self._connect(connection, tls, left)
            if failure is None and watchdog.fired:
                failure = Deferred(Reason.UNREACHABLE, phase=Phase.CONNECTED, code="deadline")
            return failure or self._exchange(connection, outgoing, authorization, watchdog)

    @property
    def _port(self) -> int:
        return self._url.port or (443 if self._url.scheme == "https" else 80)

    def _authorization(self) -> dict[str, str]:
        if self._settings.token is None:
            return {}
        token = self._context.secret(self._settings.token)
        if not token.isascii() or not token.isprintable():
            raise OSError("not a token")  # http.client would quote it in its exception
        return {"Authorization": f"Bearer {token}"}

    def _connect(
        self, connection: http.client.HTTPConnection, tls: ssl.SSLContext | None, left: float
    ) -> Outcome | None:
        """Connect. Nothing of the document is sent here: whatever fails, it was certainly not taken."""
        seconds = min(left, self._context.limits.connect.total_seconds())
        phase = Phase.NONE
        try:
            connection.sock = socket.create_connection((str(self._url.hostname), self._port), seconds)
            phase = Phase.CONNECTED
            if tls is not None:
                connection.sock = tls.wrap_socket(
                    connection.sock, server_hostname=self._url.hostname, do_handshake_on_connect=False
                )
                connection.sock.do_handshake()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # a load balancer with nobody behind it
            return Deferred(Reason.UNREACHABLE, phase=phase, code="tls-ended")
        except ssl.SSLError as error:
            untrusted = isinstance(error, ssl.SSLCertVerificationError)
            return Blocked(Reason.PEER_TLS, phase=phase, code="tls-untrusted" if untrusted else "tls-failed")
        except OSError as error:
            return Deferred(Reason.UNREACHABLE, phase=phase, code=type(error).__name__)
        connection.sock.settimeout(None)  # from here on the watchdog alone counts
        return None

    def _exchange(
        self,
        connection: http.client.HTTPConnection,
        outgoing: Outgoing,
        authorization: dict[str, str],
        watchdog: Watchdog,
    ) -> Outcome:
        """Send and read. From the first byte on, only the peer's own word proves that it has not taken the document."""
        body, content_type = form_of(outgoing)
        sent = True
        try:
            connection.request("POST", self._target, body, {"Content-Type": content_type, **authorization})
        except OSError:
            sent = False  # it may have answered before it had read everything: listen
        try:
            response = connection.getresponse()
            reply = response.read(self._context.limits.max_reply + 1)
        except (OSError, http.client.HTTPException) as error:
            return _lost(error, timed_out=watchdog.fired)
        whole = len(reply) <= self._context.limits.max_reply and not response.length  # of what it said it would send
        return judge(
            Answer(
                status=response.status,
                media_type=(response.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
                retry_after=response.getheader("Retry-After") or "",
                body=reply,
                trusted=sent and whole,
            )
        )


def _lost(error: Exception, *, timed_out: bool) -> Outcome:
    """Return the outcome of an attempt without an answer."""
    if timed_out:
        return Unclear(Reason.TIMEOUT, code="timeout")
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        # In TLS 1.3 a server judges our certificate after our handshake: its alert comes where the answer should.
        return Blocked(Reason.PEER_TLS, phase=Phase.CONNECTED, code="tls-refused")
    return Unclear(Reason.UNCLEAR, code=type(error).__name__)


def check(settings: BriefkastenSettings, _context: Context) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what can be seen without a network; ``xoev-hub check`` puts file and line before it."""
    if settings.token is None and settings.tls.certificate is None:
        yield ("token",), "warning: neither token nor tls.certificate: the Briefkasten cannot know who delivers"


def _make(settings: Any, context: Context) -> BriefkastenDestination:
    return BriefkastenDestination(settings, context)


ADAPTER = Adapter(name="briefkasten", settings=BriefkastenSettings, outbound=_make, check=check)
