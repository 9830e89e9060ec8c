"""What happens to a delivery from its first attempt to its end: the invariants of the design, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from hub.delivery import State
from hub.deployment import Target
from hub.dispatch import Claimed
from hub.errors import Unavailable
from hub.outcome import Blocked, Deferred, Delivered, Reason, Refused, Taken, Unclear
from hub.store.api import Change, PayloadRole
from tests.world import World, change

WOB, LAS = "wolfsburg/antraege", "statistik/las"


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
        world.dispatch.settle([(delivery, Unclear(Reason.WORKER_LOST))], world.policy)

    delivery = world.delivery(receipt)
    assert delivery.id == claimed.id
    assert (delivery.state, delivery.reason) == (State.WAITING, "worker_lost")
    assert delivery.due_at <= world.clock()


def test_a_late_result_does_not_overwrite_what_happened_meanwhile(world: World) -> None:
    receipt = world.accept()
    (stale,) = world.claim(WOB)
    world.dispatch.settle([(stale, Deferred(Reason.BUSY))], world.policy)

    world.dispatch.settle([(stale, Delivered("zu spät"))], world.policy)

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


def test_what_a_procedure_answered_is_written_down_even_if_the_store_is_away_for_a_moment(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.accept()
    (claimed,) = world.claim(WOB)
    apply_all, away = world.store.apply_all, iter([True, True, False])

    def flaky(changes: Sequence[Change]) -> object:
        return [Unavailable("busy") for _ in changes] if next(away) else apply_all(changes)

    monkeypatch.setattr(world.store, "apply_all", flaky)
    world.dispatch.attempt([Claimed(claimed)], world.deployment.destinations[WOB], world.adapter(WOB))

    assert world.delivery(receipt).state is State.DELIVERED


def test_bytes_that_cannot_be_read_now_are_not_sent_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = world.accept()

    def away(_deliveries: object) -> object:
        raise Unavailable("away")

    monkeypatch.setattr(world.store, "load_all", away)
    world.deliver_due()

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason, delivery.code) == (State.WAITING, "unreachable", "store")
