"""All destinations' threads, the sweep that wakes those for which something is due, and room for what comes in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Self

from hub import deliverer as one_destination
from hub.contents import Content, Contents
from hub.deliverer import Deliverer
from hub.delivery import Delivery
from hub.deployment import Destination
from hub.dispatch import Claimed
from hub.log import get_log
from hub.message import DeliveryId
from hub.store.api import Acceptance, Store
from hub.store.taking import Accepted, Taking

log = get_log(__name__)

RENEW_SECONDS = 10.0
SWEEP_SECONDS_MIN = 0.1
SWEEP_SECONDS = 1.0  # how soon is seen what the command line wrote beside a running daemon
HANDED_BYTES_MAX = 1_000_000  # larger ones are read again from the disk when their turn comes: memory is scarcer


class Offer:
    """Room at destinations for the deliveries of one message: what was claimed with it is tried at once.

    What of the room is not used is given back when the block ends.
    """

    def __init__(self, rooms: Mapping[str, Deliverer], taking: Taking, contents: Contents | None = None) -> None:
        self._rooms, self._contents = dict(rooms), contents or Contents()
        self.taking = taking
        self._since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        while self._rooms:
            self._rooms.popitem()[1].fill_room(None)

    def hand_over(self, accepted: Accepted, acceptance: Acceptance) -> None:
        """Have tried what was claimed; with the bytes, as long as these are few. Those of the others are kept ready."""
        message = replace(acceptance.message, body=b"")
        payloads = {one.id: one for one in acceptance.payloads if len(one.body) <= HANDED_BYTES_MAX}
        claimed = {delivery.id for delivery in accepted.claimed}
        for delivery in accepted.claimed:
            payload = payloads.get(delivery.payload_id or "")
            self.fill(delivery, None if payload is None else (message, payload))
        for delivery in acceptance.deliveries:
            payload = payloads.get(delivery.payload_id or "")
            if payload is not None and delivery.id not in claimed and not accepted.receipt.duplicate:
                self._contents.put(delivery.id, (message, payload))

    def fill(self, delivery: Delivery, content: Content | None = None) -> None:
        """Have tried one that was claimed for the room at its destination; without its content that is read then."""
        self._rooms.pop(delivery.destination or "").fill_room(Claimed(delivery, content, self._since))


class Deliverers:
    """All destinations' threads, and the sweep that wakes those for which something is due."""

    def __init__(
        self,
        make: Callable[[Destination, Deliverer | None], Deliverer],
        find: Callable[[str], Destination | None],
        store: Store,
        clock: Callable[[], datetime],
        owner: str,
    ) -> None:
        self._make, self._find = make, find
        self._store, self._clock, self._owner = store, clock, owner
        self._renewed = time.monotonic()
        self._failed = float("-inf")
        self.contents = Contents()
        self._deliverers: dict[str, Deliverer] = {}
        self._former: dict[str, Deliverer] = {}  # of the last configuration, bringing to its end what they have
        self._lock = threading.Lock()
        self._bell = threading.Event()
        self._finishing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sweep, name="sweep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, destinations: Collection[str]) -> None:
        """Look for due deliveries of these destinations now."""
        for name in destinations:
            if (deliverer := self._deliverer(name)) is not None:
                deliverer.wake()

    def offer(self, destinations: Collection[str]) -> Offer:
        """Keep room for one delivery at each of these destinations that can try it at once."""
        rooms = {name: one for name in destinations if (one := self._deliverer(name)) is not None and one.keep_room()}
        return Offer(rooms, Taking(frozenset(rooms), self._owner, one_destination.LEASE, self._clock()), self.contents)

    def in_hand(self) -> set[DeliveryId]:
        """Return what this process is sending, by this configuration and the last ones.

        Not in it is what was claimed just now and has not come back from the store; its lease is fresh.
        """
        with self._lock:
            every = self._all()
        return {id_ for one in every for id_ in one.in_hand()}

    def renew(self) -> None:
        """Deliver by the configuration of now from here on; what is in hand is tried to its end by the last one."""
        with self._lock:
            former, self._deliverers = self._deliverers, {}
            for name, deliverer in former.items():
                deliverer.stop()
                self._former[name] = deliverer
        self._bell.set()

    def finish(self) -> None:
        """Claim nothing more from now on."""
        with self._lock:
            self._finishing = True
            for deliverer in self._all():
                deliverer.stop()

    def stop(self, seconds: float) -> bool:
        """Wait for the attempts in hand; return whether all ended in time. Leases are renewed until then."""
        self.finish()
        deadline = time.monotonic() + seconds
        ended = [one.join(deadline - time.monotonic()) for one in self._all()]
        self._stop.set()
        self._bell.set()
        if self._thread.is_alive():
            self._thread.join(max(deadline - time.monotonic(), SWEEP_SECONDS))
        return all(ended)

    @property
    def alive(self) -> bool:
        """Whether the sweep runs: without it nothing is tried again."""
        return self._thread.is_alive()

    @property
    def steady(self) -> bool:
        """Whether the store has been there for the time of a lease: else living nodes may not have renewed theirs."""
        return time.monotonic() - self._failed > one_destination.LEASE.total_seconds()

    def _all(self) -> list[Deliverer]:
        return [*self._deliverers.values(), *self._former.values()]

    def _deliverer(self, name: str) -> Deliverer | None:
        with self._lock:
            if self._finishing:
                return None
            if name not in self._deliverers:
                destination = self._find(name)
                if destination is None:
                    return None  # gone from the configuration: its deliveries wait, doctor names them
                self._deliverers[name] = self._make(destination, self._former.pop(name, None))
            return self._deliverers[name]

    def _sweep(self) -> None:
        while not self._stop.is_set():
            try:
                now = self._clock()
                self.contents.forget()
                self._renew(now)
                soon = None
                if not self._finishing:
                    self.wake(self._store.due(now))
                    soon = self._store.next_due(now)
            except Exception as error:  # whatever it is: without the sweep nothing would ever be tried again
                log.error("sweep_failed", exc_info=error)
                self._failed = time.monotonic()
                soon = None
            pause = SWEEP_SECONDS
            if soon is not None:  # new messages ring by themselves; this is for those that wait for their time
                pause = min(pause, max((soon - self._clock()).total_seconds(), SWEEP_SECONDS_MIN))
            self._bell.wait(pause)
            self._bell.clear()

    def _renew(self, now: datetime) -> None:
        """Keep what is in hand, so that no other node takes it over; what no thread has any more runs out."""
        if not self._store.exclusive and time.monotonic() - self._renewed > RENEW_SECONDS:
            if in_hand := self.in_hand():
                self._store.renew(self._owner, now=now, lease=one_destination.LEASE, only=in_hand)
            self._renewed = time.monotonic()
