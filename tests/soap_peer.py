"""What the SOAP tests share: settings for the simulated procedure's WSDL, and a peer that answers any bytes."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from adapters.soap import SoapDestination
from adapters.soap_settings import SoapSettings
from hub.plugin import Context, Outcome
from hub.simulate.soap import NAMESPACE, SOAP11, SOAP12, WSDL
from hub.testing import MARKER, make_context, outgoing
from hub.xml import guard

__all__ = [
    "NAMESPACE", "SOAP11", "SOAP12", "Peer", "brief", "canary_server", "deliver", "destination", "http", "reply", "settings", "soap",
    "soap_context",
]  # fmt: skip

Written = bytes | Callable[[socket.socket], None]

PARAMETERS = {
    "mandant": "103",
    "xml": {"payload": "base64"},
    "pruefsumme": {"digest": "sha256", "of": "payload"},
    "vorgang": {"value": "delivery_id"},
}
REPLY = {
    "ok": {"xpath": "//rc", "equals": ["0"]},
    "codes": {"17": "refused", "23": "deferred", "42": "delivered", "90": "blocked", "91": "unclear"},
    "values": {"aktenzeichen": {"xpath": "//az", "pattern": "[0-9/]+"}},
}


def soap_context(base: Path, **changes: Any) -> Context:
    """Return a context with the real guard, and put the WSDL below ``base``."""
    folder = base / "wsdl"
    folder.mkdir(exist_ok=True)
    for file in (WSDL, WSDL.with_suffix(".xsd")):
        shutil.copy(file, folder)
    parse = changes.pop("parse", guard.parse)
    tls = changes.pop("tls", None)
    context = replace(make_context(base, **changes), parse=parse)
    return replace(context, tls=tls) if tls else context


def settings(address: str, /, **changes: Any) -> SoapSettings:
    """Return settings as routes.yaml would give them; a change to ``None`` leaves the key out."""
    written = {
        "wsdl": "wsdl/procedure.wsdl",
        "address": address,
        "operation": "Uebergeben",
        "parameters": PARAMETERS,
        "reply": REPLY,
    } | changes
    return SoapSettings.model_validate({key: value for key, value in written.items() if value is not None})


def destination(context: Context, address: str, /, **changes: Any) -> SoapDestination:
    """Return an opened destination."""
    made = SoapDestination(settings(address, **changes), context)
    made.open()
    return made


def soap(content: str, namespace: str = SOAP11, header: str = "") -> bytes:
    """Return an envelope around ``content``."""
    return f'<s:Envelope xmlns:s="{namespace}">{header}<s:Body>{content}</s:Body></s:Envelope>'.encode()


def reply(content: str = "<rc>0</rc><az>12/34</az>", namespace: str = SOAP11) -> bytes:
    """Return the procedure's reply with this content."""
    return soap(f'<f:UebergebenAntwort xmlns:f="{NAMESPACE}">{content}</f:UebergebenAntwort>', namespace)


def http(status: int, body: bytes = b"", media_type: str | None = "text/xml; charset=utf-8", *more: str) -> bytes:
    """Return an HTTP answer, byte for byte."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *more]
    if media_type is not None:
        lines.append(f"Content-Type: {media_type}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def deliver(context: Context, peer: Peer, answer: bytes, **changes: Any) -> Outcome:
    peer.answer = answer
    made = destination(context, peer.address, **changes)
    outcome = made.deliver(outgoing(deadline=time.monotonic() + 10))
    made.close()
    assert re.fullmatch("[A-Za-z0-9_.-]{0,64}", outcome.code)
    assert MARKER not in repr(outcome)
    return outcome


def brief(outcome: Outcome) -> tuple[object, ...]:
    """Return what counts: the kind, the reason, the code."""
    return (type(outcome), getattr(outcome, "reason", None), outcome.code)


class Peer:
    """Takes requests on loopback and answers each with the bytes it was given, then hangs up.

    ``answer`` may be a function of the connection, called after the request was read. ``taken`` holds head and body of
    each request that arrived whole.
    """

    def __init__(self, answer: Written = b"", tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.taken: list[tuple[bytes, bytes]] = []
        self.handshakes = 0
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/ws"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            connection.settimeout(10)
            if self._tls is None:
                self._exchange(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as secure:
                self.handshakes += 1
                self._exchange(secure)

    def _exchange(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            head = b""
            while (line := stream.readline()) not in (b"\r\n", b""):
                head += line
            length = next(
                (int(line.split(b":")[1]) for line in head.lower().splitlines() if line.startswith(b"content-length")),
                0,
            )
            body = stream.read(length)
            if head and len(body) == length:
                self.taken.append((head, body))
                if callable(self.answer):
                    self.answer(connection)
                else:
                    connection.sendall(self.answer)


@contextmanager
def canary_server() -> Iterator[tuple[str, list[bytes]]]:
    """Count who asks a server that nobody may ask."""
    hits: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            try:
                while True:
                    with listener.accept()[0] as asked:
                        hits.append(asked.recv(100))
            except OSError:
                return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", hits
        listener.shutdown(socket.SHUT_RDWR)
