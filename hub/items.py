"""What a job does with one of its items: resend, replay, replan, close.

    resend  the same delivery again: same id, same bytes
    replay  plan anew from the original bytes with today's snapshot; what it replaces is closed (superseded)
    replan  the same for what waits and was never sent, if its plan has changed: nothing goes out in the old shape
    close   nothing more is needed: cancelled, superseded, or delivered otherwise

One rule: an item is one transaction together with its result, so it is done once, whoever is killed when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from hub.delivery import ClosedAs, Delivery, Event, EventKind, State
from hub.errors import Conflict, IllegalTransition, Rejected, Unavailable
from hub.inspection import Plan, Planned, Rejection
from hub.intake import Intake, Outlet, Planning, deliveries_of, incoming_of
from hub.job import ItemResult, Job
from hub.log import get_log
from hub.message import Incoming, MessageId, new_id
from hub.store.api import Change, Settlement, Store
from hub.store.jobs_api import Subject

log = get_log(__name__)

OVER = frozenset({State.CLOSED, State.DEAD})  # nothing comes of such a delivery any more


class Undone(Exception):
    """An item that is not done; the text says why, without values. ``result``: failed, skipped or sending."""

    def __init__(self, why: str, result: str = "failed") -> None:
        super().__init__(why)
        self.result = result


class Items:
    """Does what jobs say, one item at a time."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        planning: Callable[[], Planning],
        clock: Callable[[], datetime],
        outlet: Outlet | None,
        make_way: Callable[[], None],
    ) -> None:
        self._store, self._intake, self._planning = store, intake, planning
        self._clock, self._outlet, self._make_way = clock, outlet, make_way

    def run(self, job: Job, item: str) -> str:
        """Do one item, write its result down, unless somebody else has, and return it.

        Raises:
            Unavailable: The store or the workers are away; the item has no result.
        """
        try:
            self._do(job, item)
        except Undone as undone:
            return self._record(ItemResult(job.id, item, undone.result, str(undone)))
        except (Conflict, IllegalTransition):
            return self._record(ItemResult(job.id, item, "failed", "it has moved on meanwhile"))
        except Rejected as rejected:
            return self._record(ItemResult(job.id, item, "failed", f"rejected: {rejected.code}"))
        except Unavailable:
            raise  # the job goes on when the store is back
        except Exception as error:  # one item must not stop the others, nor come back at each start
            log.error("job_item_failed", job=job.id, exc_info=error)
            return self._record(ItemResult(job.id, item, "failed", type(error).__name__))
        return "done"

    def _do(self, job: Job, item: str) -> None:
        self._make_way()
        match job.kind:
            case "resend":
                self._resend(job, item)
            case "replay":
                self._replay(job, item)
            case "replan":
                self._replan(job, item)
            case "close":
                self._close(job, item)
            case _:
                assert_never(job.kind)

    def _record(self, result: ItemResult) -> str:
        with suppress(Conflict):  # another node was first, or the job was cancelled
            self._store.apply(Change(item=result))
        return result.result

    def _event(self, job: Job, kind: EventKind, reason: str = "") -> Event:
        now = self._clock()
        return Event(kind, now, due_at=now, reason=reason, actor=job.actor, job_id=job.id)

    def _resend(self, job: Job, item: str) -> None:
        delivery = _movable(self._store.delivery(item))
        if delivery.payload_id is None or delivery.destination is None:
            why = "they are erased" if delivery.attempts else "replay plans them anew"  # for it was born dead
            raise Undone(f"there are no bytes to send: {why}")
        _refuse_unless(delivery, {State.DEAD}, job)
        settlement = Settlement(delivery, self._event(job, EventKind.RESENT))
        self._release(Change(settlements=(settlement,), item=ItemResult(job.id, item, "done")), {delivery.destination})

    def _close(self, job: Job, item: str) -> None:
        delivery = _movable(self._store.delivery(item))
        how = ClosedAs(job.arguments["as"])
        settlement = Settlement(delivery, self._event(job, EventKind.CLOSED, how))
        self._store.apply(Change(settlements=(settlement,), item=ItemResult(job.id, item, "done")))

    def _release(self, change: Change, destinations: set[str]) -> None:
        """Write a change down, with the claim of what can be tried at once: one sync less beside what comes in."""
        self._make_way()
        if self._outlet is None:
            self._store.apply(change)
            return
        with self._outlet.offer(destinations) as offer:
            after = self._store.apply(change, offer.taking)
            claimed = [one for one in after if one.state is State.SENDING]
            for one in claimed:
                offer.fill(one)
        self._outlet.wake(destinations - {one.destination for one in claimed})

    # --- replay

    def _replay(self, job: Job, item: str) -> None:
        subject = self._subject(item)
        if subject.delivery is None and subject.verdict == "rejected":
            self._replay_rejected(job, item, subject)
            return
        old = _movable(subject.delivery)
        # Only these are closed by the replay, so that of two jobs for the same delivery one is fenced off.
        _refuse_unless(old, {State.WAITING, State.DEAD}, job)
        self._plan_anew(job, old, subject)

    def _replan(self, job: Job, item: str) -> None:
        subject = self._subject(item)
        old = _movable(subject.delivery)
        # Attempts count anew after a resend; only without any event was certainly nothing ever sent.
        if old.state is not State.WAITING or old.revision:
            raise Undone(
                f"it is {old.state} after {old.attempts} attempts: replan is for what was never sent", "skipped"
            )
        self._plan_anew(job, old, subject)

    def _plan_anew(self, job: Job, old: Delivery, subject: Subject) -> None:
        """Plan a delivery's message with today's snapshot; what takes its place and its end are one transaction."""
        incoming, received_id = _as_it_came(subject)
        self._make_way()
        plan = self._planning().inspect(replace(incoming, plan_id=new_id(), planned_at=self._clock()))
        if isinstance(plan, Rejection):
            raise Undone(f"today it is rejected: {plan.code}")
        chosen = replacements(old, plan, subject.deliveries, again=job.again)
        if not chosen:
            raise Undone("today's routes lead nowhere else than where it was delivered")
        if job.kind == "replan" and self._says_the_same(old, chosen, incoming):
            raise Undone("its plan has not changed", "skipped")
        payloads, deliveries = deliveries_of(incoming, plan, received_id, chosen)
        closes = old.state in (State.WAITING, State.DEAD)
        superseded = Settlement(old, self._event(job, EventKind.CLOSED, ClosedAs.SUPERSEDED))
        dead = [one for one in deliveries if one.state is State.DEAD]
        ids = " ".join(one.id for one in deliveries)
        result = ItemResult(job.id, old.id, "failed" if dead else "done", f"{ids} {dead[0].reason}" if dead else ids)
        change = Change(
            settlements=(superseded,) if closes else (),
            deliveries=tuple(replace(one, replay_of=old.id, due_at=self._clock()) for one in deliveries),
            message_id=old.message_id,
            payloads=tuple(payloads),
            item=result,
        )
        self._release(change, {one.destination for one in deliveries if one.destination})

    def _says_the_same(self, old: Delivery, chosen: Collection[Planned], incoming: Incoming) -> bool:
        """Tell whether a new plan is the old one: one delivery, to the same place, of the same bytes."""
        payload = self._store.payload(old.payload_id) if old.payload_id else None
        if payload is None or len(chosen) != 1:
            return False
        (one,) = chosen
        new = one.heading
        return (
            not one.reason
            and (new.destination, new.route, new.order_key) == (old.destination, old.route, old.order_key)
            and (incoming.body if one.body is None else one.body) == payload.body
            and (one.content_type, dict(one.headers)) == (payload.media_type, dict(payload.headers))
        )

    def _subject(self, item: str) -> Subject:
        subject = self._store.jobs.subject(item)
        if subject is None:
            raise Undone("there is no such delivery")
        return subject

    def _replay_rejected(self, job: Job, item: str, subject: Subject) -> None:
        incoming, _ = _as_it_came(subject)
        fresh = replace(incoming, id=MessageId(""), received_at=None)
        receipt = self._intake.accept(fresh, parent_id=subject.message_id)
        self._record(ItemResult(job.id, item, "done", receipt.message_id))


