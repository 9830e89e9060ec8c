"""Writes docs/promises.md: what the hub promises, how each promise was attacked, what came out, how to see it again.

    proofs ──record()──▶ var/proofs/*.json ──collect──▶ docs/promises.json ─┐
                                             docs/promises.toml ────────────┴─▶ docs/promises.md

    docs/promises.py                  write the page anew from docs/promises.json
    docs/promises.py --collect [DIR]  take over the figures of the last run first (DIR: var/proofs)
    docs/promises.py --check          exit 1 if the page is stale

No figure is written by hand: what is in promises.json was recorded by a proof that has passed.
"""

# ruff: noqa: INP001  # a script beside the page that it writes

from __future__ import annotations

import json
import os
import platform
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE, FIGURES, TEXTS = HERE / "promises.md", HERE / "promises.json", HERE / "promises.toml"
PROOFS = HERE.parent / "var" / "proofs"
NOTE = "<!-- Written by docs/promises.py. Do not edit: run the proofs, then docs/promises.py --collect. -->"
PROMISES = tuple(f"P{number}" for number in range(1, 26))
KEYS = {"promise", "attack", "figures", "command", "run", "at"}

INTRODUCTION = """
# Promises

What the hub promises, how each promise was attacked, and what came out. Figures of the last runs, recorded by the
proofs themselves when they had passed; a smaller run is part of every `make test`, the large one is `make storm`.
Every run prints its seed, and `XOEV_HUB_TEST_SEED` repeats it. Times are those of the machine below while it did
other things, too.

On your own machine, with an installed program and without a checkout:

```sh
xoev-hub selftest --crash
```

kills a hub under load again and again over a scratch store, and prints a report that an auditor can keep (`--json` for
programs, `--kills 200` for the large run, `--folder` for the disk that is to be judged).

Proofs have a sender's ledger, synced before each step; stub procedures that write a ledger before they answer; a
daemon in a process group of its own; and a checker that reads ledgers and store only. The checker has tests of its
own: it finds each kind of broken promise.
"""

NOT_PROMISED = """
## Not promised

- Exactly once at the destination: that needs its help. It gets the delivery's id with every attempt.
- Survival of the disk itself without a backup or a replica.
- Protection from an administrator with all rights.
"""


def collect(folder: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures with those of a folder. They replace all that was known of the same promise and size of run.

    Raises:
        ValueError: A file is no record of a proof.
    """
    fresh = [_record(path) for path in sorted(folder.glob("*.json"))]
    renewed = {(one["promise"], one["run"]) for one in fresh}
    kept = [one for one in known.get("proofs", []) if (one["promise"], one["run"]) not in renewed]
    machine = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    return {"machine": machine if fresh else known.get("machine", {}), "proofs": sorted([*kept, *fresh], key=_order)}


def _record(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, dict) or set(found) != KEYS or found["promise"] not in PROMISES:
        raise ValueError(f"{path.name} is no record of a proof")
    return found


def _order(one: Mapping[str, Any]) -> tuple[int, str, str]:
    return PROMISES.index(one["promise"]), one["attack"], one["run"]


def page(figures: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> str:
    """Return the page.

    Raises:
        LookupError: A promise has no sentence, or a sentence no promise.
    """
    if set(texts) != set(PROMISES):
        raise LookupError(f"promises.toml: {', '.join(sorted(set(texts) ^ set(PROMISES)))}")
    return "\n".join([NOTE, *_lines(figures, texts)]) + "\n"


def _lines(figures: Mapping[str, Any], texts: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    yield INTRODUCTION
    if machine := figures.get("machine"):
        yield f"Last run on {machine['system']}, {machine['cores']} cores, Python {machine['python']}.\n"
    for promise in PROMISES:
        yield f"## {promise}\n\n{texts[promise]['text']}\n"
        proofs = [one for one in figures.get("proofs", []) if one["promise"] == promise]
        if proofs:
            yield from _table(proofs)
        elif "note" not in texts[promise]:
            yield "No figure of the last run.\n"
        if note := texts[promise].get("note"):
            yield f"{note}\n"
    yield NOT_PROMISED.strip()


def _table(proofs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| attack | run | figures | again |\n| --- | --- | --- | --- |"
    for one in proofs:
        shown = ", ".join(_shown(name, value) for name, value in one["figures"].items())
        cells = (_cell(one["attack"]), f"{one['run']}, {one['at'][:10]}", _cell(shown), f"`{_cell(one['command'])}`")
        yield f"| {' | '.join(cells)} |"
    yield ""


def _shown(name: str, value: float | str) -> str:
    if name == "seed":
        return f"seed {value}"
    return f"{f'{value:,}' if isinstance(value, int) else value} {name.replace('_', ' ')}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def known() -> dict[str, Any]:
    """Return the figures that are kept with the pages."""
    return json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}


def written() -> str:
    """Return the page as it has to be."""
    return page(known(), tomllib.loads(TEXTS.read_text("utf-8")))


def main(arguments: Sequence[str]) -> int:
    match list(arguments):
        case ["--check"]:
            return 0 if PAGE.exists() and PAGE.read_text("utf-8") == written() else 1
        case ["--collect", *rest] if len(rest) <= 1:
            figures = collect(Path(rest[0]) if rest else PROOFS, known())
            FIGURES.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        case []:
            pass
        case _:
            sys.stderr.write(f"{__doc__}\n")
            return 2
    PAGE.write_text(written(), encoding="utf-8")
    sys.stdout.write("docs/promises.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
