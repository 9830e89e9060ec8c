"""Taking a message in: is it known, is it acceptable, is it on disk. Then, and only then, a receipt.

judge  known by key or digest? ─▶ its receipt again
       inspect (worker) ─▶ Rejection ─▶ on record ─▶ Rejected
       └▶ Plan
keep   message, payloads, deliveries in one transaction ─▶ Receipt; several messages share it

Each message is judged alone; what has been judged by then is kept together (:mod:`hub.lanes`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NoReturn, Protocol, Self

from hub.delivery import Delivery, State
from hub.deployment import Deployment
from hub.errors import Conflict, HubError, Rejected, Unavailable
from hub.inspection import Plan, Planned, Rejection, message_of
from hub.log import get_log
from hub.message import DeliveryId, Finding, Incoming, MessageId, Receipt, new_id
from hub.outcome import Reason
from hub.store import api
from hub.store.api import Acceptance, MessageRecord, Payload, PayloadRole, Reference, Store
from hub.store.taking import Accepted, Taking

log = get_log(__name__)

DIGEST_BYTES_MIN = 1_000_000


class Planning(Protocol):
    """A snapshot that can inspect: the pool of the daemon, or the one snapshot of a command."""

    def inspect(self, incoming: Incoming, on_stall: Callable[[], None] = ...) -> Plan | Rejection: ...
    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        """Return a rejection that others have decided in the standard's own form, if there is one."""


