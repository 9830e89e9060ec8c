"""What a worker process does: inspect one document after the other, each alone.

It is a fork of its worker set and shares what that has compiled. A document that kills it harms nobody else. An extra
worker lives for one large document: the daemon hangs up after it, and all memory that it took goes back.

    ◀─ ORDER {"incoming", "skip", "rejected"?} + body, parts; what the daemon has rejected is only told
    ─▶ PLAN + the body of each delivery
       |  REJECTION, then if its source wants it so: TOLD, and DOCUMENT + the same in its standard's form
       |  SPOILED, if no spool file can be written

Where it is in the meantime stands in its page (:mod:`hub.page`).
"""

from __future__ import annotations

import socket

from hub import rejecting, wire
from hub.inspection import Examined, Plan, Planned, Rejection, Snapshot, examine, perform
from hub.message import Incoming
from hub.page import At, Page
from hub.spool import Spool
from hub.wire import Kind
from hub.xml import trees


def serve(sock: socket.socket, snapshot: Snapshot, spool: Spool, page: Page) -> None:
    """Inspect what comes until the other end closes."""
    snapshot.programs.compile()  # proved before; here and not at the first document, which would wait for it
    line = wire.Line(sock, spool)
    try:
        while True:
            try:
                _inspect_one(line, snapshot, page)
            except wire.Spoiled:
                line.send(b"{}", kind=Kind.SPOILED)
    except wire.Closed:
        return


def _inspect_one(line: wire.Line, snapshot: Snapshot, page: Page) -> None:
    trees.forget()  # of the document before
    frame = line.receive()
    page.move(At.DOCUMENT)
    order = frame.json()
    incoming = wire.unpack_incoming(order["incoming"], frame.contents())
    decided = order.get("rejected")
    examined = wire.REJECTION.validate_python(decided) if decided else examine(incoming, snapshot)
    if isinstance(examined, Rejection):
        _reject(line, incoming, examined, snapshot, page)
        return
    plan = Plan(examined.verdict, tuple(_performed(incoming, examined, snapshot, order["skip"], page)))
    line.send(wire.pack_plan(plan), [one.body for one in plan.deliveries], Kind.PLAN)


def _performed(
    incoming: Incoming, examined: Examined, snapshot: Snapshot, skip: dict[str, str], page: Page
) -> list[Planned]:
    """Return the deliveries, each time saying whose steps are next."""
    done: list[Planned] = []
    headings = examined.verdict.headings
    page.move(At.STEPS, headings[0].destination)
    for planned in perform(incoming, examined, snapshot, skip=skip):
        done.append(planned)
        if len(done) < len(headings):
            page.move(At.STEPS, headings[len(done)].destination)
    return done


def _reject(line: wire.Line, incoming: Incoming, rejection: Rejection, snapshot: Snapshot, page: Page) -> None:
    head = wire.REJECTION.dump_json(rejection, exclude={"document"})
    if not rejecting.wants(incoming, snapshot):
        line.send(head, kind=Kind.REJECTION)
        return
    line.send(head, kind=Kind.TOLD)  # first: should the rest kill us, the verdict stands
    page.move(At.TELLING)
    document = rejecting.document(incoming, rejection, snapshot)
    try:
        line.send(b"{}", [document], Kind.DOCUMENT)
    except wire.Spoiled:
        line.send(b"{}", [None], Kind.DOCUMENT)  # the problem document will do
