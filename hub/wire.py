"""Frames between the daemon and its workers: length-prefixed bytes, no pickle.

┌────────────┬───────────────┬─────────────┬──────────────────────┐
│ u32 length │ JSON of that  │ blob, blob, …: as many and as long   │
│ (big end.) │ length        │ as the JSON's "blobs": [n, …] says   │
└────────────┴───────────────┴─────────────┴──────────────────────┘
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from hub.errors import Problem
from hub.inspection import Planned, Rejection, Verdict
from hub.message import Incoming, Part

VERDICT = TypeAdapter(Verdict)
REJECTION = TypeAdapter(Rejection)
PLANNED = TypeAdapter(Planned)
INCOMING = TypeAdapter(Incoming)
PROBLEM = TypeAdapter(Problem)

HEAD_BYTES_MAX = 64 << 20


class Closed(Exception):
    """The other side has gone."""


def send(sock: socket.socket, head: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send one frame.

    Raises:
        Closed: The other side has gone.
        TimeoutError: It does not take the frame in time.
    """
    text = json.dumps({**head, "blobs": [len(blob) for blob in blobs]}).encode()
    try:
        sock.sendall(struct.pack(">I", len(text)) + text)
        for blob in blobs:
            sock.sendall(blob)
    except TimeoutError:
        raise
    except OSError as error:
        raise Closed from error


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Return the next frame.

    Raises:
        Closed: The other side has gone, between two frames or within one.
        TimeoutError: Nothing comes in time.
    """
    (length,) = struct.unpack(">I", _exactly(sock, 4))
    if length > HEAD_BYTES_MAX:
        raise Closed
    head: dict[str, Any] = json.loads(_exactly(sock, length))
    return head, [_exactly(sock, size) for size in head.pop("blobs")]


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
