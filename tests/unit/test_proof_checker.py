"""The checker of the proofs finds each kind of broken promise, one by one; over an orderly account it finds none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hub.selftest.checker import KINDS, Given, Verdict, check
from hub.selftest.ledgers import Receipt
from hub.store.accounting import DAMAGED, Account, KeptDelivery, KeptMessage

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
DELIVERED = ((1, "claimed"), (2, "delivered"))
DIED = ((1, "claimed"), (2, "died"))


def message(number: int, **changes: Any) -> KeptMessage:
    return replace(KeptMessage(f"m{number}", "accepted", f"sha{number}", f"sha{number}"), **changes)


def delivery(number: int, **changes: Any) -> KeptDelivery:
    made = KeptDelivery(
        id=f"d{number}", message_id=f"m{number}", destination="stadt/akte", state="delivered", attempts=1, revision=2,
        lease_until=None, replay_of=None, to_send=f"sha{number}", events=DELIVERED,
    )  # fmt: skip
    return replace(made, **changes)


def given(number: int, **changes: Any) -> Given:
    return replace(Given("stadt/akte", f"d{number}", f"sha{number}"), **changes)


class World:
    """Three messages that were accepted and delivered, as every ledger says. Tests break one thing each."""

    def __init__(self) -> None:
        self.receipts = [Receipt(f"m{number}", f"sha{number}") for number in range(3)]
        self.messages = {f"m{number}": message(number) for number in range(3)}
        self.deliveries = {f"d{number}": delivery(number) for number in range(3)}
        self.given = [given(number) for number in range(3)]

    def check(self, **how: Any) -> Verdict:
        return check(self.receipts, Account(self.messages, self.deliveries), self.given, **how)

    def put(self, number: int, **changes: Any) -> None:
        self.deliveries[f"d{number}"] = delivery(number, **changes)


@pytest.fixture
def world() -> World:
    return World()


def kinds(verdict: Verdict) -> set[str]:
    assert not verdict.kept
    return {one.kind for one in verdict.violations}


def test_in_an_orderly_account_it_finds_nothing(world: World) -> None:
    verdict = world.check()

    assert verdict.kept
    assert verdict.figures["receipts"] == verdict.figures["accepted"] == verdict.figures["delivered"] == 3
    assert {name: dict(states) for name, states in verdict.states.items()} == {"stadt/akte": {"delivered": 3}}


def test_a_message_that_got_no_receipt_may_be_there(world: World) -> None:
    world.receipts.pop()

    assert world.check().kept


def test_a_message_that_is_gone_is_lost(world: World) -> None:
    del world.messages["m1"], world.deliveries["d1"]
    world.given.pop(1)

    assert kinds(world.check()) == {"lost"}
    assert world.check().figures["lost"] == 1


@pytest.mark.parametrize(
    "changes", [{"sha256": "other"}, {"original": "other"}, {"original": DAMAGED}], ids=["row", "bytes", "damaged"]
)
def test_other_bytes_than_were_handed_in_are_found(world: World, changes: dict[str, str]) -> None:
    world.messages["m1"] = message(1, **changes)

    assert kinds(world.check()) == {"altered"}


def test_bytes_of_a_message_without_a_receipt_are_looked_at_too(world: World) -> None:
    world.receipts.pop(1)
    world.messages["m1"] = message(1, original="other")

    assert kinds(world.check()) == {"altered"}


def test_erased_bytes_are_no_alteration(world: World) -> None:
    world.messages["m1"] = message(1, original=None)

    assert world.check().kept


def test_a_receipt_for_a_rejected_message_is_found(world: World) -> None:
    world.messages["m1"] = message(1, verdict="rejected")

    assert "rejected" in kinds(world.check())


def test_two_receipts_for_one_document_are_found(world: World) -> None:
    world.receipts.append(Receipt("m2", "sha1"))

    assert "split" in kinds(world.check())


def test_the_same_document_of_two_senders_is_two_messages(world: World) -> None:
    world.messages["m9"] = message(9, sha256="sha1", original="sha1")
    world.put(9, to_send="sha1", destination="stadt/ablage")
    world.given.append(given(9, destination="stadt/ablage", sha256="sha1"))
    world.receipts.append(Receipt("m9", "sha1", "amt"))

    assert world.check().kept


def test_a_good_document_that_was_refused_is_found(world: World) -> None:
    assert kinds(world.check(refused=[("sha9", 422)])) == {"refused"}


def test_a_message_that_goes_nowhere_is_found(world: World) -> None:
    del world.deliveries["d1"]
    world.given.pop(1)

    assert kinds(world.check()) == {"unplanned"}


def test_a_state_that_there_is_not_is_found(world: World) -> None:
    world.put(1, state="verschollen")

    assert kinds(world.check()) == {"stateless"}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "dead"}, {"revision": 3}, {"attempts": 2}, {"events": ((1, "claimed"),)},
        {"events": ((1, "claimed"), (3, "delivered"))}, {"events": ((1, "delivered"), (2, "claimed"))},
        {"events": ((1, "claimed"), (2, "verschwunden"))},
    ],
    ids=["state", "revision", "attempts", "missing", "gap", "order", "kind"],
)  # fmt: skip
def test_a_row_that_is_not_the_sum_of_its_events_is_found(world: World, changes: dict[str, Any]) -> None:
    world.put(1, **changes)

    assert "unfounded" in kinds(world.check())


def test_deliveries_that_were_born_dead_and_resent_ones_are_in_order(world: World) -> None:
    world.put(0, state="dead", attempts=0, revision=0, events=())
    world.put(1, state="dead", attempts=1, revision=2, events=DIED)
    world.put(2, attempts=1, revision=5, events=(*DIED, (3, "resent"), (4, "claimed"), (5, "delivered")))
    world.given = [given(2)]

    assert world.check().kept


@pytest.mark.parametrize(
    ("now", "lease"),
    [(None, NOW), (NOW, None), (NOW, NOW - timedelta(seconds=3))],
    ids=["no daemon", "no lease", "lease is over"],
)
def test_what_nobody_is_sending_is_found(world: World, now: datetime | None, lease: datetime | None) -> None:
    world.put(1, state="sending", revision=1, events=((1, "claimed"),), lease_until=lease)

    assert kinds(world.check(now=now, at_rest=False)) == {"unowned"}


def test_what_is_being_sent_is_in_order_while_everything_moves_and_not_when_it_has_come_to_rest(world: World) -> None:
    world.put(1, state="sending", revision=1, events=((1, "claimed"),), lease_until=NOW + timedelta(seconds=9))

    assert world.check(now=NOW, at_rest=False).kept
    assert kinds(world.check(now=NOW)) == {"unsettled"}


def test_what_is_called_delivered_and_never_arrived_is_found(world: World) -> None:
    world.given[1] = given(1, taken=False)

    assert kinds(world.check()) == {"undelivered"}
    assert world.check().figures["lost"] == 1


def test_a_destination_without_a_ledger_is_believed(world: World) -> None:
    world.given.clear()

    assert world.check(unheard=["stadt/akte"]).kept


@pytest.mark.parametrize("changes", [{"delivery": "d9"}, {"destination": "land/akte"}], ids=["id", "destination"])
def test_what_nobody_planned_is_found(world: World, changes: dict[str, str]) -> None:
    world.given.append(given(1, **changes))

    assert "unknown" in kinds(world.check(repeated_max=9))


def test_bytes_that_changed_on_the_way_are_found(world: World) -> None:
    world.given[1] = given(1, sha256="other")

    assert kinds(world.check()) == {"spoilt"}


def test_a_document_under_two_delivery_ids_is_found(world: World) -> None:
    world.put(9, message_id="m1", to_send="sha1")
    world.given.append(given(9, sha256="sha1"))

    assert kinds(world.check(repeated_max=9)) == {"doubled"}


def test_a_replay_is_no_doubled_document(world: World) -> None:
    world.put(9, message_id="m1", to_send="sha1", replay_of="d1")
    world.given.append(given(9, sha256="sha1"))

    assert world.check().kept


def test_repetitions_are_counted_and_limited(world: World) -> None:
    world.given += [given(1), given(1), given(2, taken=False)]

    assert kinds(world.check(repeated_max=1)) == {"repeated"}
    assert world.check(repeated_max=2).kept
    assert world.check(repeated_max=2).figures["duplicates"] == 2


def test_every_kind_of_violation_has_been_found_above() -> None:
    source = open(__file__, encoding="utf-8").read()  # noqa: SIM115

    assert [kind for kind in KINDS if source.count(f'"{kind}"') == 0] == []
