"""Simulated specialist procedures: what stands in for the real ones in the demo and in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hub.simulate.script import Answer, Answers, Ledger, Procedure, Script, ScriptError

__all__ = ["Answer", "Answers", "Ledger", "Script", "ScriptError", "running"]


@contextmanager
def running(script: Script) -> Iterator[dict[str, Any]]:
    """Run the procedures of a script within a ``with`` block; gives them by name. All are up when it begins."""
    started: dict[str, Any] = {}
    try:
        for procedure in script.procedures:
            started[procedure.name] = made = _make(procedure, script.ledger)
            made.start()
        yield started
    finally:
        for made in started.values():
            made.stop()


def _make(procedure: Procedure, ledger: Ledger) -> Any:
    """Return the procedure, not started. Imported only when asked for: a demo without a broker needs no pika."""
    if procedure.kind == "amqp":
        from hub.simulate.amqp import AmqpProcedure

        return AmqpProcedure(procedure.name, procedure.settings, procedure.answers, ledger)
    from hub.simulate.soap import SoapProcedure

    return SoapProcedure(procedure.name, procedure.settings, procedure.answers, ledger)
