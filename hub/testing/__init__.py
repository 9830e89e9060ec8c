"""The kit for authors of adapters and steps: contracts to inherit, and what stands in for the hub and for a peer.

    class TestMyAdapter(OutboundContract):
        @pytest.fixture
        def adapter(self, context): ...

Needs pytest. The built-in adapters pass the same contracts.
"""

from __future__ import annotations

import pytest

# Before the imports, so that a broken promise is shown with its values.
pytest.register_assert_rewrite(*(f"hub.testing.{name}" for name in ("outbound", "listener", "poller", "step")))

from hub.testing.clock import SettableClock  # noqa: E402
from hub.testing.context import RecordedDesk, RecordedLog, ScriptedIntake, make_context  # noqa: E402
from hub.testing.listener import ListenerContract  # noqa: E402
from hub.testing.outbound import Arrived, OutboundContract  # noqa: E402
from hub.testing.peer import Answer, Request, Reset, ScriptedPeer, Silence  # noqa: E402
from hub.testing.poller import PollerContract  # noqa: E402
from hub.testing.samples import MARKER, message, outgoing  # noqa: E402
from hub.testing.step import StepContract  # noqa: E402

__all__ = [
    "MARKER",
    "Answer",
    "Arrived",
    "ListenerContract",
    "OutboundContract",
    "PollerContract",
    "RecordedDesk",
    "RecordedLog",
    "Request",
    "Reset",
    "ScriptedIntake",
    "ScriptedPeer",
    "SettableClock",
    "Silence",
    "StepContract",
    "make_context",
    "message",
    "outgoing",
]
