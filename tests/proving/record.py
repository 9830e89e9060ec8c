"""What a proof found, kept as JSON: docs/promises.md is made of these files, and of nothing else.

    record("P1", "kill -9 at random moments", {"kills": 20, "receipts": 2_113, "lost": 0}, "make test ARGS=…")

One file for each promise, attack and size of the run: a later run replaces an earlier one of the same size, and the
figures of a storm stand beside those of the suite. Call it after the assertions: what failed has no figure.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
STORM = os.environ.get("XOEV_HUB_STORM") == "1"
"""Whether the large figures of `make storm` are asked for, instead of those of every run of the suite."""


def seed() -> int:
    """Return the seed of this run: $XOEV_HUB_TEST_SEED, which repeats one, or a new one. Who asks prints it."""
    return int(os.environ.get("XOEV_HUB_TEST_SEED") or random.SystemRandom().randrange(1_000_000))


def proofs_folder() -> Path:
    """Return the folder of the files: $XOEV_HUB_PROOFS, else var/proofs of this checkout."""
    return Path(os.environ.get("XOEV_HUB_PROOFS") or ROOT / "var" / "proofs")


def record(promise: str, attack: str, figures: Mapping[str, int | float | str], command: str) -> None:
    """Write down how a promise was attacked and what came out; the file is there whole or not at all.

    ``promise`` is P1 to P25, ``attack`` a short phrase, ``command`` what a reader types to see the same again.
    """
    assert re.fullmatch(r"P([1-9]|1[0-9]|2[0-5])", promise), promise
    run = "storm" if STORM else "suite"
    slug = f"{promise.lower()}-{hashlib.sha256(attack.encode()).hexdigest()[:10]}-{run}.json"
    folder = proofs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    entry = {
        "promise": promise,
        "attack": attack,
        "figures": dict(figures),
        "command": command,
        "run": run,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    fresh = folder / f".{slug}.{os.getpid()}"
    fresh.write_text(json.dumps(entry, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    fresh.replace(folder / slug)
