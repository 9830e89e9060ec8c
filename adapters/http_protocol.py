"""HTTP/1.1 on one connection, with the limits that uvicorn does not have.

    connection ─head 10 s─▶ request ─body, 60 s in all─▶ answer ─keep-alive 5 s─▶ next request
         └─ too slow: 408 · over 64 headers or 16 kB: 431 · ambiguous framing: 400 ─▶ closed

One request at a time: what a client sends behind an unanswered request is dropped, and the connection is closed after
the answer. So nothing that follows a body can ever be taken for a request of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.http_places import GRACE_SECONDS, Connections
from adapters.http_problems import Answer

HEAD_BYTES_MAX = 16_384
HEADERS_MAX = 64
_HOST = re.compile(rb"[A-Za-z0-9._:\[\]-]{1,255}")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Times in seconds, from the first byte (of a fresh connection: from its opening), and how many at once."""

    head: float = 10
    total: float = 60  # head and body
    keep_alive: int = 5
    linger: float = 2  # how long a closing connection may take to read its answer, or to say what it wants
    finish: int = 30  # how long running requests may take after stop
    connections: int = 512


class _RefusedError(Exception):
    """Carries the code of a refusal through the parser, which wraps what its callbacks raise."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. ``refusal`` counts what never becomes a request, and says how it is answered."""

    def __init__(
        self, *args: Any, bounds: Bounds, places: Connections, refusal: Callable[[str], Answer], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self._places = places
        self._refusal = refusal
        self._timer: asyncio.TimerHandle | None = None
        self._deaf = False  # whatever arrives now is dropped
        self._last = False  # the next request is the last one
        self._begin()

    def _begin(self) -> None:
        self._in_head = True
        self._code = "framing"
        self._started = self.loop.time()
        self._received = self._head_bytes = self._body_bytes = 0

    # --- the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self._begin()
        self._set_timer(self._bounds.head, self._too_slow)
        self._places.opened(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        self._deaf = True
        self._places.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        if self._is_idle():
            self._begin()
            self._places.began(self)
            self._set_timer(self._bounds.head, self._too_slow)
        self._received += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(self._code)
            return
        if self._in_head and self._received > HEAD_BYTES_MAX:
            self._refuse("headers_too_large")
        elif not self._in_head and self._is_padded():
            self._refuse("framing")

    def _is_idle(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and not self._in_head and self._timer is None

    # --- what the parser finds

    def on_message_begin(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            raise _RefusedError  # a second request behind one that is not answered
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            raise _RefusedError  # trailers: nothing may be said about a request after its head was judged
        self._head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_bytes += len(self.url) + 20
        code = self._verdict()
        if code:
            self._code = code
            raise _RefusedError
        self._in_head = False
        self._places.asked(self)
        self._set_timer(self._started + self._bounds.total - self.loop.time(), self._too_slow)
        super().on_headers_complete()
        if self._last:
            self.cycle.keep_alive = False

    def _verdict(self) -> str | None:
        """Return why a head is refused, or ``None``. llhttp has refused CL+TE, double CL, folding and bare LF."""
        if len(self.headers) > HEADERS_MAX or self._head_bytes > HEAD_BYTES_MAX:
            return "headers_too_large"
        version = self.parser.get_http_version()
        hosts = [value for name, value in self.headers if name == b"host"]
        if version not in ("1.0", "1.1") or len(hosts) > 1 or (version == "1.1" and not hosts):
            return "framing"
        if hosts and not _HOST.fullmatch(hosts[0]):
            return "framing"
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if encodings and (encodings != [b"chunked"] or version == "1.0"):
            return "framing"
        if self.parser.should_upgrade():
            return "framing"
        if not self.url.startswith(b"/"):
            return "not_found"  # an absolute URI: this is no proxy
        return None

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._is_padded():
            raise _RefusedError
        self._stop_timer()
        super().on_message_complete()

    def _is_padded(self) -> bool:
        """Return whether much more came than head and body: llhttp counts neither chunks nor their extensions."""
        # A chunk of one byte costs six: a body may be sent so, if somebody must.
        return self._received - self._head_bytes - self._body_bytes > HEAD_BYTES_MAX + 8 * self._body_bytes

    # --- endings

    def shutdown(self) -> None:
        """Close, unless a request is at hand. Who has connected a moment ago, or begun a head, is served once more:
        its request is under way, and closing would be a refusal that nobody has told it.
        """
        fresh = self.cycle is None
        if not fresh and not (self._in_head and self._received):
            super().shutdown()
        elif not self._deaf:
            self._last = True
            self._set_timer(self._bounds.linger, self._too_slow if self._received else self.transport.close)

    def on_response_complete(self) -> None:
        self._stop_timer()
        if self.cycle.more_body:
            self.transport.close()  # answered before all of it came: what follows is no request
        super().on_response_complete()
        if self.transport.is_closing():
            self._set_timer(self._bounds.linger, self.transport.abort)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._set_timer(self._bounds.linger, self.transport.abort)

    def give_up(self) -> None:
        """Make room for another connection. Who is here for a moment only is not slow: it may come again."""
        self._refuse("too_slow" if self.loop.time() - self._started > GRACE_SECONDS else "unavailable")

    def cut(self) -> None:
        """Close at once."""
        self.transport.abort()

    def _too_slow(self) -> None:
        self._timer = None
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.response_started:
            self.transport.abort()  # it has its answer, and goes on sending
        else:
            self._refuse("too_slow")

    def _refuse(self, code: str) -> None:
        """Answer and close. An answer that is on its way already stays the last word."""
        self._deaf = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or not cycle.more_body:
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
        answer = self._refusal(code)
        lines = [b"HTTP/1.1 %d %s" % (answer.status, HTTPStatus(answer.status).phrase.encode())]
        lines += [b"%s: %s" % header for header in answer.raw_headers()]
        self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
        self._linger()

    def _linger(self) -> None:
        self._places.ending(self)
        # Closing with unread bytes makes the kernel send a reset, which can overtake the answer.
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        self._set_timer(self._bounds.linger, self.transport.abort)

    def _set_timer(self, seconds: float, ring: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(max(seconds, 0), ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def protocol_class(bounds: Bounds, refusal: Callable[[str], Answer]) -> type[asyncio.Protocol]:
    """Return what uvicorn calls for each connection."""
    places = Connections(bounds.connections)

    def connect(*args: Any, **kwargs: Any) -> BoundedProtocol:
        return BoundedProtocol(*args, bounds=bounds, places=places, refusal=refusal, **kwargs)

    return cast("type[asyncio.Protocol]", connect)