class Offer(Protocol):
    """Room for deliveries that are about to be accepted; what of it is not used is given back when the block ends."""

    @property
    def taking(self) -> Taking: ...

    def hand_over(self, accepted: Accepted, acceptance: Acceptance) -> None:
        """Have tried at once what was claimed with the message."""

    def fill(self, delivery: Delivery) -> None:
        """Have tried at once one that was claimed for it."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...


class Outlet(Protocol):
    """Where what was accepted goes on, in a daemon."""

    def offer(self, destinations: Collection[str]) -> Offer: ...
    def wake(self, destinations: Collection[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Judged:
    """A message that may be accepted, and all that is to be kept of it."""

    incoming: Incoming
    sha256: str
    plan: Plan
    kept: Acceptance

    @property
    def destinations(self) -> frozenset[str]:
        """Where something of it can go at once."""
        waiting = [one for one in self.kept.deliveries if one.state is State.WAITING]
        return frozenset(one.destination for one in waiting if one.destination)


class Intake:
    """The one way in, for every source and for ``send``."""

    def __init__(
        self,
        store: Store,
        planning: Callable[[], Planning],
        deployment: Callable[[], Deployment],
        clock: Callable[[], datetime],
        outlet: Outlet | None = None,
    ) -> None:
        self._store, self._planning, self._deployment = store, planning, deployment
        self._clock, self._outlet = clock, outlet

    def accept(self, incoming: Incoming, *, parent_id: MessageId | None = None) -> Receipt:
        """Take over responsibility for a message: the ``Accept`` that listeners and pollers are given.

        Raises:
            Rejected: It is not acceptable; the rejection is on record under the exception's id.
            Conflict: The identity is bound to other content; on record likewise.
            Unavailable: Nothing can be inspected or stored now.
        """
        judged = self.judge(incoming, parent_id=parent_id)
        if isinstance(judged, Receipt):
            return judged
        (answer,) = self.keep([judged])
        if isinstance(answer, HubError):
            raise answer
        return answer

    def judge(
        self,
        incoming: Incoming,
        *,
        parent_id: MessageId | None = None,
        on_stall: Callable[[], None] = lambda: None,
    ) -> Judged | Receipt:
        """Return what is to be kept of a message, or the receipt that it has already.

        ``on_stall`` is called, perhaps more than once, when the inspection takes long: others shall not wait for it.

        Raises:
            Rejected, Conflict, Unavailable: As :meth:`accept`.
        """
        sha256 = hashlib.sha256(incoming.body).hexdigest()
        incoming = replace(
            incoming,
            id=incoming.id or MessageId(new_id()),
            received_at=incoming.received_at or self._clock(),
            sha256=sha256,
        )
        if incoming.parts:  # nothing would store or deliver them yet, and a receipt covers everything handed in
            finding = Finding("parts", text="attachments beside the document are not taken")
            record = self._reject(incoming, Rejection("media_type", (finding,)), sha256)
            raise Rejected("media_type", [finding], record)
        known = self._known(incoming, sha256)
        if known is not None:
            return self._again(incoming, known, sha256)
        result = self._planning().inspect(incoming, on_stall)
        if isinstance(result, Rejection):
            record = self._reject(incoming, result, sha256)
            raise Rejected(result.code, result.findings, record, result.document)
        return Judged(incoming, sha256, result, acceptance(incoming, result, parent_id))

    def keep(self, several: Sequence[Judged]) -> Sequence[Receipt | HubError]:
        """Store several messages with one sync, claimed already where a destination has room, and set the others to
        work; return the receipt of each, or what :meth:`accept` would raise.
        """
        with ExitStack() as offers:
            accepted = self._store_all(several, offers)
            return [self._told(one, answer) for one, answer in zip(several, accepted, strict=True)]

    def _store_all(self, several: Sequence[Judged], stack: ExitStack) -> Sequence[Accepted | HubError]:
        if self._outlet is None:
            return self._store.accept_all([(one.kept, None) for one in several])
        offers = [stack.enter_context(self._outlet.offer(one.destinations)) for one in several]
        answers = self._store.accept_all([(one.kept, offer.taking) for one, offer in zip(several, offers, strict=True)])
        others: set[str] = set()
        for one, offer, answer in zip(several, offers, answers, strict=True):
            if isinstance(answer, Accepted):
                offer.hand_over(answer, one.kept)
                if not answer.receipt.duplicate:
                    others |= one.destinations - {delivery.destination for delivery in answer.claimed}
        if others:
            self._outlet.wake(others)
        return answers

    def _told(self, judged: Judged, answer: Accepted | HubError) -> Receipt | HubError:
        """Return what the sender is told, once it is on record."""
        incoming = judged.incoming
        if isinstance(answer, Accepted):
            receipt = answer.receipt
            if not receipt.duplicate:
                log.info("message_accepted", message=receipt.message_id, source=incoming.source, sender=incoming.sender)
            return receipt
        if not isinstance(answer, Conflict):
            return answer
        try:
            self._conflict(incoming, judged.plan, judged.sha256)
        except HubError as error:
            return error

    def _known(self, incoming: Incoming, sha256: str) -> api.Known | None:
        if incoming.idempotency_key:
            return self._store.known(incoming.sender, idempotency_key=incoming.idempotency_key)
        return self._store.known(incoming.sender, sha256=sha256)

    def _again(self, incoming: Incoming, known: api.Known, sha256: str) -> Receipt:
        if known.sha256 != sha256:
            self._conflict(incoming, None, sha256)
        record = self._store.message(known.message_id)
        return Receipt(known.message_id, duplicate=True, state=record.status if record else "open")

    def _conflict(self, incoming: Incoming, plan: Plan | None, sha256: str) -> NoReturn:
        verdict = plan.verdict if plan else None
        finding = Finding("identity", text="the same identity was handed in before with other content")
        rejection = Rejection(
            "conflict",
            (finding,),
            header=verdict.header if verdict else None,
            type=verdict.header.type if verdict else None,
            recipient=verdict.recipient if verdict else None,
            owner=verdict.owner if verdict else None,
            snapshot=verdict.snapshot if verdict else "",
        )
        record = self._reject(incoming, rejection, sha256)
        raise Conflict("other content under the same identity", record, self._document(incoming, rejection))

    def _document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        source = self._deployment().sources.get(incoming.source)
        if source is None or source.on_reject == "problem":
            return None
        try:
            return self._planning().document(incoming, rejection)
        except Unavailable:
            return None  # the problem document will do

    def _reject(self, incoming: Incoming, rejection: Rejection, sha256: str) -> MessageId:
        """Put a rejection on record and return the record's id: that of the first one, if it is the same again."""
        source = self._deployment().sources.get(incoming.source)
        keep = source.keep_rejected.for_ if source else timedelta(0)
        payloads = [findings_payload(rejection.findings)]
        if keep > timedelta(0):
            payloads.append(Payload(new_id(), PayloadRole.RECEIVED, incoming.body))
        assert incoming.received_at is not None
        record = self._store.reject(
            api.Rejection(
                id=incoming.id,
                code=rejection.code,
                source=incoming.source,
                sender=incoming.sender,
                sha256=sha256,
                received_at=incoming.received_at,
                snapshot=rejection.snapshot,
                type=str(rejection.type) if rejection.type else None,
                owner=rejection.owner,
                recipient=rejection.recipient,
                test=rejection.test,
                idempotency_key=incoming.idempotency_key,
                arrival=arrival(incoming),
                payloads=tuple(payloads),
                references=tuple(_sender_reference(incoming)),
                checks=rejection.checks,
            )
        )
        log.info(
            "message_rejected",
            message=record,
            source=incoming.source,
            sender=incoming.sender,
            code=rejection.code,
            count=len(rejection.findings),
        )
        return record


