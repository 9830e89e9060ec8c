"""Bytes that came a moment ago are not read again: few, for a short while, and never those of another plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from hub.contents import BYTES_MAX, SECONDS_MAX, Content, Contents
from hub.delivery import Delivery, State
from hub.deployment import Target
from hub.dispatch import Claimed
from hub.message import DeliveryId, MessageId, Outgoing
from hub.outcome import Delivered, Outcome
from hub.store.api import Payload, PayloadRole
from tests.world import World, change

WOB = "wolfsburg/antraege"


def waiting(number: int) -> tuple[Delivery, Content]:
    delivery = Delivery(
        DeliveryId(f"d{number}"), MessageId("m"), None, None, WOB, datetime.now(UTC), payload_id=f"p{number}"
    )
    payload = Payload(f"p{number}", PayloadRole.OUTGOING, bytes(BYTES_MAX // 2))
    return delivery, (cast("Any", object()), payload)


def test_few_bytes_stay_at_hand_and_for_a_short_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("hub.contents.time.monotonic", lambda: clock[0])
    contents = Contents()
    (first, _), (second, of_second), (third, _) = several = [waiting(number) for number in range(3)]

    for delivery, content in several:
        contents.put(delivery.id, content)
    taken = contents.take(first), contents.take(second), contents.take(second)
    clock[0] += SECONDS_MAX + 1
    contents.forget()

    assert taken == (None, of_second, None)
    assert contents.take(third) is None


def test_what_was_planned_anew_is_read() -> None:
    contents = Contents()
    delivery, content = waiting(1)
    contents.put(delivery.id, content)

    assert contents.take(replace(delivery, payload_id="p2")) is None


class Several:
    """Notes what it is given at once."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def open(self) -> None: ...
    def close(self) -> None: ...

    def deliver(self, outgoing: Outgoing) -> Outcome:
        raise AssertionError(outgoing)

    def deliver_all(self, several: Sequence[Outgoing]) -> Sequence[Outcome]:
        self.asked.append([one.delivery_id for one in several])
        return [Delivered()] * len(several)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    change(made, antrag=lambda route: replace(route, deliver_to=(Target(WOB),)))
    yield made
    made.store.close()


def test_what_is_at_hand_and_what_is_read_goes_together_and_in_its_order(world: World) -> None:
    receipts = [world.accept() for _ in range(4)]
    claimed = world.claim(WOB, limit=4)
    at_hand = dict(zip(claimed[1::2], world.store.load_all(claimed[1::2]), strict=True))
    adapter = Several()

    world.dispatch.attempt(
        [Claimed(one, cast("Content | None", at_hand.get(one))) for one in claimed],
        world.deployment.destinations[WOB],
        adapter,
    )

    assert adapter.asked == [[one.id for one in claimed]]
    assert {world.delivery(receipt).state for receipt in receipts} == {State.DELIVERED}
