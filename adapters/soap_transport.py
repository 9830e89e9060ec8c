"""One request over HTTP, and how far it got. Knows nothing of SOAP.

One question decides between trying again and asking a person: may the peer have the document? It is answered by where
the attempt was when it ended, never by the exception: the same ConnectionResetError means yes and no. Therefore this
is the standard library's HTTP/1.1, step by step, and no client that connects, sends and repeats on its own. It has no
redirects, no proxies of the environment, no cookies, no netrc and no decompression.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from hub.plugin import Blocked, Deferred, Limits, Outcome, Phase, Reason, Unclear

IDLE_SECONDS_MAX = 4
"""Servers hang up on idle connections, often after 5 s. A request sent into that moment ends unclear, for nothing."""

CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. ``flaw`` says why ``body`` is not what the peer sent: no one may conclude a success from it."""

    status: int
    media_type: str = ""
    retry_after: str = ""
    body: bytes = field(default=b"", repr=False)
    flaw: str = ""  # "" | early | content-encoding | too-large | cut | timeout


class Line:
    """The way to one address. Keeps up to ``max_in_flight`` idle connections; used from as many threads at once.

    ``tls`` is asked for each new connection, so that a renewed certificate counts at once; it raises OSError.
    """

    def __init__(self, address: str, limits: Limits, tls: Callable[[], ssl.SSLContext]) -> None:
        self._url = urlsplit(address)
        self._limits = limits
        self._tls = tls
        self._target = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        self._lock = threading.Lock()
        self._idle: list[tuple[float, _Connection]] = []

    def post(self, body: bytes, headers: Mapping[str, str], deadline: float) -> HttpAnswer | Outcome:
        """Send ``body`` once; return the answer, or the outcome if there is none. ``deadline`` is monotonic time."""
        left = deadline - time.monotonic()
        if left <= 0:
            return Deferred(Reason.UNREACHABLE, code="deadline")
        connection = self._idle_connection()
        if connection is None:
            try:
                connection = self._new_connection(left)
            except OSError:  # of reading key and certificates: ssl.SSLError is one, too
                return Blocked(Reason.PEER_TLS, code="tls-files")
        with _Watchdog(connection, left) as watchdog:
            failure = connection.establish()
            if failure is None and watchdog.fired:
                failure = Deferred(Reason.UNREACHABLE, phase=connection.phase, code="deadline")
            answer = failure or self._exchange(connection, body, headers, watchdog)
        self._put_back(connection, answer)
        return answer

    def close(self) -> None:
        """Hang up on all idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _exchange(
        self, connection: _Connection, body: bytes, headers: Mapping[str, str], watchdog: _Watchdog
    ) -> HttpAnswer | Outcome:
        """Send and read. From the first byte on, only the peer's own word proves that it has not taken the document."""
        if connection.sock is not None:
            connection.sock.settimeout(None)  # the watchdog alone counts from here on
        sent = True
        try:
            connection.request("POST", self._target, body, {"Connection": "keep-alive", **headers})
        except (OSError, http.client.HTTPException):
            sent = False  # a peer may answer, or alert, before it has read everything: listen
        try:
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            phase = Phase.REQUEST_SENT if sent else connection.phase
            return _lost(error, phase, timed_out=watchdog.fired)
        reply, flaw = _read(response, self._limits.max_reply)
        response.close()  # else http.client waits for its end and sends no second request
        if flaw == "cut" and watchdog.fired:
            flaw = "timeout"
        if not sent and 200 <= response.status < 300:
            flaw = "early"
        if response.will_close or not _stays(response):
            connection.close()
        return HttpAnswer(
            status=response.status,
            media_type=(response.getheader("Content-Type") or "").partition(";")[0].strip().lower(),
            retry_after=(response.getheader("Retry-After") or "").strip(),
            body=reply,
            flaw=flaw,
        )

    def _new_connection(self, left: float) -> _Connection:
        secure = self._url.scheme == "https"
        connection = _Connection(
            str(self._url.hostname),
            self._url.port or (443 if secure else 80),
            timeout=min(self._limits.connect.total_seconds(), left),
        )
        connection.tls = self._tls() if secure else None
        return connection

    def _idle_connection(self) -> _Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, connection = self._idle.pop()
            if time.monotonic() - since < IDLE_SECONDS_MAX and not connection.was_hung_up():
                return connection
            connection.close()

    def _put_back(self, connection: _Connection, answer: HttpAnswer | Outcome) -> None:
        if isinstance(answer, HttpAnswer) and not answer.flaw and connection.sock is not None:
            with self._lock:
                if len(self._idle) < self._limits.max_in_flight:
                    self._idle.append((time.monotonic(), connection))
                    return
        connection.close()


