"""What every outbound adapter promises, as tests to inherit."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest

from hub.plugin import (
    Blocked,
    Context,
    Deferred,
    Delivered,
    OutboundAdapter,
    Outcome,
    Outgoing,
    Reason,
    SeveralAtOnce,
    Taken,
    Unclear,
)
from hub.testing import samples
from hub.testing.context import RecordedLog, make_context

Arrived = Callable[[], Sequence[tuple[str, bytes]]]
"""Returns what has arrived at the peer so far: delivery id and the body as the peer unpacks it."""


class OutboundContract:
    """Inherit it and give ``adapter``, ``arrived``, ``unreachable`` and, where a peer can be silent, ``silent``.

    Build all adapters with the fixture ``context``, so that its log is looked at. Override ``context`` for secrets or
    other limits, and ``outgoing`` if the destination needs another document (keep ``samples.MARKER`` in it).
    """

    @pytest.fixture
    def log(self) -> RecordedLog:
        return RecordedLog()

    @pytest.fixture
    def context(self, tmp_path: Path, log: RecordedLog) -> Context:
        return make_context(tmp_path, log=log)

    @pytest.fixture
    def adapter(self, context: Context) -> OutboundAdapter:
        """Return an adapter, not opened, whose peer takes everything."""
        raise NotImplementedError

    @pytest.fixture
    def arrived(self) -> Arrived:
        """Return a function that tells what has arrived at the peer of ``adapter``."""
        raise NotImplementedError

    @pytest.fixture
    def unreachable(self, context: Context) -> OutboundAdapter:
        """Return an adapter, not opened, whose peer is not there."""
        raise NotImplementedError

    @pytest.fixture
    def silent(self) -> OutboundAdapter:
        """Return an adapter, not opened, whose peer takes the connection and never answers."""
        pytest.skip("this kind of peer cannot be silent")

    def outgoing(self, number: int = 1, **changes: Any) -> Outgoing:
        """Return the delivery with this number; same number, same id and bytes."""
        return samples.outgoing(number, **{"deadline": time.monotonic() + 10, **changes})

    def test_a_delivery_arrives_byte_for_byte_under_its_id(self, adapter: OutboundAdapter, arrived: Arrived) -> None:
        outgoing = self.outgoing()
        adapter.open()

        outcome = adapter.deliver(outgoing)

        adapter.close()
        assert isinstance(outcome, Delivered | Taken)
        assert list(arrived()) == [(outgoing.delivery_id, outgoing.body)]

    def test_close_may_come_twice_and_open_again_after_it(self, adapter: OutboundAdapter) -> None:
        adapter.open()
        adapter.deliver(self.outgoing(1))
        adapter.close()
        adapter.close()
        adapter.open()

        outcome = adapter.deliver(self.outgoing(2))

        adapter.close()
        assert isinstance(outcome, Delivered | Taken)

    def test_close_may_come_without_open(self, adapter: OutboundAdapter) -> None:
        adapter.close()

    def test_many_threads_deliver_at_once(self, adapter: OutboundAdapter, arrived: Arrived, context: Context) -> None:
        sent = [self.outgoing(number) for number in range(1, 4 * context.limits.max_in_flight + 1)]
        adapter.open()

        with ThreadPoolExecutor(context.limits.max_in_flight) as threads:
            outcomes = list(threads.map(adapter.deliver, sent))

        adapter.close()
        assert [outcome for outcome in outcomes if not isinstance(outcome, Delivered | Taken)] == []
        assert sorted(identity for identity, _ in arrived()) == sorted(outgoing.delivery_id for outgoing in sent)

    def test_several_at_once_end_as_each_alone(self, adapter: OutboundAdapter, arrived: Arrived) -> None:
        """One outcome for each, in their order; together, where an adapter has ``deliver_all``."""
        sent = [self.outgoing(number) for number in range(1, 8)]
        late = self.outgoing(8, deadline=time.monotonic() - 1)
        adapter.open()

        given = [*sent[:3], late, *sent[3:]]
        if isinstance(adapter, SeveralAtOnce):
            outcomes = list(adapter.deliver_all(given))
        else:
            outcomes = [adapter.deliver(one) for one in given]

        adapter.close()
        assert len(outcomes) == len(sent) + 1
        assert [one for one in (*outcomes[:3], *outcomes[4:]) if not isinstance(one, Delivered | Taken)] == []
        came = {identity for identity, _ in arrived()}
        assert isinstance(outcomes[3], get_args(Outcome))
        assert late.delivery_id in came or not isinstance(outcomes[3], Delivered | Taken)
        assert sorted(set(arrived()) & {(one.delivery_id, one.body) for one in sent}) == sorted(
            (one.delivery_id, one.body) for one in sent
        )

    def test_a_repetition_carries_the_same_id_and_the_same_bytes(
        self, adapter: OutboundAdapter, arrived: Arrived
    ) -> None:
        adapter.open()
        adapter.deliver(self.outgoing(1))

        adapter.deliver(self.outgoing(1, attempt=2))

        adapter.close()
        assert set(arrived()) == {(self.outgoing(1).delivery_id, self.outgoing(1).body)}

    def test_an_unreachable_peer_is_an_outcome_and_no_exception(self, unreachable: OutboundAdapter) -> None:
        outcome = _open_and_deliver(unreachable, self.outgoing())

        unreachable.close()
        unreachable.close()
        assert isinstance(outcome, Deferred)
        assert outcome.reason is Reason.UNREACHABLE

    def test_a_silent_peer_costs_no_more_than_the_deadline(self, silent: OutboundAdapter) -> None:
        started = time.monotonic()

        outcome = _open_and_deliver(silent, self.outgoing(deadline=started + 1))

        took = time.monotonic() - started
        silent.close()
        assert isinstance(outcome, Deferred | Unclear | Blocked)
        assert took < 3, f"the deadline was 1 s, the attempt took {took:.1f} s"

    def test_a_deadline_that_has_passed_is_an_outcome_and_no_exception(self, adapter: OutboundAdapter) -> None:
        outcome = _open_and_deliver(adapter, self.outgoing(deadline=time.monotonic() - 1))

        adapter.close()
        assert isinstance(outcome, get_args(Outcome))

    def test_codes_are_short_tokens_without_values(
        self, adapter: OutboundAdapter, unreachable: OutboundAdapter
    ) -> None:
        outcomes = [_open_and_deliver(adapter, self.outgoing()), _open_and_deliver(unreachable, self.outgoing())]

        adapter.close()
        unreachable.close()
        assert [outcome.code for outcome in outcomes if not re.fullmatch(r"[A-Za-z0-9._:-]{0,64}", outcome.code)] == []

    def test_nothing_of_the_payload_reaches_log_or_repr(
        self,
        adapter: OutboundAdapter,
        unreachable: OutboundAdapter,
        log: RecordedLog,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)

        outcomes = [_open_and_deliver(adapter, self.outgoing()), _open_and_deliver(unreachable, self.outgoing())]

        adapter.close()
        unreachable.close()
        assert samples.MARKER.encode() in self.outgoing().body, "the sample must hold the marker to prove anything"
        assert samples.MARKER not in log.text
        assert samples.MARKER not in caplog.text
        assert samples.MARKER not in repr(outcomes)


def _open_and_deliver(adapter: OutboundAdapter, outgoing: Outgoing) -> Outcome:
    """Do as the hub does: an ``open`` that fails with OSError is Deferred(unreachable)."""
    try:
        adapter.open()
    except OSError:
        return Deferred(Reason.UNREACHABLE)
    return adapter.deliver(outgoing)
