"""A specialist procedure behind SOAP that behaves as its script says: procedure.wsdl, versions 1.1 and 1.2.

It notes every document in the ledger before it answers, so that a lost answer and a lost document can be told apart.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from hub import tls
from hub.errors import Rejected
from hub.plugin import TlsSettings
from hub.simulate.script import Answer, Answers, Ledger
from hub.xml import guard

WSDL = Path(__file__).parent / "procedure.wsdl"
NAMESPACE = "urn:xoev-hub:simulate:procedure:1"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP12 = "http://www.w3.org/2003/05/soap-envelope"

RECEIVED_KEPT = 1000
_LIMITS = guard.XmlLimits(max_body=200_000_000, max_text=150_000_000)
_STEP = 0.05  # seconds between two looks at the script
_BAD_SUM = Answer("code", code="98")
_SOAP12_CODES = {"Client": "Sender", "Server": "Receiver"}


@dataclass(frozen=True, slots=True)
class Received:
    """One document as the procedure unpacked it."""

    delivery: str
    document: bytes = field(repr=False)
    intact: bool = True  # the checksum beside it is right, or there is none
    one_way: bool = False
    soap: str = SOAP11


class SoapProcedure:
    """One simulated procedure. Its port stays the same over ``stop`` and ``start``.

    ``settings``: ``listen`` (HOST:PORT, port 0 for any), ``require: {username, password}`` (HTTP Basic) and
    ``tls: {certificate, key, client_ca}``.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], answers: Answers, ledger: Ledger) -> None:
        host, _, port = str(settings.get("listen", "127.0.0.1:0")).rpartition(":")
        self.name = name
        self.answers = answers
        self.ledger = ledger
        self.received: deque[Received] = deque(maxlen=RECEIVED_KEPT)
        self.stopping = threading.Event()
        self._at = (host, int(port))
        self._require = settings.get("require")
        self._tls = tls.server_context(TlsSettings(**settings["tls"]), Path.cwd()) if "tls" in settings else None
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """The address of the service; known once it has started."""
        return f"{'https' if self._tls else 'http'}://{self._at[0]}:{self._at[1]}/ws"

    def start(self) -> None:
        """Listen. Returns when connections are accepted."""
        self.stopping.clear()
        if self.answers.current().kind != "down" or self._at[1] == 0:
            self._listen()
        self._thread = threading.Thread(target=self._serve, name=f"procedure-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections and end those that are open. Safe to call twice."""
        self.stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def allows(self, authorization: str) -> bool:
        """Tell whether a request's Authorization header is the one that is asked for."""
        if self._require is None:
            return True
        pair = f"{self._require['username']}:{self._require['password']}".encode()
        wanted = b"Basic " + base64.b64encode(pair)
        return hmac.compare_digest(authorization.encode("utf-8", "surrogateescape"), wanted)

    def _serve(self) -> None:
        down_since: float | None = None
        while not self.stopping.is_set():
            answer = self.answers.current()
            if answer.kind == "down":
                self._hang_up(busy_too=False)
                down_since = down_since or time.monotonic()
                wait = answer.wait.total_seconds()
                if wait and time.monotonic() - down_since >= wait:
                    self.answers.skip(answer)
                self.stopping.wait(_STEP)
                continue
            down_since = None
            if self._server is None:
                self._listen()
            elif self._server.fileno() >= 0:
                self._server.handle_request()
        self._hang_up(busy_too=True)

    def _listen(self) -> None:
        try:
            self._server = _Server(self._at, self, self._tls)
        except OSError as error:
            raise OSError(f"{self._at[0]}:{self._at[1]}: {error.strerror}") from error
        self._at = (self._at[0], self._server.server_address[1])

    def _hang_up(self, *, busy_too: bool) -> None:
        if self._server is not None:
            self._server.server_close()
            self._server.end_connections(busy_too=busy_too)
            self._server = None


class _Server(ThreadingHTTPServer):
    """Accepts connections; each has a thread of its own, its TLS handshake too."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    timeout = _STEP

    def __init__(self, at: tuple[str, int], procedure: SoapProcedure, secure: ssl.SSLContext | None) -> None:
        self.procedure = procedure
        self._secure = secure
        self._open: set[socket.socket] = set()
        self.busy: set[socket.socket] = set()  # of these, the ones whose document waits for its answer
        super().__init__(at, _Conversation)

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own asks the DNS for the host's name

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        try:
            if self._secure is not None:
                request = self._secure.wrap_socket(request, server_side=True)
                self._open.add(request)
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)
            with suppress(OSError):
                request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a peer that hangs up is what this is for."""

    def end_connections(self, *, busy_too: bool) -> None:
        """End all idle conversations at once, or really all."""
        for request in list(self._open if busy_too else self._open - self.busy):
            with suppress(OSError):
                socket.socket.shutdown(request, socket.SHUT_RDWR)


class _Conversation(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: requests hold what nobody else should read."""

    def do_POST(self) -> None:
        self.server.busy.add(self.connection)
        try:
            self._take()
        finally:
            self.server.busy.discard(self.connection)

    def _take(self) -> None:
        procedure = self.server.procedure
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length or procedure.answers.current().kind == "down":
            self.close_connection = True
            return
        if not procedure.allows(self.headers.get("Authorization", "")):
            self._send(401, b"", "text/plain", {"WWW-Authenticate": 'Basic realm="procedure"'})
            return
        try:
            received = unpack(body, self.headers.get("Idempotency-Key", ""))
        except (Rejected, ValueError):
            self._send(500, _fault(SOAP11, Answer("fault", code="Client", text="Anfrage nicht lesbar")))
            return
        answer = procedure.answers.next() if received.intact else _BAD_SUM
        procedure.received.append(received)
        procedure.ledger.write(
            procedure.name,
            received.delivery,
            sha256=hashlib.sha256(received.document).hexdigest(),
            size=len(received.document),
            answer=answer,
        )
        if procedure.answers.current().kind == "down":
            self.close_connection = True
        self._answer(answer, received)

    def _answer(self, answer: Answer, received: Received) -> None:
        html = b"<html><body>Wartungsarbeiten</body></html>"
        match answer.kind:
            case "hang":
                self.server.procedure.stopping.wait(answer.wait.total_seconds())
                self.close_connection = True
            case "taken-then-cut":
                self._cut(_reply(received, az=_az(answer, received)))
            case "fault" | "taken-then-fault":
                self._send(500, _fault(received.soap, answer))
            case "status":
                extra = {"Retry-After": answer.retry_after} if answer.retry_after else {}
                self._send(answer.status, html, "text/html", extra)
            case "redirect":
                self._send(307, b"", "text/plain", {"Location": f"{self.server.procedure.address}/elsewhere"})
            case "html":
                self._send(200, html, "text/html; charset=utf-8")
            case "empty":
                self._send(200, b"")
            case "garbage":
                self._send(200, b"\x00\x01\x02 <rc>0</rc>")
            case "wrong-element":
                self._send(200, _envelope(received.soap, f'<f:Quittung xmlns:f="{NAMESPACE}"><rc>0</rc></f:Quittung>'))
            case "big":
                self._send(200, _reply(received, az=_az(answer, received), text="." * 2_000_000))
            case "code":
                self._send(200, _reply(received, code=answer.code))
            case _:
                self.server.procedure.stopping.wait(answer.wait.total_seconds())
                reply = b"" if received.one_way else _reply(received, az=_az(answer, received))
                self._send(202 if received.one_way else 200, reply)

    def _send(
        self,
        status: int,
        body: bytes,
        media_type: str = "text/xml; charset=utf-8",
        extra: Mapping[str, str] | None = None,
    ) -> None:
        self.wfile.write(self._head(status, len(body), media_type, extra or {}) + body)

    def _head(self, status: int, length: int, media_type: str, extra: Mapping[str, str]) -> bytes:
        lines = {"Content-Type": media_type, "Content-Length": str(length), **extra}
        lines["Connection"] = "close" if self.close_connection else "keep-alive"
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"HTTP/1.1 {status} {self.responses.get(status, ('', ''))[0]}\r\n{head}\r\n".encode("latin-1")

    def _cut(self, body: bytes) -> None:
        """Send half an answer and reset the connection."""
        self.wfile.write(self._head(200, len(body), "text/xml", {}) + body[: len(body) // 2])
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def unpack(body: bytes, delivery: str) -> Received:
    """Return the document in a request.

    Raises:
        Rejected: The request is no XML that anybody should read.
        ValueError: It is no request of procedure.wsdl.
    """
    root = guard.parse(body, limits=_LIMITS)
    soap = etree.QName(root).namespace or ""
    request = root.find(f"{{{soap}}}Body/*")
    if soap not in (SOAP11, SOAP12) or request is None:
        raise ValueError("no SOAP request")
    if request.tag == f"{{{NAMESPACE}}}Hinweis":
        children = [child for child in request if isinstance(child.tag, str)]
        return Received(delivery, etree.tostring(children[0], with_tail=False), one_way=True, soap=soap)
    if request.tag != f"{{{NAMESPACE}}}Uebergeben":
        raise ValueError("no such operation")
    try:
        document = base64.b64decode(request.findtext("xml") or "", validate=False)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    intact = request.findtext("pruefsumme") == hashlib.sha256(document).hexdigest()
    return Received(delivery, document, intact=intact, soap=soap)


def _az(answer: Answer, received: Received) -> str:
    """Return the file number: the script's, or one that belongs to the delivery's id, the same for a repetition."""
    digest = hashlib.sha256(received.delivery.encode()).digest()
    return answer.az or f"{int.from_bytes(digest[:3], 'big') % 100_000:05d}/26"


def _reply(received: Received, *, code: str = "0", az: str = "", text: str = "") -> bytes:
    rest = f"<az>{escape(az)}</az>" * bool(az) + f"<text>{escape(text)}</text>" * bool(text)
    content = f'<f:UebergebenAntwort xmlns:f="{NAMESPACE}"><rc>{escape(code)}</rc>{rest}</f:UebergebenAntwort>'
    return _envelope(received.soap, content)


def _envelope(soap: str, content: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f'<soap:Envelope xmlns:soap="{soap}"><soap:Body>{content}</soap:Body></soap:Envelope>'
    ).encode()


def _fault(soap: str, answer: Answer) -> bytes:
    code, text = escape(answer.code or "Server"), escape(answer.text)
    if soap == SOAP11:
        content = f"<faultcode>soap:{code}</faultcode><faultstring>{text}</faultstring>"
    else:
        code = _SOAP12_CODES.get(code, code)
        content = (
            f"<soap:Code><soap:Value>soap:{code}</soap:Value></soap:Code>"
            f'<soap:Reason><soap:Text xml:lang="de">{text}</soap:Text></soap:Reason>'
        )
    return _envelope(soap, f"<soap:Fault>{content}</soap:Fault>")
