"""What operators may do with what is dead or waiting, and that it is done once and on record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from hub.delivery import State
from hub.deployment import StepSpec, Target
from hub.errors import Rejected
from hub.inspection import Plan, Rejection
from hub.message import Finding, Incoming, Outgoing
from hub.outcome import Deferred, Reason, Refused, Unclear
from hub.service import Hub
from tests.world import HERE, World, antrag, change

WOB, LAS = "wolfsburg/antraege", "statistik/las"


def dead(world: World) -> str:
    world.adapter(WOB).answers = [Refused(Reason.REFUSED)]
    receipt = world.accept()
    world.deliver_due()
    assert world.delivery(receipt).state is State.DEAD
    return receipt.message_id


def test_resend_is_the_same_delivery_again(world: World) -> None:
    id_ = dead(world)
    before = world.adapter(WOB).given[-1]

    job = world.act("resend", id_)
    world.deliver_due()

    again = world.adapter(WOB).given[-1]
    assert [one.result for one in job.results] == ["done"]
    assert (again.delivery_id, again.body, again.attempt) == (before.delivery_id, before.body, 1)


def test_replay_plans_anew_closes_the_old_one_and_links_both(world: World) -> None:
    id_ = dead(world)
    record = world.store.message(id_)
    assert record is not None
    old = next(one for one in record.deliveries if one.destination == WOB)

    job = world.act("replay", id_, reason="Verfahren geht wieder")
    world.deliver_due()

    after = world.store.message(id_)
    assert after is not None
    fresh = next(one for one in after.deliveries if one.replay_of == old.id)
    closed = world.store.delivery(old.id)
    assert closed is not None
    assert (closed.state, closed.reason) == (State.CLOSED, "superseded")
    assert fresh.state is State.DELIVERED
    assert fresh.id != old.id
    event = world.store.events(old.id)[-1]
    assert (event.actor, event.job_id) == ("erika", job.id)
    assert len(world.adapter(LAS).given) == 1  # delivered already: not sent again
    assert after.status == "delivered"


def test_replay_of_a_message_without_a_route_goes_where_todays_routes_lead(world: World) -> None:
    receipt = world.accept(antrag(ags="03457013"))
    wolfsburg = world.deployment.destinations[WOB]
    new = replace(wolfsburg, name="leer/antraege", municipality="leer")
    world.deployment = replace(world.deployment, destinations={**world.deployment.destinations, new.name: new})

    world.act("replay", receipt.message_id)
    world.deliver_due()

    assert world.delivery(receipt, "leer/antraege").state is State.DELIVERED
    record = world.store.message(receipt.message_id)
    assert record is not None
    assert record.status == "delivered"


def test_replay_of_a_rejected_document_is_a_new_message_with_a_parent(world: World) -> None:
    with pytest.raises(Rejected) as rejected:
        world.accept(antrag(ags="02000000"))
    id_ = rejected.value.id or ""
    hamburg = replace(world.deployment.municipalities["leer"], key="hamburg", ags="02000000", authorities=())
    world.deployment = replace(world.deployment, municipalities={**world.deployment.municipalities, "hamburg": hamburg})

    job = world.act("replay", id_)

    (result,) = job.results
    assert result.result == "done"
    record = world.store.message(result.detail)
    assert record is not None
    assert (record.parent_id, record.verdict) == (id_, "accepted")


def test_what_is_delivered_is_skipped_unless_again_is_said(world: World) -> None:
    receipt = world.accept()
    world.deliver_due()
    delivery = world.delivery(receipt)

    skipped = world.act("resend", delivery.id)
    again = world.act("resend", delivery.id, again="yes")
    world.deliver_due()

    assert [one.result for one in skipped.results] == ["skipped"]
    assert [one.result for one in again.results] == ["done"]
    assert len(world.adapter(WOB).given) == 2


def test_what_is_being_sent_is_left_alone(world: World) -> None:
    world.accept()
    (sending,) = world.claim(WOB)

    for kind in ("replay", "resend"):
        assert [one.result for one in world.act(kind, sending.id).results] == ["sending"]
    assert [one.result for one in world.act("close", sending.id, **{"as": "cancelled"}).results] == ["sending"]
    unchanged = world.store.delivery(sending.id)
    assert unchanged is not None
    assert unchanged.state is State.SENDING


def test_replan_is_for_what_was_never_sent_and_sends_it_in_todays_shape(world: World) -> None:
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    world.adapter(WOB).answers = [Deferred(Reason.BUSY)]
    tried = world.accept()
    world.deliver_due()
    untried = world.accept()
    world.steps["xslt", "neu.xsl"] = lambda outgoing: replace(outgoing, body=b"<neue-fassung/>")
    step = StepSpec("xslt", "neu.xsl", HERE)
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB, (step,)),)))

    job = world.act("replan", tried.message_id, untried.message_id)
    world.clock.advance(timedelta(minutes=5))
    world.deliver_due()

    assert [one.result for one in job.results] == ["skipped", "done"]
    sent = {one.message.id: one.body for one in world.adapter(WOB).given}
    assert sent[untried.message_id] == b"<neue-fassung/>"
    assert sent[tried.message_id] != b"<neue-fassung/>"


def test_replan_leaves_alone_what_has_not_changed_and_what_may_have_been_sent(world: World) -> None:
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    world.adapter(WOB).answers = [Unclear(Reason.TIMEOUT), Refused(Reason.REFUSED)]
    sent = world.accept()
    world.deliver_due()
    world.clock.advance(timedelta(minutes=5))
    world.deliver_due()
    world.act("resend", sent.message_id)
    untouched = world.accept()

    job = world.act("replan", sent.message_id, untouched.message_id)

    assert world.delivery(sent).attempts == 0  # counted anew since the resend
    assert [(one.result, one.detail) for one in job.results] == [
        ("skipped", "it is waiting after 0 attempts: replan is for what was never sent"),
        ("skipped", "its plan has not changed"),
    ]
    assert [world.delivery(one).state for one in (sent, untouched)] == [State.WAITING, State.WAITING]


def test_two_jobs_for_the_same_dead_letter_send_it_once(world: World) -> None:
    id_ = dead(world)
    frozen = [world.hub.select(kind, [id_], None, None).items for kind in ("replay", "replay", "resend")]

    hubs = [Hub(world.store, world.clock, actor=actor, via="test") for actor in ("erika", "otto", "erika")]
    jobs = [
        hub.submit(kind, items, "zweimal gedrückt", {})
        for hub, kind, items in zip(hubs, ("replay", "replay", "resend"), frozen, strict=True)
    ]
    world.jobs.run_open()
    world.deliver_due()

    assert len(world.adapter(WOB).given) == 2  # the one that was refused, and the one replay
    results = [one.result for job in jobs for one in world.done(job).results]
    assert results == ["done", "skipped", "skipped"]


def test_a_replay_that_is_born_dead_again_is_no_success(world: World) -> None:
    def broken(_outgoing: Outgoing) -> Outgoing:
        raise Rejected("transform_failed", [Finding("XSLT_RUNTIME")])

    id_ = dead(world)
    world.steps["xslt", "kaputt.xsl"] = broken
    step = StepSpec("xslt", "kaputt.xsl", HERE)
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB, (step,)),)))

    (result,) = world.act("replay", id_).results

    assert result.result == "failed"
    assert result.detail.endswith("transform_failed")


def test_a_bug_in_one_item_neither_stops_the_others_nor_comes_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [dead(world) for _ in range(2)]
    job = world.hub.submit("replay", world.hub.select("replay", ids, None, None).items, "Test", {})
    answers = iter([RuntimeError("Erika Musterfrau"), None])
    inspected = world.inspect

    def inspect_once(incoming: Incoming) -> Plan | Rejection:
        if (error := next(answers)) is not None:
            raise error
        return inspected(incoming)

    monkeypatch.setattr(world, "inspect", inspect_once)
    world.jobs.run_open()

    done = world.done(job)
    assert [(one.result, one.detail == "RuntimeError") for one in done.results] == [("failed", True), ("done", False)]


def test_a_job_that_was_cut_off_goes_on_where_it_was(world: World) -> None:
    ids = [dead(world) for _ in range(3)]
    selection = world.hub.select("resend", ids, None, None)
    job = world.hub.submit("resend", selection.items, "Nacht", {})

    finished = world.jobs.run(job, lambda: len(world.done(job).results) == 1)
    world.reopen()
    (left,) = world.store.jobs.unfinished()
    assert not finished
    assert len(world.done(left).results) == 1

    world.jobs.run_open()
    done = world.done(job)
    assert (done.state, len(done.results)) == ("done", 3)


def test_actions_are_audited_with_actor_and_reason(world: World) -> None:
    id_ = dead(world)
    world.act("resend", id_, reason="Ticket 4711")
    world.hub.pause(WOB, "Wartung bis 6 Uhr", None)

    entries = [(one.action, one.actor, one.reason) for one in world.store.audits()]

    assert ("resend", "erika", "Ticket 4711") in entries
    assert ("pause", "erika", "Wartung bis 6 Uhr") in entries
