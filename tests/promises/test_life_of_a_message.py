"""What happens to a message from its first byte to its plan: the invariants of the design, by name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hub.delivery import State
from hub.deployment import CheckSpec, StepSpec, Target
from hub.errors import Conflict, Rejected
from hub.message import Finding, Incoming, MessageId, Outgoing, Part, new_id
from hub.outcome import Deferred, Reason
from hub.store.api import Filter, PayloadRole
from hub.xml.checks.values import Check
from hub.xml.registry import Registry
from tests.world import HERE, World, antrag, change

WOB, LAS = "wolfsburg/antraege", "statistik/las"


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
    profiles = [
        replace(profile, level="header") if profile.standard == "antrag" else profile
        for profile in world.registry.profiles.values()
    ]
    world.registry = Registry(profiles, world.registry._bundles)

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


def test_attachments_are_refused_and_not_lost(world: World) -> None:
    incoming = Incoming(antrag(), "online", "formular", parts=(Part("plan.pdf", "application/pdf", b"%PDF"),))

    with pytest.raises(Rejected) as rejected:
        world.intake.accept(incoming)

    assert rejected.value.code == "media_type"


def test_a_checks_level_is_on_the_verdict(world: World) -> None:
    change(world, antrag=lambda route: replace(route, checks=(CheckSpec(Check("xsd", level="header"), HERE),)))
    plan = world.inspect(replace(_incoming(), body=antrag()))

    assert not hasattr(plan, "code")
    assert [(one.name, one.state) for one in plan.verdict.checks] == [("xsd: header", "done")]  # type: ignore[union-attr]


def _incoming() -> Incoming:
    return Incoming(b"", "online", "formular", id=MessageId(new_id()), received_at=datetime(2026, 11, 22, tzinfo=UTC))