def kept(store: Store, record: MessageRecord) -> tuple[Incoming, str] | None:
    """Return a message as it came in, and the id of its original bytes; ``None``: they are erased."""
    infos = [info for info in store.payloads(record.id) if info.role is PayloadRole.RECEIVED]
    payload = store.payload(infos[0].id) if infos else None
    arrived = store.incoming(record.id)
    if payload is None or arrived is None:
        return None
    return incoming_of(record.id, arrived, payload.body), payload.id


def incoming_of(id_: MessageId, arrival: Mapping[str, Any], body: bytes) -> Incoming:
    """Return a message as it came in."""
    return Incoming(
        body=body,
        source=arrival["source"],
        sender=arrival["sender"],
        idempotency_key=arrival.get("idempotency_key"),
        sender_reference=arrival.get("sender_reference"),
        recipient=arrival.get("recipient"),
        charset=arrival.get("charset"),
        id=id_,
        received_at=arrival["received_at"],
    )


def acceptance(incoming: Incoming, plan: Plan, parent_id: MessageId | None = None) -> Acceptance:
    """Return what the store keeps of a plan: each content once, the original not a second time."""
    verdict = plan.verdict
    received = Payload(new_id(), PayloadRole.RECEIVED, incoming.body, sha256=incoming.digest)
    payloads, deliveries = deliveries_of(incoming, plan, received.id)
    if verdict.findings:
        payloads.append(findings_payload(verdict.findings))
    return Acceptance(
        message=message_of(incoming, verdict),
        identity=verdict.identity,
        payloads=(received, *payloads),
        deliveries=tuple(deliveries),
        references=(*_sender_reference(incoming), *_business_keys(plan)),
        idempotency_key=incoming.idempotency_key,
        parent_id=parent_id,
        arrival=arrival(incoming),
        checks=verdict.checks,
    )


def deliveries_of(
    incoming: Incoming, plan: Plan, received_id: str, planned: Iterable[Planned] | None = None
) -> tuple[list[Payload], list[Delivery]]:
    """Return the deliveries of a plan with the payloads they need beside the original."""
    assert incoming.received_at is not None
    payloads: dict[tuple[bytes, str, str], Payload] = {}
    extra: list[Payload] = []
    deliveries = []
    for one in plan.deliveries if planned is None else planned:
        payload_id: str | None = received_id
        unchanged = one.body is None and one.content_type == "application/xml" and not one.headers
        if one.reason:
            payload_id = None
        elif not unchanged:
            body = incoming.body if one.body is None else one.body
            # Python hashes bytes with every other thread waiting, 100 ms for a large body; hashlib does not.
            content = body if len(body) < DIGEST_BYTES_MIN else hashlib.sha256(body).digest()
            key = (content, one.content_type, json.dumps(dict(one.headers), sort_keys=True))
            fresh = Payload(new_id(), PayloadRole.OUTGOING, body, one.content_type, headers=one.headers)
            payload_id = payloads.setdefault(key, fresh).id
        if one.findings:
            extra.append(findings_payload(one.findings, one.heading.id))
        deliveries.append(
            Delivery(
                id=one.heading.id,
                message_id=incoming.id,
                owner=plan.verdict.owner,
                route=one.heading.route,
                destination=one.heading.destination,
                due_at=incoming.received_at,
                state=State.DEAD if one.reason else State.WAITING,
                reason=Reason(one.reason) if one.reason else "",
                code=one.code,
                payload_id=payload_id,
                order_key=one.heading.order_key,
                snapshot=plan.verdict.snapshot,
            )
        )
    return [*payloads.values(), *extra], deliveries


def findings_payload(findings: Iterable[Finding], delivery_id: DeliveryId | None = None) -> Payload:
    """Return findings as they are kept: rule, path, line, column, level; never a value of the document."""
    kept = [
        {"rule": one.rule, "path": one.path, "line": one.line, "column": one.column, "level": one.level}
        for one in findings
    ]
    body = json.dumps(kept).encode()
    return Payload(new_id(), PayloadRole.FINDINGS, body, "application/json", delivery_id=delivery_id)


def arrival(incoming: Incoming) -> dict[str, str]:
    """Return what a replay must know of how a message came, beside its bytes."""
    kept = {
        "recipient": incoming.recipient,
        "charset": incoming.charset,
        "sender_reference": incoming.sender_reference,
    }
    return {name: value for name, value in kept.items() if value is not None}


def _sender_reference(incoming: Incoming) -> Iterable[Reference]:
    if incoming.sender_reference:
        yield Reference("sender_reference", incoming.sender_reference)


def _business_keys(plan: Plan) -> Iterable[Reference]:
    header = plan.verdict.header
    if header.message_id:
        yield Reference("message_id", header.message_id)
    for name in plan.verdict.business_keys:
        if name in header.keys:
            yield Reference(f"key:{name}", header.keys[name])
