"""For all tests: property tests judge what they find, never how fast the machine is."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):  # there Hypothesis loads a profile of its own, with fixed seeds and no deadline either
    settings.load_profile("any-machine")
