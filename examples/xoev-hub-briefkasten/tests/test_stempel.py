"""The step keeps the contract of steps, and what its stamp says."""

from __future__ import annotations

from collections.abc import Sequence

from hub.plugin import Outgoing, Step
from hub.testing import StepContract, outgoing

from xoev_hub_briefkasten.stempel import stempel

FULL = '<?xml version="1.0" encoding="ISO-8859-1"?><!-- alt --><a xml:lang="de">Zoë<!-- drin --></a><?ende x?>'


class TestStempel(StepContract):
    def step(self) -> Step:
        return stempel

    def good(self) -> Sequence[Outgoing]:
        return [outgoing(1), outgoing(2), outgoing(body=FULL.encode("iso-8859-1"))]

    def bad(self) -> Sequence[Outgoing]:
        return [outgoing(body=b"no document"), outgoing(body=b"<!DOCTYPE a><a/>")]


def test_the_stamp_says_when_and_as_which_message() -> None:
    stamped = stempel(outgoing(body=FULL.encode("iso-8859-1")))

    stamp = f"<!-- Eingang 2026-11-02T08:00:00Z, Nachricht {outgoing().message.id} -->"
    whole = f'<!-- alt -->{stamp}<a xml:lang="de">Zoë<!-- drin --></a><?ende x?>'
    assert stamped.body.decode().replace("\n", "") == f"<?xml version='1.0' encoding='UTF-8'?>{whole}"
