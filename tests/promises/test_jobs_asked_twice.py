"""Jobs asked for twice: a double click, a repeated command, two operators at once."""

from __future__ import annotations

import pytest

from hub.job import Job
from hub.service import Hub
from tests.world import World, dead

WOB = "wolfsburg/antraege"


def submit(world: World, ids: list[str], **arguments: str) -> Job:
    return world.hub.submit("resend", ids, "Test", arguments)


def test_asked_twice_is_asked_once(world: World) -> None:
    ids = dead(world, 3)

    jobs = [
        submit(world, ids, rate="1"),
        submit(world, list(reversed(ids)), rate="1"),
        submit(world, ids[1:], rate="1"),
    ]
    world.jobs.run_open()
    jobs.append(submit(world, ids[1:], rate="1"))

    assert len({job.id for job in jobs}) == 1
    assert [one.result for one in world.store.audits() if one.action == "resend"] == ["open already"] * 3 + [""]


@pytest.mark.parametrize("other", ["actor", "kind", "arguments", "items", "closed"])
def test_another_wish_is_another_job(world: World, other: str) -> None:
    ids = dead(world, 3)
    first = submit(world, ids[:2], rate="1")
    if other == "closed":
        world.hub.steer(first.id, "cancelled", "Test")
    hub = Hub(world.store, world.clock, actor="otto" if other == "actor" else "erika", via="test")

    second = hub.submit(
        "replay" if other == "kind" else "resend",
        ids if other == "items" else ids[:2],
        "Test",
        {"rate": "2" if other == "arguments" else "1"},
    )

    assert second.id != first.id
