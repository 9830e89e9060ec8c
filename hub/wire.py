"""Frames between the daemon and its workers: bytes with their lengths, no pickle.

┌─────────┬────────────┬───────────┬──────────────────┬──────┬──────────────┐
│ u8 kind │ u32 length │ u16 blobs │ i64 size of each │ JSON │ blob, blob … │   numbers big-endian
└─────────┴────────────┴───────────┴──────────────────┴──────┴──────────────┘

A size of -1 is no blob at all. A blob above 1 MB, where both sides have a spool, is one byte with the descriptor of a
spool file; its size is given as -2 - size.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import IO, Any

from pydantic import TypeAdapter

from hub.deployment import Deployment
from hub.errors import Problem
from hub.inspection import Plan, Rejection
from hub.message import Incoming, Part
from hub.spool import Spool, read

PLAN = TypeAdapter(Plan)
REJECTION = TypeAdapter(Rejection)
INCOMING = TypeAdapter(Incoming)
PROBLEM = TypeAdapter(Problem)
DEPLOYMENT = TypeAdapter(Deployment)

HEAD_BYTES_MAX = 64 << 20
BLOB_BYTES_MAX = 1_000_000  # what is larger goes by a spool file
SPOOLED_BYTES_MAX = 1 << 30
RECEIVE_BYTES = 1 << 16
DESCRIPTORS_MAX = 16  # that are with the bytes of one read
_FRAME = struct.Struct(">BIH")
_NONE = -1
_SPOOLED = -2  # minus the size


class Kind(IntEnum):
    """What a frame is."""

    TALK = 0  # between the daemon and a worker set

    ORDER = 1
    PLAN = 2
    REJECTION = 3  # the last word
    TOLD = 4  # a rejection of which the document follows
    DOCUMENT = 5
    SPOILED = 6


class Closed(Exception):
    """The other side has gone."""


class Spoiled(Exception):
    """A spool file could not be written or read: the disk is full, or no descriptor is left."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What one side told the other."""

    kind: int  # of :class:`Kind`
    head: bytes
    blobs: Sequence[bytes | None] = ()

    def json(self) -> Any:
        """Return the head."""
        return json.loads(self.head)

    def contents(self) -> list[bytes]:
        """Return the blobs, of which none is missing."""
        return [blob or b"" for blob in self.blobs]