def _as_it_came(subject: Subject) -> tuple[Incoming, str]:
    """Return a message as it came in, and the id of its original bytes."""
    if subject.original_id is None:
        raise Undone("its original bytes are erased")
    return incoming_of(subject.message_id, subject.arrival, subject.body), subject.original_id


def _movable(delivery: Delivery | None) -> Delivery:
    if delivery is None:
        raise Undone("there is no such delivery")
    if delivery.state is State.SENDING:
        raise Undone("it is being sent; if no daemon runs, the next start settles it", "sending")
    return delivery


def _refuse_unless(delivery: Delivery, states: Collection[State], job: Job) -> None:
    """Leave alone what needs nothing, unless the operator has said --again."""
    if delivery.state not in states and not job.again:
        raise Undone(f"it is {delivery.state}", "skipped")


def replacements(old: Delivery, plan: Plan, deliveries: Collection[Delivery], *, again: bool) -> list[Planned]:
    """Return which deliveries of a new plan take the place of the old one among those of its message.

    The one to the same destination; if the new plan has none, those to other destinations. None goes where another
    delivery of the message is on its way or has arrived, unless ``again`` is said.
    """
    same = [one for one in plan.deliveries if old.destination and one.heading.destination == old.destination]
    busy = {one.destination for one in deliveries if one.state not in OVER and one.id != old.id}
    return [one for one in same or plan.deliveries if again or one.heading.destination not in busy]
