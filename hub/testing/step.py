"""What every step promises, as tests to inherit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import pytest

from hub.plugin import Outgoing, Rejected, Step


class StepContract:
    """Inherit it and give ``step``, ``good`` and ``bad``."""

    @abstractmethod
    def step(self) -> Step:
        """Return the step."""

    @abstractmethod
    def good(self) -> Sequence[Outgoing]:
        """Return samples that the step takes."""

    def bad(self) -> Sequence[Outgoing]:
        """Return samples that the step must reject; none, if it takes everything."""
        return ()

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        for outgoing in self.good():
            first, second = self.step()(outgoing), self.step()(outgoing)

            assert first.body == second.body
            assert (first.content_type, dict(first.headers)) == (second.content_type, dict(second.headers))

    def test_a_later_attempt_gives_the_same_bytes(self) -> None:
        for outgoing in self.good():
            assert self.step()(outgoing).body == self.step()(replace(outgoing, attempt=7, deadline=0.0)).body

    def test_the_result_is_still_the_same_delivery_of_the_same_message(self) -> None:
        for outgoing in self.good():
            result = self.step()(outgoing)

            assert (result.delivery_id, result.destination) == (outgoing.delivery_id, outgoing.destination)
            assert result.message == outgoing.message

    def test_a_document_it_cannot_work_with_is_rejected_without_quoting_it(self) -> None:
        for outgoing in self.bad():
            with pytest.raises(Rejected) as rejected:
                self.step()(outgoing)

            assert rejected.value.code
            assert outgoing.body.decode(errors="replace") not in str(rejected.value)
