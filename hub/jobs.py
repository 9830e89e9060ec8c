"""What operators ask for: resend, replay, replan, close. A job is a frozen list of items, an actor and a reason.

    resend  the same delivery again: same id, same bytes
    replay  plan anew from the original bytes with today's snapshot; what it replaces is closed (superseded)
    replan  the same for what waits and was never sent, if its plan has changed: nothing goes out in the old shape
    close   nothing more is needed: cancelled, superseded, or delivered otherwise

The daemon runs jobs with its snapshot; without a daemon the command line takes the lock and runs the same function.
Each item is one transaction together with its result, so a job that is cut off goes on where it was.
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
from hub.intake import Intake, Planning, deliveries_of, kept
from hub.log import get_log
from hub.message import Incoming, MessageId, new_id
from hub.store.api import Change, ItemResult, Job, MessageRecord, Settlement, Store

log = get_log(__name__)


OVER = frozenset({State.CLOSED, State.DEAD})  # nothing comes of such a delivery any more


class Undone(Exception):
    """An item that is not done; the text says why, without values. ``result``: failed, skipped or sending."""

    def __init__(self, why: str, result: str = "failed") -> None:
        super().__init__(why)
        self.result = result


class Jobs:
    """Runs jobs, one item after the other."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        planning: Callable[[], Planning],
        clock: Callable[[], datetime],
        wake: Callable[[Collection[str]], None] = lambda _destinations: None,
    ) -> None:
        self._store, self._intake, self._planning = store, intake, planning
        self._clock, self._wake = clock, wake

    def run_open(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Run what is unfinished, oldest first; return how many jobs were finished."""
        finished = 0
        for job in self._store.open_jobs():
            if not self.run(job, stopping):
                break
            finished += 1
        return finished

    def run(self, job: Job, stopping: Callable[[], bool] = lambda: False) -> bool:
        """Run the items that have no result yet; return whether the job is finished."""
        done = {result.item for result in job.results}
        for item in job.items:
            if item in done:
                continue
            if stopping():
                return False
            self._run_item(job, item)
        self._store.finish_job(job.id)
        log.info("job_finished", job=job.id, count=len(job.items))
        return True

    def _run_item(self, job: Job, item: str) -> None:
        try:
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
        except Undone as undone:
            self._record(ItemResult(job.id, item, undone.result, str(undone)))
        except (Conflict, IllegalTransition):
            self._record(ItemResult(job.id, item, "failed", "it has moved on meanwhile"))
        except Rejected as rejected:
            self._record(ItemResult(job.id, item, "failed", f"rejected: {rejected.code}"))
        except Unavailable:
            raise  # the job goes on when the store is back
        except Exception as error:  # one item must not stop the others, nor come back at each start
            log.error("job_item_failed", job=job.id, exc_info=error)
            self._record(ItemResult(job.id, item, "failed", type(error).__name__))

    def _record(self, result: ItemResult) -> None:
        with suppress(Conflict):  # another node was first
            self._store.apply(Change(item=result))

    def _event(self, job: Job, kind: EventKind, reason: str = "") -> Event:
        now = self._clock()
        return Event(kind, now, due_at=now, reason=reason, actor=job.actor, job_id=job.id)

    def _delivery(self, item: str) -> Delivery:
        delivery = self._store.delivery(item)
        if delivery is None:
            raise Undone("there is no such delivery")
        if delivery.state is State.SENDING:
            raise Undone("it is being sent; if no daemon runs, the next start settles it", "sending")
        return delivery

    def _resend(self, job: Job, item: str) -> None:
        delivery = self._delivery(item)
        if delivery.payload_id is None or delivery.destination is None:
            raise Undone("there are no bytes to send: replay plans them anew")
        _refuse_unless(delivery, {State.DEAD}, job)
        settlement = Settlement(delivery, self._event(job, EventKind.RESENT))
        self._store.apply(Change(settlements=(settlement,), item=ItemResult(job.id, item, "done")))
        self._wake([delivery.destination])

    def _close(self, job: Job, item: str) -> None:
        delivery = self._delivery(item)
        how = ClosedAs(job.arguments["as"])
        settlement = Settlement(delivery, self._event(job, EventKind.CLOSED, how))
        self._store.apply(Change(settlements=(settlement,), item=ItemResult(job.id, item, "done")))

    # --- replay

    def _replay(self, job: Job, item: str) -> None:
        record = self._store.message(item)
        if record is not None and record.verdict == "rejected":
            self._replay_rejected(job, item, record)
            return
        old = self._delivery(item)
        # Only these are closed by the replay, so that of two jobs for the same delivery one is fenced off.
        _refuse_unless(old, {State.WAITING, State.DEAD}, job)
        self._plan_anew(job, old)

    def _replan(self, job: Job, item: str) -> None:
        old = self._delivery(item)
        # Attempts count anew after a resend; only without any event was certainly nothing ever sent.
        if old.state is not State.WAITING or old.revision:
            raise Undone(
                f"it is {old.state} after {old.attempts} attempts: replan is for what was never sent", "skipped"
            )
        self._plan_anew(job, old)

    def _plan_anew(self, job: Job, old: Delivery) -> None:
        """Plan a delivery's message with today's snapshot; what takes its place and its end are one transaction."""
        record = self._store.message(old.message_id)
        if record is None:
            raise Undone("its message is gone")
        incoming, received_id = self._incoming(record)
        plan = self._planning().inspect(replace(incoming, plan_id=new_id(), planned_at=self._clock()))
        if isinstance(plan, Rejection):
            raise Undone(f"today it is rejected: {plan.code}")
        chosen = _replacements(old, plan, record, again="again" in job.arguments)
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
        self._store.apply(
            Change(
                settlements=(superseded,) if closes else (),
                deliveries=tuple(replace(one, replay_of=old.id, due_at=self._clock()) for one in deliveries),
                message_id=record.id,
                payloads=tuple(payloads),
                item=result,
            )
        )
        self._wake({one.destination for one in deliveries if one.destination})

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

    def _replay_rejected(self, job: Job, item: str, record: MessageRecord) -> None:
        incoming, _ = self._incoming(record)
        fresh = replace(incoming, id=MessageId(""), received_at=None)
        receipt = self._intake.accept(fresh, parent_id=record.id)
        self._record(ItemResult(job.id, item, "done", receipt.message_id))

    def _incoming(self, record: MessageRecord) -> tuple[Incoming, str]:
        """Return a message as it came in, and the id of its original bytes."""
        found = kept(self._store, record)
        if found is None:
            raise Undone("its original bytes are erased")
        return found


def _refuse_unless(delivery: Delivery, states: Collection[State], job: Job) -> None:
    """Leave alone what needs nothing, unless the operator has said --again."""
    if delivery.state not in states and "again" not in job.arguments:
        raise Undone(f"it is {delivery.state}", "skipped")


def _replacements(old: Delivery, plan: Plan, record: MessageRecord, *, again: bool) -> list[Planned]:
    """Return which deliveries of a new plan take the place of the old one.

    The one to the same destination; if the new plan has none, those to other destinations. None goes where another
    delivery of the message is on its way or has arrived, unless ``again`` is said.
    """
    same = [one for one in plan.deliveries if old.destination and one.heading.destination == old.destination]
    busy = {one.destination for one in record.deliveries if one.state not in OVER and one.id != old.id}
    return [one for one in same or plan.deliveries if again or one.heading.destination not in busy]
