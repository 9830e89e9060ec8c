"""Two ledgers and the account between them: what senders were promised, what procedures were given.

A sender notes each receipt when it gets it, a procedure each document before it answers. Neither asks the hub, so
what the hub says of itself can be held against both. A procedure is called as the town that it serves.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import requests

from hub.simulate.soap import SoapProcedure
from tests.daemon import Daemon


@dataclass(frozen=True)
class Receipt:
    """A promise: this document, under this id."""

    id: str
    sha256: str


class Door(Protocol):
    """Where documents are handed in: a daemon, or what stands in front of several."""

    def hand_in(self, body: bytes) -> requests.Response: ...


class Sender:
    """Hands documents in, and keeps every receipt. What got no answer is handed in again, as senders do."""

    def __init__(self, hub: Door) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._receipts: dict[str, Receipt] = {}
        self.refused: list[tuple[int, str]] = []
        self.unanswered: list[bytes] = []

    @property
    def receipts(self) -> list[Receipt]:
        with self._lock:
            return list(self._receipts.values())

    def hand_in(self, body: bytes) -> bool:
        """Hand a document in once; return whether the hub answered."""
        try:
            answer = self._hub.hand_in(body)
        except requests.RequestException:
            with self._lock:
                self.unanswered.append(body)
            return False
        digest = hashlib.sha256(body).hexdigest()
        with self._lock:
            if answer.status_code in (200, 202):
                given = Receipt(answer.json()["id"], digest)
                # A repetition is told the id of the first, or the first had none.
                assert self._receipts.setdefault(digest, given) == given
            elif answer.status_code == 503:
                self.unanswered.append(body)
            else:
                self.refused.append((answer.status_code, answer.text))
        return True

    def hand_in_again(self) -> None:
        """Hand in again what got no receipt."""
        with self._lock:
            again, self.unanswered = self.unanswered, []
        for body in again:
            self.hand_in(body)

    @contextmanager
    def streaming(self, make: Callable[[], bytes], threads: int = 3) -> Iterator[None]:
        """Hand in one document after the other, as long as the block lasts or the hub answers."""
        stop = threading.Event()

        def run() -> None:
            while not stop.is_set() and self.hand_in(make()):
                pass

        running = [threading.Thread(target=run, daemon=True) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in running:
                thread.join(90)
            assert not any(thread.is_alive() for thread in running)


def entries(procedure: SoapProcedure) -> list[dict[str, Any]]:
    """Return what one procedure was given, oldest first."""
    return [entry for entry in procedure.ledger.entries() if entry["procedure"] == procedure.name]


def missing(sender: Sender, procedure: SoapProcedure) -> set[str]:
    """Return the digests of documents that have a receipt and that the procedure has not taken."""
    taken = {entry["sha256"] for entry in entries(procedure) if entry["taken"]}
    return {receipt.sha256 for receipt in sender.receipts} - taken


def account(hub: Daemon, sender: Sender, procedure: SoapProcedure) -> Counter[str]:
    """Hold the three against each other; return how many deliveries to the procedure are in each state.

    accepted = waiting + sending + taken + delivered + dead + closed, and each delivered one stands in the procedure's
    ledger with the bytes of its receipt, under one delivery id however often it came.
    """
    listed = {message["id"]: message for message in hub.messages("--municipality", procedure.name)}
    promised = {receipt.id: receipt for receipt in sender.receipts}
    assert promised.keys() <= listed.keys(), "a receipt was given for a message that is not there"

    given: dict[str, set[str]] = defaultdict(set)
    contents: dict[str, set[str]] = defaultdict(set)
    for entry in entries(procedure):
        given[entry["sha256"]].add(entry["delivery"])
        contents[entry["delivery"]].add(entry["sha256"])
    assert all(len(ids) == 1 for ids in given.values()), "a document came under two delivery ids"
    assert all(len(digests) == 1 for digests in contents.values()), "a delivery came with two contents"

    states: Counter[str] = Counter()
    for id_, message in listed.items():
        (delivery,) = message["deliveries"]
        states[delivery["state"]] += 1
        if delivery["state"] == "delivered" and id_ in promised:
            assert contents[delivery["id"]] == {promised[id_].sha256}, "called delivered, and the procedure has it not"
    return states
