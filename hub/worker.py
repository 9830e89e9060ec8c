"""What a worker process does: inspect one document after the other, each alone.

It is a fork of its worker set and shares what that has compiled. A document that kills it harms nobody else. An extra
worker lives for one large document: the daemon hangs up after it, and all memory that it took goes back.

    ◀─ {"incoming", "skip", "rejected"?} + body, parts; what the daemon has rejected is only told
    ─▶ {"taken"}: from here on it is the document that kills
    ─▶ {"rejection", "told"}, if told then {"document"} + the same in its standard's form
       |  {"verdict"}, then per heading {"planned"} + body
    ─▶ {"spoiled"} instead of the next of these, if no spool file can be written
"""

from __future__ import annotations

import socket

from hub import rejecting, wire
from hub.inspection import Rejection, Snapshot, examine, perform
from hub.message import Incoming
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
    decided = order.get("rejected")
    verdict = wire.REJECTION.validate_python(decided) if decided else examine(incoming, snapshot)
    if isinstance(verdict, Rejection):
        _reject(sock, incoming, verdict, snapshot, spool)
        return
    wire.send(sock, {"verdict": wire.VERDICT.dump_python(verdict, mode="json")})
    for planned in perform(incoming, verdict, snapshot, skip=order["skip"]):
        head = wire.PLANNED.dump_python(planned, mode="json", exclude={"body"})
        try:
            wire.send(sock, {"planned": head}, [] if planned.body is None else [planned.body], spool)
        except wire.Spoiled:
            wire.send(sock, {"spoiled": True})
            return


def _reject(sock: socket.socket, incoming: Incoming, rejection: Rejection, snapshot: Snapshot, spool: Spool) -> None:
    told = rejecting.wants(incoming, snapshot)
    head = wire.REJECTION.dump_python(rejection, mode="json", exclude={"document"})
    wire.send(sock, {"rejection": head, "told": told})  # first: should the rest kill us, the verdict stands
    if told:
        document = rejecting.document(incoming, rejection, snapshot)
        try:
            wire.send(sock, {"document": True}, [] if document is None else [document], spool)
        except wire.Spoiled:
            wire.send(sock, {"document": True})  # the problem document will do
