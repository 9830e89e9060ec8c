"""Deterministic simulation: 1,000 seeds of everything that may happen to the hub's own code, and no promise broken.

    make simulate SEEDS=100000                      for the night
    XOEV_HUB_TEST_SEED=4711 make simulate           the same runs again: a failure prints its seed

A failure ends with a short program (``state = HubMachine()`` …, ``state.teardown()``). Copy it, as it is printed, into
a test in ``test_found.py``, name it by the promise that was broken, and mend the hub: it is a fixed test from then on.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proving.record import STORM, record
from tests.simulation.machine import HubMachine

SEEDS = int(os.environ.get("SEEDS") or (10_000 if STORM else 1_000))
PARTS = 8  # so that several cores can share the night
STEPS = 20
FIRST = int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Say nothing of a million events; the judge reads the store."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.timeout(
    0
)  # as long as the seeds take that were asked for, and as long as a failure takes to be made short
@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_happens_in_whatever_order_no_promise_is_broken(part: int) -> None:
    print(f"XOEV_HUB_TEST_SEED={FIRST}, part {part}")
    runs = SEEDS // PARTS

    run_state_machine_as_test(
        seed(FIRST * PARTS + part)(type("Machine", (HubMachine,), {})),
        settings=settings(
            max_examples=runs, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck),
            database=None, print_blob=True,
        ),
    )  # fmt: skip

    if part == PARTS - 1:
        figures = {"seeds": runs * PARTS, "steps each, at most": STEPS, "first seed": FIRST, "promises broken": 0}
        for promise in ("P1", "P4", "P5", "P9", "P11"):
            record(promise, "simulation: the program dies between any two effects", figures, "make simulate")
