"""What a worker process does: inspect one document after the other, each alone.

It is a fork of its worker set and shares what that has compiled. A document that kills it harms nobody else.

    ◀─ {"incoming", "skip"} + body, parts
    ─▶ {"taken"}: from here on it is the document that kills
    ─▶ {"rejection"}  |  {"verdict"}, then per delivery {"planned"} + body, then {"done"}
"""

from __future__ import annotations

import socket

from hub import wire
from hub.inspection import Rejection, Snapshot, examine, perform


def serve(sock: socket.socket, snapshot: Snapshot) -> None:
    """Inspect what comes until the other end closes."""
    try:
        while True:
            _inspect_one(sock, snapshot)
    except wire.Closed:
        return


def _inspect_one(sock: socket.socket, snapshot: Snapshot) -> None:
    order, blobs = wire.receive(sock)
    wire.send(sock, {"taken": True})
    incoming = wire.unpack_incoming(order["incoming"], blobs)
    verdict = examine(incoming, snapshot)
    if isinstance(verdict, Rejection):
        wire.send(sock, {"rejection": wire.REJECTION.dump_python(verdict, mode="json")})
        return
    wire.send(sock, {"verdict": wire.VERDICT.dump_python(verdict, mode="json")})
    for planned in perform(incoming, verdict, snapshot, skip=order["skip"]):
        head = wire.PLANNED.dump_python(planned, mode="json", exclude={"body"})
        wire.send(sock, {"planned": head}, [] if planned.body is None else [planned.body])
    wire.send(sock, {"done": True})
