"""What senders were promised, on disk before anything else happens. The procedures' half is ``hub.simulate.Ledger``.

{"asked": SHA256}                          before a document is handed in
{"answered": SHA256, "status": 202, "id": …}    after the answer has come
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECEIPTS = (200, 202)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A promise: this document, under this id."""

    id: str
    sha256: str
    sender: str = ""


class SenderLedger:
    """One file for all senders of a proof; each line is synced before its writer goes on. Safe in threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()

    def asked(self, sha256: str) -> None:
        """A document is about to be handed in."""
        self._write({"asked": sha256})

    def answered(self, sha256: str, status: int, id_: str | None) -> None:
        """The hub has answered."""
        self._write({"answered": sha256, "status": status, "id": id_})

    def entries(self) -> list[dict[str, Any]]:
        """Return all lines, oldest first."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    def receipts(self) -> list[Receipt]:
        """Return every receipt that was given, repetitions too."""
        return [
            Receipt(entry["id"], entry["answered"])
            for entry in self.entries()
            if "answered" in entry and entry["status"] in RECEIPTS
        ]

    def refused(self, expected: Collection[int] = (503,)) -> list[tuple[str, int]]:
        """Return what was answered otherwise than by a receipt, or by what is expected."""
        answers = (entry for entry in self.entries() if "answered" in entry)
        known = {*RECEIPTS, *expected}
        return [(entry["answered"], entry["status"]) for entry in answers if entry["status"] not in known]

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock, self.path.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