class _Connection(http.client.HTTPConnection):
    """A connection that says how far it got, and that another thread can cut."""

    tls: ssl.SSLContext | None = None
    phase = Phase.NONE

    def establish(self) -> Outcome | None:
        """Connect if it is not connected. Nothing is sent here: every failure is certainly "not taken"."""
        if self.sock is not None:
            return None
        try:
            self.connect()
        except socket.gaierror:
            return Deferred(Reason.UNREACHABLE, phase=Phase.NONE, code="dns")
        except ssl.SSLCertVerificationError as error:
            return Blocked(Reason.PEER_TLS, phase=self.phase, code=_VERIFY.get(error.verify_code, "tls-untrusted"))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):  # as a load balancer does that has nobody behind it
            return Deferred(Reason.UNREACHABLE, phase=self.phase, code="tls-failed")
        except ssl.SSLError as error:
            return Blocked(Reason.PEER_TLS, phase=self.phase, code=_tls_code(error))
        except OSError as error:
            layer = "tls" if self.phase is Phase.CONNECTED else "connect"
            known = {TimeoutError: "timeout", ConnectionRefusedError: "refused", ConnectionResetError: "reset"}
            return Deferred(Reason.UNREACHABLE, phase=self.phase, code=f"{layer}-{known.get(type(error), 'failed')}")
        return None

    def connect(self) -> None:
        """Open the socket and shake hands; called by :meth:`establish` and by nobody else."""
        self.phase = Phase.NONE
        try:
            plain = socket.create_connection((self.host, self.port), self.timeout)
        except socket.gaierror:
            raise
        except OSError:
            self.phase = Phase.RESOLVED
            raise
        self.sock = plain
        self.phase = Phase.CONNECTED
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is None:
            return
        # Handed to the watchdog before the handshake: a peer may drip that, too.
        secure = self.tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = secure
        secure.do_handshake()
        self.phase = Phase.TLS

    def was_hung_up(self) -> bool:
        """Tell whether an idle connection is of no more use; a peer that says something unasked has ended it, too."""
        return self.sock is None or bool(select.select([self.sock], [], [], 0)[0])

    def cut(self) -> None:
        """End what another thread is doing with this connection, whatever it is waiting for."""
        sock = self.sock
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's: that one would read on in the clear


class _Watchdog:
    """Cuts the connection at the deadline. A time limit per read would let a peer drip one byte after the other."""

    def __init__(self, connection: _Connection, seconds: float) -> None:
        self.fired = False
        self._over = False
        self._lock = threading.Lock()
        self._connection = connection
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._over = True  # the connection may serve another attempt from now on
        self._timer.cancel()

    def _fire(self) -> None:
        with self._lock:
            if not self._over:
                self.fired = True
                self._connection.cut()


def _read(response: http.client.HTTPResponse, max_reply: int) -> tuple[bytes, str]:
    """Return the body and its flaw."""
    if (response.getheader("Content-Encoding") or "identity").strip().lower() != "identity":
        return b"", "content-encoding"  # nobody asked for it: 200 kB may become 600 MB
    reply = bytearray()
    try:
        while chunk := response.read1(CHUNK):
            reply += chunk
            if len(reply) > max_reply:
                return b"", "too-large"
    except (OSError, http.client.HTTPException, ValueError):  # ValueError: a chunk's size that is none
        return b"", "cut"
    return (b"", "cut") if response.length else (bytes(reply), "")  # length: what Content-Length still owes


def _stays(response: http.client.HTTPResponse) -> bool:
    """Tell whether the peer has promised to keep the connection for long enough.

    HTTP/1.1 means it unsaid, but there are servers that say nothing and hang up.
    """
    promised = "keep-alive" in (response.getheader("Connection") or "").lower()
    seconds = re.search("timeout=([0-9]{1,6})", response.getheader("Keep-Alive") or "")
    return promised and (seconds is None or int(seconds[1]) > IDLE_SECONDS_MAX)


def _lost(error: Exception, phase: Phase, *, timed_out: bool) -> Outcome:
    """Return the outcome of an attempt without an answer."""
    if timed_out or isinstance(error, TimeoutError):
        return Unclear(Reason.TIMEOUT, phase=phase, code="timeout")
    if isinstance(error, ssl.SSLError) and _REFUSED.search(error.reason or ""):
        # In TLS 1.3 our handshake is over before the server has judged our certificate: its alert comes where the
        # answer should, and nobody behind it has seen the request.
        return Blocked(Reason.PEER_TLS, phase=Phase.CONNECTED, code=_tls_code(error))
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.RemoteDisconnected):
        return Unclear(Reason.UNCLEAR, phase=phase, code="http-unreadable")
    return Unclear(Reason.UNCLEAR, phase=phase, code="connection-lost")


_REFUSED = re.compile("ALERT.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE|DECRYPT_ERROR)")
_VERIFY = {
    10: "tls-expired",
    18: "tls-self-signed",
    19: "tls-self-signed",
    20: "tls-unknown-ca",
    21: "tls-unknown-ca",
    62: "tls-hostname",
    64: "tls-hostname",
}


def _tls_code(error: ssl.SSLError) -> str:
    """Return OpenSSL's own constant as a token; its text is not used."""
    return "tls-" + re.sub("[^a-z0-9]+", "-", (error.reason or "error").lower())[:56]
