"""For all tests: property tests judge what they find, never how fast the machine is."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):  # there Hypothesis loads a profile of its own, with fixed seeds and no deadline either
    settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest, so that no process is left with it at the end: a few tests a file, and minutes."""
    items.sort(key=lambda item: not item.path.parent.match("tests/promises"))
