"""The hub as its edges see it: find, understand, act. CLI, daemon and (later) console call nothing deeper.

Every action demands an actor and a reason, becomes a job or a control in one short transaction, and is audited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from hub import view
from hub.delivery import Delivery, State
from hub.intake import kept
from hub.message import Incoming, new_id
from hub.store.api import Audit, Control, Filter, Job, MessageRecord, Payload, PayloadInfo, PayloadRole, Store

PAGE_MAX = 1000

JobKind = Literal["replay", "resend", "replan", "close"]

# Which deliveries a message stands for, when a message is named and not a delivery.
MEANT: Mapping[str, frozenset[State]] = {
    "replay": frozenset({State.DEAD}),
    "resend": frozenset({State.DEAD}),
    "replan": frozenset({State.WAITING}),
    "close": frozenset({State.DEAD, State.WAITING}),
}
# And which it may be, when a filter asks for a state.
POSSIBLE: Mapping[str, frozenset[State]] = {
    "replay": frozenset(State) - {State.SENDING},
    "resend": frozenset({State.DEAD, State.DELIVERED, State.CLOSED}),
    "replan": frozenset({State.WAITING}),
    "close": frozenset({State.DEAD, State.WAITING}),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """What an operator's words mean: the items, and the ids that name nothing."""

    items: tuple[str, ...]
    deliveries: tuple[Delivery, ...]
    unknown: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()  # ids that exist but stand for no delivery that fits


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that is known of one message, without its payload."""

    record: MessageRecord
    events: Mapping[str, Sequence[Any]]
    payloads: Sequence[PayloadInfo]
    findings: Sequence[Mapping[str, Any]]


class Hub:
    """Reading and acting on one store, on behalf of ``actor``."""

    def __init__(self, store: Store, clock: Callable[[], datetime], *, actor: str, via: str) -> None:
        self.store, self._clock, self._actor, self._via = store, clock, actor, via

    # --- find and understand

    def find(
        self, filter_: Filter, *, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[MessageRecord], str | None]:
        """Return messages, newest first, and the cursor of the next page."""
        return self.store.find(filter_, limit=min(limit, PAGE_MAX), after=after)

    def timeline(self, id_: str) -> Timeline | None:
        """Return everything about a message, named by its own id or by that of one of its deliveries."""
        record, _ = self._named(id_)
        if record is None:
            return None
        infos = self.store.payloads(record.id)
        return Timeline(
            record,
            {one.id: self.store.events(one.id) for one in record.deliveries},
            infos,
            self._findings(infos),
        )

    def _named(self, id_: str) -> tuple[MessageRecord | None, Sequence[Delivery]]:
        """Return the message that an id names, and those of its deliveries that are meant."""
        if record := self.store.message(id_):
            return record, record.deliveries
        delivery = self.store.delivery(id_)
        return (self.store.message(delivery.message_id), (delivery,)) if delivery else (None, ())

    def _findings(self, infos: Sequence[PayloadInfo]) -> Sequence[Mapping[str, Any]]:
        found = []
        for info in infos:
            if info.role is PayloadRole.FINDINGS and (payload := self.store.payload(info.id)):
                found += [{"delivery": info.delivery_id, **one} for one in view.findings_of(payload.body)]
        return found

    def payload(self, id_: str, role: PayloadRole, reason: str) -> Sequence[Payload]:
        """Return payloads of a role, of each delivery the newest: those of a message, or of one of its deliveries.

        Reading them is an action: it is audited, with the reason.
        """
        record, deliveries = self._named(id_)
        infos = self.store.payloads(record.id) if record else ()
        if role is PayloadRole.OUTGOING:  # the original bytes, where they go out unchanged
            sent = {one.payload_id for one in deliveries}
            found = [info for info in infos if info.id in sent]
        else:
            whole = record is not None and record.id == id_
            meant = {one.id for one in deliveries}
            of_role = [info for info in infos if info.role is role]
            found = [info for info in of_role if info.delivery_id is None and (whole or role is PayloadRole.RECEIVED)]
            found += {info.delivery_id: info for info in of_role if info.delivery_id in meant}.values()
        self._audit("read_payload", f"{id_} {role}", reason, f"{len(found)} found")
        return [payload for info in found if (payload := self.store.payload(info.id))]

    def incoming(self, record: MessageRecord, reason: str) -> Incoming | None:
        """Return a message as it came in; ``None`` if its bytes are erased. Audited, as every reading of a payload."""
        found = kept(self.store, record)
        self._audit("read_payload", f"{record.id} {PayloadRole.RECEIVED}", reason, f"{int(found is not None)} found")
        return found[0] if found else None

    # --- act

    def select(
        self, kind: JobKind, ids: Sequence[str], filter_: Filter | None, limit: int | None, *, again: bool = False
    ) -> Selection:
        """Return the frozen list that ids, or the filters of a listing, mean today, the oldest first.

        ``again``: what was delivered already is meant as well.
        """
        meant = MEANT[kind] | ({State.DELIVERED} if again else frozenset())
        if filter_ is None:
            return self._select_ids(kind, ids, meant, limit)
        if filter_.state == "rejected":
            return self._select_rejected(kind, filter_, limit)
        if filter_.state in set(State):
            meant = POSSIBLE[kind] & {State(filter_.state)}
        found: list[Delivery] = []
        after = 0
        while page := self.store.find_deliveries(filter_, after=after, limit=PAGE_MAX):
            found += [one for one in page if one.state in meant]
            after = page[-1].seq
            if limit is not None and len(found) >= limit:
                break
        found = found[:limit]
        return Selection(tuple(one.id for one in found), tuple(found))

    def _select_rejected(self, kind: JobKind, filter_: Filter, limit: int | None) -> Selection:
        """Return the rejected messages that a replay hands in once more."""
        found: list[str] = []
        after: str | None = None
        while kind == "replay":
            page, after = self.store.find(filter_, limit=PAGE_MAX, after=after)
            found += [record.id for record in page]
            if after is None:
                break
        return Selection(tuple(reversed(found))[:limit], ())

    def _select_ids(self, kind: JobKind, ids: Sequence[str], meant: frozenset[State], limit: int | None) -> Selection:
        items: dict[str, Delivery | None] = {}
        unknown, nothing = [], []
        for id_ in ids:
            delivery = self.store.delivery(id_)
            if delivery is not None:
                items[id_] = delivery
                continue
            record = self.store.message(id_)
            if record is None:
                unknown.append(id_)
            elif record.verdict == "rejected" and kind == "replay":
                items[id_] = None
            elif fitting := [one for one in record.deliveries if one.state in meant]:
                items |= {one.id: one for one in fitting}
            else:
                nothing.append(id_)
        chosen = dict(list(items.items())[:limit])
        deliveries = tuple(one for one in chosen.values() if one is not None)
        return Selection(tuple(chosen), deliveries, tuple(unknown), tuple(nothing))

    def submit(
        self, kind: JobKind, items: Sequence[str], reason: str, arguments: Mapping[str, str] | None = None
    ) -> Job:
        """Write down what is to be done; the daemon, or :class:`hub.jobs.Jobs` under the lock, does it."""
        job = Job(new_id(), kind, self._actor, reason, self._clock(), tuple(items), dict(arguments or {}))
        self.store.add_job(job)
        self._audit(kind, f"job {job.id}, {len(items)} items", reason)
        return job

    def pause(self, destination: str, reason: str, until: datetime | None) -> None:
        """Claim nothing more for a destination; what is being sent is sent to its end."""
        self.store.hold(Control(destination, "paused", reason, self._clock(), self._actor, until))
        self._audit("pause", destination, reason)

    def resume(self, destination: str, reason: str) -> bool:
        """Let a paused or blocked destination go on; return whether it was held."""
        held = self.store.release(destination, by=self._actor, now=self._clock())
        self._audit("resume", destination, reason, "released" if held else "was not held")
        return held

    def _audit(self, action: str, object_: str, reason: str, result: str = "") -> None:
        self.store.audit(Audit(self._clock(), self._actor, self._via, action, object_, reason, result))
