"""What a worker process does: inspect one document after the other, each alone.

It is a fork of its worker set and shares what that has compiled. A document that kills it harms nobody else. An extra
worker lives for one large document: the daemon hangs up after it, and all memory that it took goes back.

    ◀─ {"incoming", "skip"} + body, parts
    ─▶ {"taken"}: from here on it is the document that kills
    ─▶ {"rejection"}  |  {"verdict"}, then per heading {"planned"} + body
    ─▶ {"spoiled"} instead of the next of these, if no spool file can be written
"""

from __future__ import annotations

import socket

from hub import wire
from hub.inspection import Rejection, Snapshot, examine, perform
from hub.spool import Spool
from hub.xml import trees


def serve(sock: socket.socket, snapshot: Snapshot, spool: Spool) -> None:
    """Inspect what comes until the other end closes."""
    snapshot.programs.compile()  # proved before; here and not at the first document, which would wait for it
    try:
        while True:
            _inspect_one(sock, snapshot, spool)
    except wire.Closed:
        return


def _inspect_one(sock: socket.socket, snapshot: Snapshot, spool: Spool) -> None:
    trees.forget()  # of the document before
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
        try:
            wire.send(sock, {"planned": head}, [] if planned.body is None else [planned.body], spool)
        except wire.Spoiled:
            wire.send(sock, {"spoiled": True})
            return
