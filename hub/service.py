"""The hub as its edges see it: find, understand, act. CLI, daemon and (later) console call nothing deeper.

Every action demands an actor and a reason, becomes a job or a control in one short transaction, and is audited.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hub import view
from hub.delivery import Delivery
from hub.job import Job, JobKind, JobState, Steering
from hub.message import Incoming, MessageId, new_id
from hub.selection import Selection, select
from hub.store.api import Audit, Control, Filter, MessageRecord, Payload, PayloadInfo, PayloadRole, Store
from hub.store.groups_api import Note

PAGE_MAX = 1000
_STEERED: Mapping[JobState, str] = {
    "open": "resume_job",
    "paused": "pause_job",
    "cancelled": "cancel_job",
    "done": "end_job",
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything that is known of one message, without its payload."""

    record: MessageRecord
    events: Mapping[str, Sequence[Any]]
    payloads: Sequence[PayloadInfo]
    findings: Sequence[Mapping[str, Any]]
    replayed_as: Sequence[MessageId] = ()  # the messages that came of handing a rejected one in once more


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
            self.store.replays_of(record.id),
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
        from hub.intake import kept  # here, as it brings the whole inspection along and listings do without

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
        return select(self.store, kind, ids, filter_, limit, again=again)

    def wish(self, kind: JobKind, reason: str, arguments: Mapping[str, str] | None = None) -> Job:
        """Return a job as this actor may ask for it. Nothing is written yet."""
        return Job(new_id(), kind, self._actor, reason, self._clock(), dict(sorted((arguments or {}).items())))

    def submit(
        self, kind: JobKind, items: Sequence[str], reason: str, arguments: Mapping[str, str] | None = None
    ) -> Job:
        """Write down what is to be done; the daemon, or :class:`hub.jobs.Jobs` under the lock, does it.

        Asked twice is asked once: the actor's open job of the same kind and arguments that has all of these items
        already is returned in its place.
        """
        wish = self.wish(kind, reason, arguments)
        job = self.store.jobs.add(wish, items)
        self._audit(kind, f"job {job.id}, {len(items)} items", reason, "" if job.id == wish.id else "open already")
        return job

    def steer(self, id_: str, to: JobState, reason: str) -> bool:
        """Pause, resume or cancel a job; return whether its state allowed that."""
        done = self.store.jobs.steer(Steering(id_, to, self._actor, reason, self._clock()))
        self._audit(_STEERED[to], f"job {id_}", reason, "" if done else "its state does not allow that")
        return done

    def note_reading(self, what: str, reason: str) -> None:
        """Write down that payloads are read, before they are."""
        self._audit("read_payload", what, reason)

    def pause(self, destination: str, reason: str, until: datetime | None) -> None:
        """Claim nothing more for a destination; what is being sent is sent to its end."""
        self.store.hold(Control(destination, "paused", reason, self._clock(), self._actor, until))
        self._audit("pause", destination, reason, f"until {view.time_text(until)}" if until else "")

    def resume(self, destination: str, reason: str) -> bool:
        """Let a paused or blocked destination go on; return whether it was held."""
        held = self.store.release(destination, by=self._actor, now=self._clock())
        self._audit("resume", destination, reason, "released" if held else "was not held")
        return held

    def note(self, fingerprint: str, text: str) -> bool:
        """Write what is known about a group of equal failures; return whether there is such a group."""
        known = self.store.note(Note(fingerprint, self._clock(), self._actor, text))
        if known:
            self._audit("note", f"group {fingerprint}", text)
        return known

    def _audit(self, action: str, object_: str, reason: str, result: str = "") -> None:
        self.store.audit(Audit(self._clock(), self._actor, self._via, action, object_, reason, result))
