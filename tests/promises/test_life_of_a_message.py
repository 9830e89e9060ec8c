"""What happens to a message from its receipt to its end: the invariants of the design, by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hub.delivery import State
from hub.deployment import CheckSpec, StepSpec, Target
from hub.errors import Conflict, Rejected, Unavailable
from hub.inspection import Plan, Rejection
from hub.message import Finding, Incoming, Outgoing, Part
from hub.outcome import Blocked, Deferred, Delivered, Reason, Refused, Taken, Unclear
from hub.store.api import Change, Filter, PayloadRole
from hub.xml.checks.values import Check
from tests.world import HERE, World, antrag, change

WOB, LAS = "wolfsburg/antraege", "statistik/las"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


def test_a_receipt_means_it_is_on_disk(world: World) -> None:
    body = antrag()

    receipt = world.accept(body)
    world.reopen()

    record = world.store.message(receipt.message_id)
    assert record is not None
    assert record.sha256 == hashlib.sha256(body).hexdigest()
    assert {one.destination for one in record.deliveries} == {WOB, LAS}


def test_the_bytes_arrive_unchanged_and_the_same_at_every_attempt(world: World) -> None:
    body = antrag()
    world.adapters[WOB] = adapter = world.adapter(WOB)
    adapter.answers = [Deferred(Reason.BUSY), Deferred(Reason.UNREACHABLE)]

    receipt = world.accept(body)
    for _ in range(3):
        world.deliver_due()
        world.clock.advance(timedelta(hours=2))

    assert [one.body for one in adapter.given] == [body] * 3
    assert len({one.delivery_id for one in adapter.given}) == 1
    assert [one.attempt for one in adapter.given] == [1, 2, 3]
    assert world.delivery(receipt).state is State.DELIVERED


def test_the_same_document_again_gets_the_first_receipt(world: World) -> None:
    body = antrag()

    first, again = world.accept(body), world.accept(body)

    assert again.message_id == first.message_id
    assert again.duplicate
    assert len(world.store.find(Filter())[0]) == 1


def test_the_receipt_of_a_repetition_says_how_the_first_ended(world: World) -> None:
    body = antrag()
    world.accept(body)
    world.deliver_due()

    assert world.accept(body).state == "delivered"


def test_other_content_under_the_same_identity_is_a_conflict_on_record(world: World) -> None:
    same = "7f3c1e52-0a4b-4f0e-9c55-3b1f6f0e0001"
    world.accept(antrag(uuid_=same))

    with pytest.raises(Conflict) as conflict:
        world.accept(antrag(uuid_=same, name="Erika Beispiel"))

    record = world.store.message(conflict.value.id or "")
    assert record is not None
    assert (record.status, record.code) == ("rejected", "conflict")


def test_a_key_of_the_sender_is_its_own_identity(world: World) -> None:
    first = world.accept(antrag(), idempotency_key="auftrag-1")

    assert world.accept(antrag(uuid_=None), idempotency_key="auftrag-2").message_id != first.message_id
    with pytest.raises(Conflict):
        world.accept(antrag(), idempotency_key="auftrag-1")
    assert world.accept(antrag(), sender="portal", idempotency_key="auftrag-1").message_id != first.message_id


def test_a_rejection_binds_no_identity(world: World) -> None:
    same = "7f3c1e52-0a4b-4f0e-9c55-3b1f6f0e0002"
    with pytest.raises(Rejected):
        world.accept(antrag(uuid_=same, ags="99999999"))

    assert not world.accept(antrag(uuid_=same)).duplicate


def test_an_invalid_document_is_rejected_with_findings_and_kept_without_values(world: World) -> None:
    with pytest.raises(Rejected) as rejected:
        world.accept(antrag(ags="Musterfrau"))

    assert rejected.value.code == "schema_violation"
    finding = rejected.value.findings[0]
    assert finding.path.endswith("/a:leser/a:ags")
    assert finding.line == 7
    timeline = world.hub.timeline(rejected.value.id or "")
    assert timeline is not None
    assert timeline.record.status == "rejected"
    assert timeline.findings[0]["line"] == 7
    assert "Musterfrau" not in str(timeline.findings)


def test_an_unknown_addressee_is_the_senders_to_mend(world: World) -> None:
    with pytest.raises(Rejected) as rejected:
        world.accept(antrag(ags="01001000"))

    assert rejected.value.code == "unknown_recipient"
    assert rejected.value.findings[0].line == 7


def test_a_missing_route_is_our_fault_accepted_and_dead(world: World) -> None:
    receipt = world.accept(antrag(ags="03457013"))

    record = world.store.message(receipt.message_id)
    assert record is not None
    assert [(one.state, one.reason) for one in record.deliveries] == [(State.DEAD, "no_route")]
    assert record.status == "attention"
    assert record.owner == "leer"


def test_a_check_that_cannot_run_is_not_passed(world: World) -> None:
    world.registry.profiles = {
        key: replace(profile, level="header") if key == ("antrag", "1.0") else profile
        for key, profile in world.registry.profiles.items()
    }
    world.registry._by_root.clear()
    for profile in world.registry.profiles.values():
        for root in profile.roots:
            for name in root.names:
                world.registry._by_root.setdefault((root.namespace, name), []).append(profile)

    with pytest.raises(Rejected) as rejected:
        world.accept(antrag())

    assert rejected.value.code == "inspection_failed"


def test_a_step_chain_that_fails_kills_only_its_own_delivery(world: World) -> None:
    def broken(_outgoing: Outgoing) -> Outgoing:
        raise Rejected("transform_failed", [Finding("XSLT_RUNTIME", line=3)])

    world.steps["xslt", "kaputt.xsl"] = broken
    step = StepSpec("xslt", "kaputt.xsl", HERE)
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB, (step,)), Target(LAS))))

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).state is State.DEAD
    assert world.delivery(receipt).reason == "transform_failed"
    assert world.delivery(receipt, LAS).state is State.DELIVERED


def test_an_invalid_target_is_never_sent(world: World) -> None:
    def invalid(_outgoing: Outgoing) -> Outgoing:
        raise Rejected("target_invalid", [Finding("SCHEMAV_CVC_PATTERN_VALID")])

    world.steps["validate", "ziel/1.0"] = invalid
    step = StepSpec("validate", "ziel/1.0", HERE)
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB, (step,)),)))

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).reason == "target_invalid"
    assert not world.adapter(WOB).given


def test_destinations_that_get_the_same_bytes_share_them(world: World) -> None:
    world.steps["xslt", "a.xsl"] = lambda outgoing: replace(outgoing, body=b"<ziel/>")
    change(world, antrag=lambda route: replace(route, steps=(StepSpec("xslt", "a.xsl", HERE),)))

    receipt = world.accept()
    world.deliver_due()

    roles = [info.role for info in world.store.payloads(receipt.message_id)]
    assert roles.count(PayloadRole.OUTGOING) == 1
    assert world.adapter(WOB).given[0].body == world.adapter(LAS).given[0].body == b"<ziel/>"


def test_refused_is_dead_at_once_and_says_why(world: World) -> None:
    world.adapter(WOB).answers = [Refused(Reason.REFUSED, "Straße unbekannt", code="rc-17")]

    receipt = world.accept()
    world.deliver_due()

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason, delivery.code) == (State.DEAD, "refused", "rc-17")
    (fault,) = world.hub.payload(receipt.message_id, PayloadRole.FAULT, "Test")
    assert fault.body.decode() == "Straße unbekannt"


def test_a_procedure_down_over_the_weekend_loses_nothing(world: World) -> None:
    world.adapter(WOB).answers = [Deferred(Reason.UNREACHABLE)] * 200

    receipt = world.accept()
    friday = world.clock()
    while world.clock() - friday < timedelta(days=2, hours=14):
        world.deliver_due()
        world.clock.advance(timedelta(minutes=55))
    world.adapter(WOB).answers = []
    world.clock.advance(timedelta(hours=2))
    world.deliver_due()

    assert world.delivery(receipt).state is State.DELIVERED


def test_it_gives_up_by_the_clock_and_waits_for_a_person(world: World) -> None:
    world.adapter(WOB).answers = [Deferred(Reason.UNREACHABLE)] * 400

    receipt = world.accept()
    for _ in range(130):
        world.deliver_due()
        world.clock.advance(timedelta(hours=1, minutes=10))

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason) == (State.DEAD, "gave_up")


def test_retry_after_is_honoured(world: World) -> None:
    world.adapter(WOB).answers = [Deferred(Reason.BUSY, retry_after=timedelta(minutes=7))]

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).due_at == world.clock() + timedelta(minutes=7)


@pytest.mark.parametrize(("rule", "state"), [("retry", State.WAITING), ("hold", State.DEAD)])
def test_unclear_is_what_the_destination_says_it_is(world: World, rule: str, state: State) -> None:
    world.policy = replace(world.policy, on_unclear=rule)  # type: ignore[arg-type]
    world.adapter(WOB).answers = [Unclear(Reason.TIMEOUT)]

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).state is state


def test_four_hundred_behind_an_expired_certificate_are_four_hundred_waiting(world: World) -> None:
    world.adapter(WOB).answers = [Blocked(Reason.PEER_TLS)] * 400
    change(world, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    receipts = [world.accept() for _ in range(40)]

    attempts = world.deliver_due()
    world.clock.advance(timedelta(minutes=1))
    later = world.deliver_due()

    assert attempts == 40  # one claim took them all in this world; the daemon claims max_in_flight
    assert later == 0
    assert {world.delivery(one).state for one in receipts} == {State.WAITING}
    assert [(one.destination, one.reason) for one in world.store.controls(world.clock())] == [(WOB, "peer_tls")]
    world.adapter(WOB).answers = []
    assert world.hub.resume(WOB, "Zertifikat erneuert")
    world.deliver_due()
    assert {world.delivery(one).state for one in receipts} == {State.DELIVERED}


def test_a_blocked_destination_does_not_use_up_the_time_to_give_up(world: World) -> None:
    world.adapter(WOB).answers = [Deferred(Reason.UNREACHABLE), Deferred(Reason.UNREACHABLE)]
    receipt = world.accept()
    world.deliver_due()

    world.hub.pause(WOB, "Wartung", None)
    world.clock.advance(timedelta(days=30))
    world.hub.resume(WOB, "Wartung vorbei")
    world.deliver_due()

    assert world.delivery(receipt).state is State.WAITING


def test_an_html_page_instead_of_a_reply_blocks_the_destination(world: World) -> None:
    world.adapter(WOB).answers = [Unclear(Reason.PEER_PROTOCOL, code="html", blocks=True)]

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).state is State.WAITING
    assert [one.destination for one in world.store.controls(world.clock())] == [WOB]


def test_taken_is_not_delivered(world: World) -> None:
    world.adapter(WOB).answers = [Taken("vorgang-1")]

    receipt = world.accept()
    world.deliver_due()

    assert world.delivery(receipt).state is State.TAKEN


def test_a_bug_in_an_adapter_is_a_deferral_and_its_text_stays_in_the_dark(world: World) -> None:
    world.adapter(WOB).answers = [ValueError("Erika Musterfrau")]

    receipt = world.accept()
    world.deliver_due()

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason, delivery.code) == (State.WAITING, "crashed", "ValueError")


def test_what_was_being_sent_when_the_hub_died_is_unclear_and_not_unsent(world: World) -> None:
    receipt = world.accept()
    (claimed,) = world.claim(WOB)

    world.reopen()
    for delivery in world.store.lost(None):
        world.dispatch.settle(delivery, Unclear(Reason.WORKER_LOST), world.policy)

    delivery = world.delivery(receipt)
    assert delivery.id == claimed.id
    assert (delivery.state, delivery.reason) == (State.WAITING, "worker_lost")
    assert delivery.due_at <= world.clock()


def test_a_late_result_does_not_overwrite_what_happened_meanwhile(world: World) -> None:
    receipt = world.accept()
    (stale,) = world.claim(WOB)
    world.dispatch.settle(stale, Deferred(Reason.BUSY), world.policy)

    world.dispatch.settle(stale, Delivered("zu spät"), world.policy)

    assert world.delivery(receipt).state is State.WAITING


def test_of_one_key_the_next_goes_only_after_the_one_before(world: World) -> None:
    destinations = dict(world.deployment.destinations)
    destinations[WOB] = replace(destinations[WOB], ordered_by="sender")
    world.deployment = replace(world.deployment, destinations=destinations)
    first, second = world.accept(), world.accept()
    world.adapter(WOB).answers = [Refused(Reason.REFUSED)]

    world.deliver_due()
    world.deliver_due()
    assert world.delivery(first).state is State.DEAD
    assert world.delivery(second).state is State.WAITING

    world.act("close", world.delivery(first).id, **{"as": "cancelled"})
    world.deliver_due()
    assert world.delivery(second).state is State.DELIVERED


# --- operators ---------------------------------------------------------------------------------------------------


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

    jobs = [
        world.hub.submit(kind, items, "zweimal gedrückt", {})
        for kind, items in zip(("replay", "replay", "resend"), frozen, strict=True)
    ]
    assert world.jobs.run_open() == 3
    world.deliver_due()

    assert len(world.adapter(WOB).given) == 2  # the one that was refused, and the one replay
    results = [world.store.job(job.id).results[0].result for job in jobs]  # type: ignore[union-attr]
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
    assert world.jobs.run_open() == 1

    done = world.store.job(job.id)
    assert done is not None
    assert [(one.result, one.detail == "RuntimeError") for one in done.results] == [("failed", True), ("done", False)]


def test_what_a_procedure_answered_is_written_down_even_if_the_store_is_away_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.accept()
    (claimed,) = world.claim(WOB)
    apply, away = world.store.apply, iter([True, True, False])

    def flaky(change_: Change) -> object:
        if next(away):
            raise Unavailable("busy")
        return apply(change_)

    monkeypatch.setattr(world.store, "apply", flaky)
    world.dispatch.attempt(claimed, world.deployment.destinations[WOB], world.adapter(WOB))

    assert world.delivery(receipt).state is State.DELIVERED


def test_bytes_that_cannot_be_read_now_are_not_sent_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.accept()

    def away(_delivery: object) -> object:
        raise Unavailable("away")

    monkeypatch.setattr(world.store, "load", away)
    world.deliver_due()

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason, delivery.code) == (State.WAITING, "unreachable", "store")


def test_attachments_are_refused_and_not_lost(world: World) -> None:
    incoming = Incoming(antrag(), "online", "formular", parts=(Part("plan.pdf", "application/pdf", b"%PDF"),))

    with pytest.raises(Rejected) as rejected:
        world.intake.accept(incoming)

    assert rejected.value.code == "media_type"


def test_a_job_that_was_cut_off_goes_on_where_it_was(world: World) -> None:
    ids = [dead(world) for _ in range(3)]
    selection = world.hub.select("resend", ids, None, None)
    job = world.hub.submit("resend", selection.items, "Nacht", {})
    rounds = iter([False, True])

    finished = world.jobs.run(job, lambda: next(rounds))
    world.reopen()
    (left,) = world.store.open_jobs()
    assert not finished
    assert len(left.results) == 1

    assert world.jobs.run_open() == 1
    done = world.store.job(job.id)
    assert done is not None
    assert (done.state, len(done.results)) == ("done", 3)


def test_actions_are_audited_with_actor_and_reason(world: World) -> None:
    id_ = dead(world)
    world.act("resend", id_, reason="Ticket 4711")
    world.hub.pause(WOB, "Wartung bis 6 Uhr", None)

    entries = [(one.action, one.actor, one.reason) for one in world.store.audits()]

    assert ("resend", "erika", "Ticket 4711") in entries
    assert ("pause", "erika", "Wartung bis 6 Uhr") in entries


def test_a_checks_level_is_on_the_verdict(world: World) -> None:
    change(world, antrag=lambda route: replace(route, checks=(CheckSpec(Check("xsd", level="header"), HERE),)))
    plan = world.inspect(replace(_incoming(), body=antrag()))

    assert not hasattr(plan, "code")
    assert [(one.name, one.state) for one in plan.verdict.checks] == [("xsd: header", "done")]  # type: ignore[union-attr]


def _incoming() -> object:
    from datetime import UTC, datetime

    from hub.message import Incoming, MessageId, new_id

    return Incoming(b"", "online", "formular", id=MessageId(new_id()), received_at=datetime(2026, 11, 22, tzinfo=UTC))
