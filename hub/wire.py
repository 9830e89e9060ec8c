"""Frames between the daemon and its workers: length-prefixed bytes, no pickle.

┌────────────┬───────────────┬─────────────┬──────────────────────┐
│ u32 length │ JSON of that  │ blob, blob, …: as many and as long   │
│ (big end.) │ length        │ as the JSON's "blobs": [n, …] says   │
└────────────┴───────────────┴─────────────┴──────────────────────┘

A blob above 1 MB, where both sides have a spool, is one byte with the descriptor of a spool file: ``{"spool": n}``.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

from pydantic import TypeAdapter

from hub.deployment import Deployment
from hub.errors import Problem
from hub.inspection import Planned, Rejection, Verdict
from hub.message import Incoming, Part
from hub.spool import Spool, read

VERDICT = TypeAdapter(Verdict)
REJECTION = TypeAdapter(Rejection)
PLANNED = TypeAdapter(Planned)
INCOMING = TypeAdapter(Incoming)
PROBLEM = TypeAdapter(Problem)
DEPLOYMENT = TypeAdapter(Deployment)

HEAD_BYTES_MAX = 64 << 20
BLOB_BYTES_MAX = 1_000_000  # what is larger goes by a spool file
SPOOLED_BYTES_MAX = 1 << 30


class Closed(Exception):
    """The other side has gone."""


class Spoiled(Exception):
    """A spool file could not be written or read: the disk is full, or no descriptor is left."""


def send(sock: socket.socket, head: Mapping[str, Any], blobs: Sequence[bytes] = (), spool: Spool | None = None) -> None:
    """Send one frame; with a spool, its large blobs go as files.

    Raises:
        Closed: The other side has gone.
        Spoiled: A file could not be written; nothing was sent.
        TimeoutError: It does not take the frame in time.
    """
    with ExitStack() as files:
        parts: list[bytes | IO[bytes]] = list(blobs)
        sizes: list[int | dict[str, int]] = [len(blob) for blob in blobs]
        if spool is not None and blobs and len(max(blobs, key=len)) > BLOB_BYTES_MAX:
            for at, blob in enumerate(blobs):
                if len(blob) > BLOB_BYTES_MAX:
                    parts[at], sizes[at] = files.enter_context(_spooled(spool, blob)), {"spool": len(blob)}
        text = json.dumps({**head, "blobs": sizes}).encode()
        try:
            pending = struct.pack(">I", len(text)) + text
            for part in parts:
                if isinstance(part, bytes):
                    pending += part
                else:
                    sock.sendall(pending)
                    socket.send_fds(sock, [b"\0"], [part.fileno()])
                    pending = b""
            if pending:
                sock.sendall(pending)
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed from error


def _spooled(spool: Spool, blob: bytes) -> IO[bytes]:
    try:
        return spool.write(blob)
    except OSError as error:
        raise Spoiled from error


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Return the next frame.

    Raises:
        Closed: The other side has gone, between two frames or within one.
        Spoiled: A spool file cannot be read; what follows in the socket is not to be trusted any more.
        TimeoutError: Nothing comes in time.
    """
    (length,) = struct.unpack(">I", _exactly(sock, 4))
    if length > HEAD_BYTES_MAX:
        raise Closed
    head: dict[str, Any] = json.loads(_exactly(sock, length))
    sizes = head.pop("blobs")
    return head, [_exactly(sock, size) if isinstance(size, int) else _unspooled(sock, size["spool"]) for size in sizes]


def _unspooled(sock: socket.socket, size: int) -> bytes:
    try:
        byte, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
    except TimeoutError:
        raise
    except OSError as error:
        raise Closed from error
    if not byte:
        raise Closed
    if not descriptors or size > SPOOLED_BYTES_MAX:
        raise Spoiled
    try:
        return read(descriptors[0], size)
    except OSError as error:
        raise Spoiled from error


def _exactly(sock: socket.socket, size: int) -> bytes:
    buffer = bytearray(size)
    view = memoryview(buffer)
    got = 0
    while got < size:
        try:
            n = sock.recv_into(view[got:])
        except TimeoutError:
            raise
        except OSError as error:
            raise Closed from error
        if not n:
            raise Closed
        got += n
    return bytes(buffer)


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