class Line:
    """One end of a socket. One thread at a time sends, one receives."""

    def __init__(self, sock: socket.socket, spool: Spool | None = None) -> None:
        """With a spool, large blobs go as files."""
        self._sock, self._spool = sock, spool
        self._got = bytearray()
        self._descriptors: deque[int] = deque()

    def send(self, head: bytes | Mapping[str, Any], blobs: Sequence[bytes | None] = (), kind: Kind = Kind.TALK) -> None:
        """Send one frame.

        Raises:
            Closed: The other side has gone.
            Spoiled: A file could not be written; nothing was sent.
            TimeoutError: It does not take the frame in time.
        """
        text = head if isinstance(head, bytes) else json.dumps(head).encode()
        with ExitStack() as files:
            parts: list[bytes | IO[bytes]] = []
            sizes: list[int] = []
            for blob in blobs:
                if blob is None:
                    sizes.append(_NONE)
                elif self._spool is not None and len(blob) > BLOB_BYTES_MAX:
                    parts.append(files.enter_context(_spooled(self._spool, blob)))
                    sizes.append(_SPOOLED - len(blob))
                else:
                    parts.append(blob)
                    sizes.append(len(blob))
            pending = [_FRAME.pack(kind, len(text), len(sizes)), struct.pack(f">{len(sizes)}q", *sizes), text]
            try:
                for part in parts:
                    if isinstance(part, bytes):
                        pending.append(part)
                    else:
                        self._sock.sendall(b"".join(pending))
                        socket.send_fds(self._sock, [b"\0"], [part.fileno()])
                        pending = []
                self._sock.sendall(b"".join(pending))
            except BlockingIOError:
                raise TimeoutError from None
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed from error

    def receive(self, idle: Callable[[], None] | None = None) -> Frame:
        """Return the next frame. ``idle`` is called whenever the socket's own time has passed with nothing.

        Raises:
            Closed: The other side has gone, between two frames or within one.
            Spoiled: A spool file cannot be read; what follows in the socket is not to be trusted any more.
            TimeoutError: Nothing comes in time, and nobody waits for it.
        """
        self._fill(_FRAME.size, idle)
        kind, length, count = _FRAME.unpack_from(self._got)
        if length > HEAD_BYTES_MAX:
            raise Closed
        self._fill(_FRAME.size + 8 * count, idle)
        sizes = struct.unpack_from(f">{count}q", self._got, _FRAME.size)
        self._drop(_FRAME.size + 8 * count)
        head = self._take(length, idle)
        return Frame(kind, head, [self._blob(size, idle) for size in sizes])

    def close(self) -> None:
        """Close this end, and what came with a frame that nobody has read to its end."""
        self._sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def _blob(self, size: int, idle: Callable[[], None] | None) -> bytes | None:
        if size == _NONE:
            return None
        if size >= 0:
            return self._take(size, idle)
        self._take(1, idle)
        if not self._descriptors or _SPOOLED - size > SPOOLED_BYTES_MAX:
            raise Spoiled
        try:
            return read(self._descriptors.popleft(), _SPOOLED - size)
        except OSError as error:
            raise Spoiled from error

    def _take(self, size: int, idle: Callable[[], None] | None) -> bytes:
        self._fill(size, idle)
        taken = bytes(memoryview(self._got)[:size])
        self._drop(size)
        return taken

    def _drop(self, size: int) -> None:
        del self._got[:size]

    def _fill(self, size: int, idle: Callable[[], None] | None) -> None:
        """Read until so many bytes are there."""
        while len(self._got) < size:
            try:
                got, descriptors, flags, _ = socket.recv_fds(
                    self._sock, max(RECEIVE_BYTES, size - len(self._got)), DESCRIPTORS_MAX
                )
            except BlockingIOError:
                if idle is None:
                    raise TimeoutError from None
                idle()
                continue
            except TimeoutError:
                raise
            except OSError as error:
                raise Closed from error
            self._descriptors += descriptors
            if not got or flags & socket.MSG_CTRUNC:
                raise Closed if not got else Spoiled
            self._got += got


def _spooled(spool: Spool, blob: bytes) -> IO[bytes]:
    try:
        return spool.write(blob)
    except OSError as error:
        raise Spoiled from error


def pack_incoming(incoming: Incoming) -> tuple[dict[str, Any], list[bytes]]:
    """Return an incoming document as JSON and blobs: the body, then the parts."""
    head = INCOMING.dump_python(incoming, mode="json", exclude={"body", "parts"})
    head["parts"] = [[part.name, part.media_type] for part in incoming.parts]
    return head, [incoming.body, *(part.body for part in incoming.parts)]


def unpack_incoming(head: dict[str, Any], blobs: list[bytes]) -> Incoming:
    """Return what :func:`pack_incoming` took apart."""
    body, *rest = blobs
    parts = tuple(Part(name, media, blob) for (name, media), blob in zip(head.pop("parts"), rest, strict=True))
    return INCOMING.validate_python({**head, "body": body, "parts": parts})


def pack_plan(plan: Plan) -> bytes:
    """Return a plan as JSON, without the bodies of its deliveries."""
    return PLAN.dump_json(plan, exclude={"deliveries": {"__all__": {"body"}}})


def unpack_plan(head: bytes, bodies: Sequence[bytes | None]) -> Plan:
    """Return what :func:`pack_plan` took apart."""
    plan = PLAN.validate_json(head)
    deliveries = [
        one if body is None else replace(one, body=body) for one, body in zip(plan.deliveries, bodies, strict=True)
    ]
    return replace(plan, deliveries=tuple(deliveries))


def pack_deployment(deployment: Deployment) -> dict[str, Any]:
    """Return a deployment as JSON, without the settings of its adapters: no worker needs them."""
    bare = {"__all__": {"settings"}}
    packed: dict[str, Any] = DEPLOYMENT.dump_python(
        deployment, mode="json", exclude={"destinations": bare, "sources": bare}
    )
    return packed


def unpack_deployment(packed: dict[str, Any]) -> Deployment:
    """Return what :func:`pack_deployment` took apart; adapters have no settings in it."""
    for endpoint in (*packed["destinations"].values(), *packed["sources"].values()):
        endpoint["settings"] = {}
    return DEPLOYMENT.validate_python(packed)
