"""What an auditor keeps of a proof: what was attacked, where, with what, and what came out. Figures, no contents."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lxml import etree

from hub.selftest.checker import KINDS
from hub.selftest.crash import Outcome
from hub.store.accounting import sqlite_version
from hub.store.database import file_system

SHOWN_MAX = 20

NOT_PROVEN = (
    "A killed process, not a power cut: whether the disk keeps what it has confirmed is for its maker to say.",
    "The scratch store is SQLite on the file system named above, whatever the deployment uses.",
)


def report(outcome: Outcome, folder: Path) -> dict[str, Any]:
    """Return the report as a value; ``folder`` is where the scratch store was."""
    restarts = outcome.restarts_seconds
    return {
        "api": 1,
        "proof": "crash",
        "verdict": "kept" if outcome.kept else "broken",
        "began": outcome.began.isoformat(timespec="seconds"),
        "ended": outcome.ended.isoformat(timespec="seconds"),
        "seed": outcome.seed,
        "machine": machine(folder),
        "versions": versions(),
        "kills": {"all": sum(outcome.kills.values()), **outcome.kills},
        "handed_in": outcome.handed_in,
        "figures": dict(outcome.verdict.figures),
        "duplicates_max": outcome.in_flight_max * sum(outcome.kills.values()),
        "restart_seconds": {"longest": round(max(restarts, default=0.0), 1), "count": len(restarts)},
        "destinations": {name: dict(states) for name, states in sorted(outcome.verdict.states.items())},
        "violations": [
            {"kind": one.kind, "meaning": KINDS.get(one.kind, ""), "about": one.about, "text": one.text}
            for one in outcome.verdict.violations
        ],
        "not_proven": list(NOT_PROVEN),
    }


def machine(folder: Path) -> dict[str, Any]:
    """Return what the figures depend on."""
    kind, options = file_system(folder)
    return {
        "name": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "file_system": kind or "unknown",
        "mount_options": options,
    }


def versions() -> dict[str, str]:
    """Return the programs that took part."""
    return {
        "xoev-hub": version("xoev-hub"),
        "python": platform.python_version(),
        "sqlite": sqlite_version(),
        "libxml2": ".".join(map(str, etree.LIBXML_VERSION)),
    }


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the report as people read it."""
    figures, where = told["figures"], told["machine"]
    yield "xoev-hub selftest --crash"
    yield ""
    yield f"  {told['began']} to {told['ended']}, seed {told['seed']}"
    yield f"  {where['name']}: {where['system']}, {where['cores']} cores"
    yield f"  scratch store on {where['file_system']} ({where['mount_options']})"
    yield "  " + ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    yield ""
    yield f"  {told['kills']['all']:7}  times killed"
    yield from (f"  {number:7}      {place}" for place, number in told["kills"].items() if place != "all")
    yield f"  {told['restart_seconds']['longest']:7}  seconds, the longest start until the hub was ready"
    yield f"  {told['handed_in']:7}  documents handed in"
    yield f"  {figures['receipts']:7}  receipts given"
    yield f"  {figures['lost']:7}  lost"
    yield f"  {figures['altered']:7}  altered"
    yield f"  {figures['duplicates']:7}  came twice, under the same delivery id (at most {told['duplicates_max']})"
    yield ""
    yield "  what was accepted, by destination"
    for name, states in told["destinations"].items():
        shown = ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
        yield f"  {sum(states.values()):7}  {name} = {shown}"
    yield ""
    for one in told["violations"][:SHOWN_MAX]:
        yield f"  BROKEN  {one['kind']}: {one['meaning']} ({one['about']} {one['text']})".rstrip(" )") + ")"
    if len(told["violations"]) > SHOWN_MAX:
        yield f"  … and {len(told['violations']) - SHOWN_MAX} more"
    yield f"  Verdict: {'every promise was kept' if told['verdict'] == 'kept' else 'a promise was broken'}."
    yield ""
    yield "  Not proven:"
    yield from (f"  - {text}" for text in told["not_proven"])
