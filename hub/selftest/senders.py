"""Senders as they are: several at once, each hands in again what got no receipt, and forgets nothing."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import requests

from hub.selftest.ledgers import RECEIPTS, SenderLedger
from hub.selftest.scratch import TooSlow, until

ANSWER_SECONDS = 60.0
JOIN_SECONDS = 90.0
RECEIPT_SECONDS = 120.0
PAUSE_SECONDS = 0.1


class Door(Protocol):
    """Where documents are handed in."""

    url: str

    def session(self) -> requests.Session: ...


class Senders:
    """The senders of a proof. ``document`` makes one, from a generator of random numbers of the sender's own."""

    def __init__(
        self, door: Door, ledger: SenderLedger, document: Callable[[random.Random], bytes], seed: int, threads: int = 4
    ) -> None:
        self._door, self._ledger, self._document, self._threads = door, ledger, document, threads
        self._chances = [random.Random(f"{seed}/{number}") for number in range(threads)]  # noqa: S311  # a proof's seed
        self._lock = threading.Lock()
        self._unanswered: list[bytes] = []
        self._given = threading.Condition()
        self.receipts = 0

    @contextmanager
    def streaming(self) -> Iterator[None]:
        """Hand in one document after the other while the block lasts; a sender whose hub has died waits for its end.

        Raises:
            TooSlow: A sender does not come to its end.
        """
        stop = threading.Event()
        running = [
            threading.Thread(target=self._run, args=(stop, chance), name="sender", daemon=True)
            for chance in self._chances
        ]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in running:
                thread.join(JOIN_SECONDS)
        if any(thread.is_alive() for thread in running):
            raise TooSlow("a sender is still waiting for its answer")

    def wait_for(self, more: int) -> None:
        """Wait until so many more receipts were given.

        Raises:
            TooSlow: They were not.
        """
        with self._given:
            wanted = self.receipts + more
            if not self._given.wait_for(lambda: self.receipts >= wanted, RECEIPT_SECONDS):
                raise TooSlow(f"{more} receipts were not given within {RECEIPT_SECONDS:.0f} s")

    def hand_in_again(self) -> None:
        """Hand in what got no receipt until all of it has one.

        Raises:
            TooSlow: The hub does not take it.
        """
        until(self._again, "everything that was handed in has its receipt", RECEIPT_SECONDS)

    def _again(self) -> bool:
        with self._lock:
            left, self._unanswered = self._unanswered, []
        with self._door.session() as http:
            for body in left:
                self._hand_in(http, body)
        return not self._unanswered

    def _run(self, stop: threading.Event, chance: random.Random) -> None:
        with self._door.session() as http:
            while not stop.is_set():
                status = self._hand_in(http, self._document(chance))
                if status is None:
                    return
                if status == requests.codes.unavailable:
                    stop.wait(PAUSE_SECONDS)  # Retry-After says a second; a proof is less polite

    def _hand_in(self, http: requests.Session, body: bytes) -> int | None:
        """Hand a document in once; return the answer's status, or ``None`` if there was no answer."""
        digest = hashlib.sha256(body).hexdigest()
        self._ledger.asked(digest)
        try:
            answer = http.post(self._door.url, data=body, timeout=ANSWER_SECONDS)
        except requests.RequestException:
            with self._lock:
                self._unanswered.append(body)
            return None
        given = answer.status_code in RECEIPTS
        self._ledger.answered(digest, answer.status_code, answer.json()["id"] if given else None)
        if answer.status_code == requests.codes.unavailable:
            with self._lock:
                self._unanswered.append(body)
        if given:
            with self._given:
                self.receipts += 1
                self._given.notify_all()
        return answer.status_code
