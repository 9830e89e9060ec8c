"""Two versions of one standard, side by side: what counts is the version that a document states, when it came in."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.delivery import State
from hub.deployment import Accepts, Conversion, Match, Route, StepSpec, Target
from hub.errors import Rejected
from hub.files import Files
from hub.steps import compile_step
from tests import umzug
from tests.umzug import V1, V2
from tests.world import HERE, World, change

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


# --- a destination that accepts one version until it switches to the next

SWITCH = datetime(2026, 5, 2, 16, tzinfo=UTC)
FORWARD = StepSpec("xslt", "transforms/vorwaerts.xsl", HERE, Conversion("umzug/1.0", "umzug/2.0", lossy=False))
BACK = StepSpec("xslt", "transforms/zurueck.xsl", HERE, Conversion("umzug/2.0", "umzug/1.0", lossy=True))
VERSION = re.compile('<meldung.0101 [^>]*version="(...)"')
SWITCHING = (Accepts("umzug/1.0/*", until=SWITCH), Accepts("umzug/2.0/*", from_=SWITCH))


def switching(world: World, *steps: StepSpec, allow_lossy: bool = True) -> None:
    """Let Wolfsburg switch in May, with these steps on the way."""
    wolfsburg = replace(world.deployment.destinations[WOB], accepts=SWITCHING)
    world.deployment = replace(world.deployment, destinations={**world.deployment.destinations, WOB: wolfsburg})
    change(world, umzug=lambda route: replace(route, steps=steps, allow_lossy=allow_lossy))
    for step in steps:
        world.steps[step.key] = compile_step(step, Files(world.folder), world.registry)


def sent(world: World) -> list[str]:
    world.deliver_due()
    return [one.body.decode() for one in world.adapter(WOB).given]


def test_until_the_switch_it_gets_the_old_version_and_from_then_on_the_new(world: World) -> None:
    switching(world, FORWARD, BACK)
    for at in (SWITCH - timedelta(seconds=1), SWITCH):
        world.clock.now = at
        for version in (V1, V2):
            world.accept(umzug.document(version))

    bodies = sent(world)

    assert [VERSION.findall(body) for body in bodies] == [[V1], [V1], [V2], [V2]]


def test_what_a_lossy_conversion_left_out_is_a_finding_on_the_delivery_without_the_text(world: World) -> None:
    switching(world, BACK)
    world.clock.now = SWITCH - timedelta(hours=1)
    receipt = world.accept(umzug.document(V2, telephone="0000 4711"))

    (body,) = sent(world)

    assert "4711" not in body
    timeline = world.hub.timeline(receipt.message_id)
    assert timeline is not None
    (finding,) = timeline.findings
    assert (finding["delivery"], finding["rule"], finding["level"]) == (
        world.delivery(receipt).id, "dropped", "warning",
    )  # fmt: skip
    assert finding["path"] == "/meldung.0101/person/telefon"
    assert "4711" not in str(finding)


@pytest.mark.parametrize("steps", [(), (BACK,), (FORWARD,)], ids=["none", "not allowed", "the other way"])
def test_without_a_conversion_that_may_be_taken_it_is_born_dead(world: World, steps: tuple[StepSpec, ...]) -> None:
    switching(world, *steps, allow_lossy=False)
    world.clock.now = SWITCH - timedelta(hours=1)

    receipt = world.accept(umzug.document(V2))

    delivery = world.delivery(receipt)
    assert (delivery.state, delivery.reason, delivery.code) == (State.DEAD, "target_invalid", "version_not_accepted")
    assert sent(world) == []


def test_a_conversion_that_says_lossless_and_leaves_something_out_sends_nothing(world: World) -> None:
    lying = StepSpec("xslt", "transforms/zurueck.xsl", HERE, Conversion("umzug/2.0", "umzug/1.0", lossy=False))
    switching(world, lying, allow_lossy=False)
    world.clock.now = SWITCH - timedelta(hours=1)

    bad = world.accept(umzug.document(V2, telephone="0000 4711"))
    good = world.accept(umzug.document(V2))

    assert (world.delivery(bad).reason, world.delivery(bad).code) == ("transform_failed", "dropped")
    assert world.delivery(good).state is State.WAITING


def test_what_a_conversion_makes_is_checked_by_the_schema_of_its_target(world: World) -> None:
    copy = (world.folder / "transforms/vorwaerts.xsl").read_text().replace(">2.0<", ">1.0<")
    (world.folder / "transforms/zurueck.xsl").write_text(copy)  # keeps the telephone number, which 1.0 does not know
    switching(world, BACK)
    world.clock.now = SWITCH - timedelta(hours=1)

    receipt = world.accept(umzug.document(V2, telephone="0000 4711"))

    assert world.delivery(receipt).reason == "target_invalid"
    assert world.delivery(receipt).code == "SCHEMAV_ELEMENT_CONTENT"


def test_a_replay_after_the_switch_is_planned_for_what_is_accepted_now(world: World) -> None:
    switching(world, FORWARD)
    world.clock.now = SWITCH - timedelta(hours=1)
    receipt = world.accept(umzug.document(V1))
    world.clock.now = SWITCH

    (result,) = world.act("replan", receipt.message_id).results

    assert result.result == "done"
    assert ['version="2.0"' in body for body in sent(world)] == [True]
