"""What the hub says over HTTP (INTERFACE §4). Who it is comes first, then the head, then the body, then the intake.

path ─▶ method ─▶ token ─▶ headers ─▶ place and room ─▶ body ─▶ accept() in a thread ─▶ 202
 404      405       401     415 400 413     503        413         400 … 422  503
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from math import ceil
from typing import Any, TypeVar

from adapters.http_places import Documents, FullError, GivenUpError, Place
from adapters.http_problems import Answer, problem, standard, standard_receipt
from hub.plugin import (
    Accept,
    Conflict,
    Context,
    Finding,
    HubError,
    Incoming,
    Receipt,
    Rejected,
    TooFast,
    Unavailable,
)

PLACES = 64
"""How many messages are taken in at once."""
DRAINED = 64
"""How many are read on for a while after their refusal. Beyond them it is closed at once."""
SMALL_BYTES = 1_000_000
"""So large is a message at most that is handed in together with others. A larger one has a thread to itself."""

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
FindSender = Callable[[Sequence[bytes]], str | None]
Soon = Callable[[Incoming, Callable[["Receipt | HubError"], None]], None]
T = TypeVar("T")

_ID = r"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
_MEDIA_TYPE = re.compile(
    r'(?:application|text)/xml(?:\s*;\s*charset="?([a-z0-9._:-]{1,40})"?)?', re.IGNORECASE | re.ASCII
)
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,200}")
_LENGTH = re.compile(r"[0-9]{1,19}")
_XML_TYPES = frozenset({"application/xml", "text/xml"})
_REFUSED = re.compile(r"(?:^|;)\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)", re.ASCII)
_REPLY_TYPE = re.compile(r"[\x20-\x7e]{3,200}")


class _ProblemError(Exception):
    """Ends a request with an answer."""

    def __init__(self, code: str, **details: Any) -> None:
        super().__init__(code)
        self.code, self.details = code, details


class MessageApp:
    """The ASGI application of one source."""

    def __init__(self, path: str, find_sender: FindSender, context: Context, accept: Accept, linger: float) -> None:
        self._path, self._find_sender, self._context, self._accept = path, find_sender, context, accept
        self._linger = linger
        self._message = re.compile(re.escape(path) + "/" + _ID)
        self._reply = re.compile(re.escape(path) + "/" + _ID + "/replies/" + _ID)
        self._threads = ThreadPoolExecutor(PLACES, thread_name_prefix=f"accept {context.name}")
        self._documents = Documents(PLACES, context.room)
        self._drained = 0
        self._soon: Soon | None = getattr(accept, "soon", None)
        self._answers = _Answers()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong is an answer, too."""
        body = _Body(receive)
        try:
            answer = await self._answer(scope, body)
        except _ProblemError as error:
            answer = self.refuse(error.code, **error.details)
        except (FullError, GivenUpError) as error:
            answer = self.refuse("unavailable" if isinstance(error, FullError) else "too_slow")
        except (asyncio.CancelledError, Exception) as error:  # noqa: BLE001  never 500: its sender keeps it, we look
            self._context.log.error("request_failed", source=self._context.name, error=type(error).__name__)
            answer = problem("unavailable", self._path)
        if answer is not None:
            await self._send(answer, body, send)

    def refuse(self, code: str, **details: Any) -> Answer:
        """Count a refusal that leaves no record, and return its answer."""
        if self._context.desk:
            self._context.desk.count(self._context.name, code)
        return problem(code, self._path, **details)

    def close(self) -> None:
        """Let the threads go; what hangs in one is not waited for any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, scope: MutableMapping[str, Any], body: _Body) -> Answer | None:
        headers = _Headers(scope["headers"])
        # The raw path: %2e and %2f name no path of ours, whatever they decode to.
        path, method = scope["raw_path"].decode("ascii", "replace"), scope["method"]
        message, reply = self._message.fullmatch(path), self._reply.fullmatch(path)
        if path != self._path and not message and not reply:
            raise _ProblemError("not_found")
        expected = "POST" if path == self._path else "GET"
        if method != expected:
            raise _ProblemError("method", allow=expected)
        sender = self._find_sender(headers.all("authorization"))
        if sender is None:
            raise _ProblemError("unauthenticated")
        if message:
            return await self._in_thread(self._status, sender, message[1])
        if reply:
            return await self._in_thread(self._stored_reply, sender, reply[1], reply[2])
        return await self._take(sender, headers, body)

    # --- handing in

    async def _take(self, sender: str, headers: _Headers, body: _Body) -> Answer | None:
        describe = partial(
            Incoming,
            source=self._context.name,
            sender=sender,
            charset=_charset(headers),
            idempotency_key=headers.one("idempotency-key", _KEY),
            sender_reference=headers.text("sender-reference"),
            recipient=headers.text("recipient"),
        )
        length = headers.one("content-length", _LENGTH)
        if length and int(length) > self._context.limits.max_body:
            raise _ProblemError("body_too_large")
        with self._documents.place() as place:
            place.expect(int(length or 0))
            async with self._documents.coming(place):
                content = await body.read(self._context.limits.max_body, place)
            if content is None:
                return None
            incoming = describe(body=content)
            if self._soon is not None and len(content) <= SMALL_BYTES:
                told = await self._answers.of(partial(self._soon, incoming))
            else:
                told = await self._in_thread(self._hand_in, incoming)
            return await self._answer_to(incoming, told, headers.accepts_xml())

    def _hand_in(self, incoming: Incoming) -> Receipt | HubError:
        try:
            return self._accept(incoming)
        except (Rejected, Conflict, Unavailable) as error:
            return error

    async def _answer_to(self, incoming: Incoming, told: Receipt | HubError, accepts_xml: bool) -> Answer:
        match told:
            case Receipt():
                own = None
                if accepts_xml and self._context.on_accept == "standard":
                    own = await self._in_thread(self._standard_receipt, incoming, told)
                return self._receipt(told, own)
            case Rejected(code=code):
                return self._refusal(code, told, accepts_xml)
            case Conflict():
                return self._refusal("conflict", told, accepts_xml)
            case TooFast(retry_after=retry_after):  # counted by who has refused it, as all that was handed in
                return problem("rate", self._path, retry_after=ceil(retry_after.total_seconds()))
            case _:
                return problem("unavailable", self._path)

    def _refusal(self, code: str, error: Rejected | Conflict, accepts_xml: bool) -> Answer:
        """Return the answer to a document that the hub has judged; the verdict has a record under its own id.

        Where there is one in the standard's own form, and its sender asks for XML, it is that.
        """
        if error.document is not None and accepts_xml:
            return standard(code, error.document, error.id)
        instance = f"{self._path}/{error.id}" if error.id else self._path
        return problem(code, instance, error.findings if isinstance(error, Rejected) else (), id_=error.id)

    def _standard_receipt(self, incoming: Incoming, receipt: Receipt) -> bytes | None:
        if self._context.desk is None:
            return None
        try:
            return self._context.desk.receipt(incoming, receipt)
        except Unavailable:
            return None  # it is on disk, and the hub's own receipt says so

    def _receipt(self, receipt: Receipt, own: bytes | None) -> Answer:
        status, location = 200 if receipt.duplicate else 202, {"location": f"{self._path}/{receipt.message_id}"}
        if own is not None:
            return standard_receipt(status, own, receipt.message_id, location)
        document = {"id": receipt.message_id, "status": "accepted", "duplicate": receipt.duplicate}
        if receipt.duplicate:
            document["state"] = receipt.state
        return Answer(status, _json(document), headers=location)

    # --- asking

    def _status(self, sender: str, message_id: str) -> Answer:
        status = self._context.desk.status(sender, message_id) if self._context.desk else None
        if status is None:
            raise _ProblemError("not_found")
        return Answer(200, _json({"id": message_id, "status": status.status, "deliveries": status.deliveries}))

    def _stored_reply(self, sender: str, message_id: str, delivery_id: str) -> Answer:
        found = self._context.desk.reply(sender, message_id, delivery_id) if self._context.desk else None
        if found is None:
            raise _ProblemError("not_found")
        body, media_type = found
        # A procedure said what it is: it is passed on as that, and never shown as a page of ours.
        safe = media_type if _REPLY_TYPE.fullmatch(media_type) else "application/octet-stream"
        return Answer(200, body, safe, {"content-security-policy": "sandbox; default-src 'none'"})

    # --- transport

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def _send(self, answer: Answer, body: _Body, send: Send) -> None:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers()})
        await send({"type": "http.response.body", "body": answer.body, "more_body": answer.is_error})
        if answer.is_error:
            await self._drain(body)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drain(self, body: _Body) -> None:
        if self._drained < DRAINED:
            self._drained += 1
            try:
                await body.drain(self._linger)
            finally:
                self._drained -= 1


class _Answers:
    """Brings what other threads find to the loop, as much as there is with one call."""

    def __init__(self) -> None:
        self._found: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._coming = False

    async def of(self, ask: Callable[[Callable[[T], None]], None]) -> T:
        """Ask, and wait for the answer."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(answer: T) -> None:
            self._found.append((future, answer))
            if not self._coming:
                self._coming = True
                with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
                    loop.call_soon_threadsafe(self._bring)

        ask(done)
        return await future

    def _bring(self) -> None:
        self._coming = False  # first: what is added from now on calls again
        while self._found:
            future, answer = self._found.popleft()
            if not future.done():
                future.set_result(answer)


