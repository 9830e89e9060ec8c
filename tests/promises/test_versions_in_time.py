"""Two versions of one standard, side by side: what counts is the version that a document states, when it came in."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.delivery import State
from hub.deployment import Match, Route, Target
from hub.errors import Rejected
from tests import umzug
from tests.umzug import V1, V2
from tests.world import World

WOB = "wolfsburg/antraege"
LAST_MOMENT = datetime(2026, 5, 31, 21, 59, 59, tzinfo=UTC)  # one second before midnight in Berlin


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    umzug.write(tmp_path)
    world = World(tmp_path)
    checks = world.deployment.routes[0].checks
    routes = (Route("umzug", Match("umzug/*/*"), checks, (), (Target(WOB),)), *world.deployment.routes)
    world.deployment = replace(world.deployment, routes=routes)
    world.clock.now = LAST_MOMENT
    yield world
    world.store.close()


def rejected(world: World, body: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        world.accept(body)
    return caught.value


def test_both_versions_are_taken_side_by_side_until_the_grace_is_over(world: World) -> None:
    assert world.accept(umzug.document(V1))
    assert world.accept(umzug.document(V2, telephone="0000 4711"))

    world.clock.advance(timedelta(seconds=1))

    refusal = rejected(world, umzug.document(V1))
    assert refusal.code == "version_not_served"
    assert refusal.findings[0].text == "version 1.0 is not served; served at this time: 2.0"
    assert world.accept(umzug.document(V2))


def test_each_version_is_checked_by_its_own_schema(world: World) -> None:
    old = umzug.document(V2, telephone="0000 4711").replace(b'version="2.0"', b'version="1.0"')

    assert rejected(world, old).code == "schema_violation"


def test_a_replay_is_judged_by_the_time_of_receipt(world: World) -> None:
    receipt = world.accept(umzug.document(V1))
    world.clock.advance(timedelta(days=30))

    (result,) = world.act("replay", world.delivery(receipt).id).results
    world.deliver_due()

    assert result.result == "done"
    assert world.delivery(receipt).state is State.DELIVERED


def test_a_replay_of_what_was_rejected_is_a_new_message_of_today(world: World) -> None:
    world.clock.now = datetime(2026, 4, 30, 12, tzinfo=UTC)
    too_early = rejected(world, umzug.document(V2)).id or ""
    world.clock.now = LAST_MOMENT
    broken = rejected(world, umzug.document(V1).replace(b"name>", b"namen>")).id or ""
    world.clock.advance(timedelta(days=30))

    results = [world.act("replay", id_).results[0] for id_ in (too_early, broken)]

    assert [one.result for one in results] == ["done", "failed"]
    assert results[1].detail == "rejected: version_not_served"