class _Body:
    """The body of a request, as it comes in."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def read(self, bytes_max: int, place: Place) -> bytes | None:
        """Return all of it, ``None`` if its sender has gone."""
        body = io.BytesIO()  # unlike a bytearray it gives its bytes without a second copy
        while not self._ended:
            chunk = await self._next()
            if chunk is None:
                return None
            size = body.tell() + len(chunk)
            if size > bytes_max:
                raise _ProblemError("body_too_large")
            place.hold(size)
            body.write(chunk)
        return body.getvalue()

    async def drain(self, seconds: float) -> None:
        """Read what is still sent, for a while: closing now would send a reset, which can overtake the answer."""
        try:
            async with asyncio.timeout(seconds):
                while not self._ended:
                    await self._next()
        except TimeoutError:
            return

    async def _next(self) -> bytes | None:
        event = await self._receive()
        gone = event["type"] != "http.request"
        self._ended = gone or not event["more_body"]
        return None if gone else event["body"]


class _Headers:
    """The headers of a request; one that must be single is an error when it is not."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = raw

    def all(self, name: str) -> list[bytes]:
        return [value for found, value in self._raw if found == name.encode("ascii")]

    def one(self, name: str, pattern: re.Pattern[str], code: str = "header") -> str | None:
        """Return the value, which must fit the pattern, or ``None`` if there is none."""
        values = self.all(name)
        if not values:
            return None
        value = values[0].decode("ascii", "replace").strip()
        if len(values) > 1 or not pattern.fullmatch(value):
            raise _ProblemError(code, **(_about(name, pattern.pattern) if code == "header" else {}))
        return value

    def accepts_xml(self) -> bool:
        """Tell whether the caller names XML among what it takes; ``*/*`` does not, for all used to get JSON."""
        named = b",".join(self.all("accept")).decode("ascii", "replace").lower().split(",")
        ranges = [one.partition(";") for one in named]
        return any(
            media_type.strip() in _XML_TYPES and not _REFUSED.search(parameters) for media_type, _, parameters in ranges
        )

    def text(self, name: str) -> str | None:
        """Return a printable value of at most 200 characters; UTF-8 may stand in it."""
        values = self.all(name)
        if not values:
            return None
        try:
            value = values[0].decode("utf-8").strip()
        except UnicodeDecodeError:
            raise _ProblemError("header", **_about(name, "UTF-8")) from None
        if len(values) > 1 or not 0 < len(value) <= 200 or not value.isprintable():
            raise _ProblemError("header", **_about(name, "1 to 200 printable characters"))
        return value


def _about(name: str, expected: str) -> dict[str, Any]:
    """Return which header it was and what it should be; its value is the sender's, and stays there."""
    return {"findings": [Finding("header", text=f"{name}: expected one value: {expected}")]}


def _charset(headers: _Headers) -> str | None:
    """Return what the transport claims about the encoding, once the media type is right."""
    if headers.all("content-encoding"):
        raise _ProblemError("content_encoding")
    media_type = headers.one("content-type", _MEDIA_TYPE, "media_type")
    if media_type is None:
        raise _ProblemError("media_type")
    match = _MEDIA_TYPE.fullmatch(media_type)
    return match[1] if match else None


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, default=_plain, ensure_ascii=False).encode()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
