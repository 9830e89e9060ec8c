"""One destination's threads: a slow or dead procedure delays only itself.

They come with its first due delivery, like its adapter, and go when nothing was due for a minute, so that thousands of
idle destinations cost nothing. Never more is claimed than can be tried at once: what is claimed and then lost counts
as sent.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from hub.contents import Contents
from hub.delivery import Delivery
from hub.deployment import Destination
from hub.dispatch import Claimed, Dispatch
from hub.errors import StoreError, Unavailable
from hub.log import get_log
from hub.message import DeliveryId
from hub.outcome import Deferred, Phase, Reason
from hub.plugin import OutboundAdapter, SeveralAtOnce
from hub.store.api import Store

log = get_log(__name__)

IDLE_SECONDS = 60.0
LOOK_SECONDS = 1.0  # how soon an idle thread sees that others need it
THREADS_MAX = 256
PORTION = 32  # deliveries in one thread, of an adapter that takes several at once, and
PORTIONS = 2  # threads then: what comes while one is on its way goes with the next
LEASE = timedelta(seconds=30)  # renewed while this process lives; where nobody else can be sending it says nothing


class Slots:
    """How many threads may deliver in all: destinations that find none are served at the next sweep."""

    def __init__(self, limit: int = THREADS_MAX) -> None:
        self._free = limit
        self._lock = threading.Lock()
        self._wanted_at = float("-inf")

    def take(self) -> bool:
        with self._lock:
            if self._free == 0:
                self._wanted_at = time.monotonic()
                return False
            self._free -= 1
            return True

    def give(self) -> None:
        with self._lock:
            self._free += 1

    @property
    def scarce(self) -> bool:
        """Whether somebody went without lately: idle threads make room then."""
        return time.monotonic() - self._wanted_at < 2 * LOOK_SECONDS


class Deliverer:
    """Claims and tries the deliveries of one destination, up to ``max_in_flight`` at once: each in a thread of its own,
    or several in one where the adapter takes them together.
    """

    def __init__(
        self,
        destination: Destination,
        adapter: Callable[[Destination], OutboundAdapter],
        store: Store,
        dispatch: Dispatch,
        clock: Callable[[], datetime],
        owner: str,
        slots: Slots,
        former: Deliverer | None = None,
        contents: Contents | None = None,
    ) -> None:
        """``former`` delivered to the same destination with the last configuration: it finishes first.

        What stands in ``contents`` is not read from the store.
        """
        self._former = former
        self._former_until = time.monotonic() + destination.limits.total.total_seconds()
        self._destination, self._make, self._store, self._dispatch = destination, adapter, store, dispatch
        self._clock, self._owner, self._slots = clock, owner, slots
        self._contents = contents or Contents()
        self._lock = threading.Condition()
        self._claimed: deque[Claimed] = deque()
        self._kept = 0  # room for what is about to be accepted
        self._trying: set[DeliveryId] = set()
        self._threads = 0
        self._portion = 1  # how many a thread tries at once
        self._threads_max = destination.limits.max_in_flight
        self._busy = 0  # threads that try some
        self._claiming = False
        self._rung = False
        self._stopping = False
        self._adapter: OutboundAdapter | None = None
        self._opening = threading.Lock()

    def wake(self) -> None:
        """Look for due deliveries now."""
        with self._lock:
            if self._stopping:
                return
            self._rung = True
            self._spawn(1)
            self._lock.notify()

    def keep_room(self) -> bool:
        """Keep room for a delivery that is about to be accepted; not while others wait, for these go first."""
        with self._lock:
            others_wait = self._rung or self._claiming or self._former is not None
            ordered = self._destination.ordered_by is not None  # these stand in line
            if self._stopping or ordered or others_wait or self._in_use() >= self._destination.limits.max_in_flight:
                return False
            self._spawn(self._portions(len(self._claimed) + self._kept + 1))
            if not self._threads:
                return False
            self._kept += 1
            return True

    def fill_room(self, claimed: Claimed | None) -> None:
        """Try this one in the room that was kept, or give the room back."""
        with self._lock:
            self._kept -= 1
            if claimed is not None:
                self._claimed.append(claimed)
                self._spawn(self._portions(len(self._claimed)))
            self._lock.notify()

    def _in_use(self) -> int:
        return len(self._trying) + len(self._claimed) + self._kept

    def stop(self) -> None:
        """Claim nothing more; what is in hand is tried to its end."""
        with self._lock:
            self._stopping = True
            self._lock.notify_all()

    def join(self, seconds: float) -> bool:
        """Wait until the threads have ended, and those of the one before; return whether they did in time."""
        end = time.monotonic() + seconds
        with self._lock:
            ended = self._lock.wait_for(lambda: self._threads == 0, timeout=max(seconds, 0))
            former = self._former
        return ended and (former is None or former.join(end - time.monotonic()))

    def in_hand(self) -> list[DeliveryId]:
        """Return what is claimed and not settled yet, here and by the one before: nobody else may take that over."""
        with self._lock:
            mine = [*(one.delivery.id for one in self._claimed), *self._trying]
            former = self._former
        return mine if former is None else mine + former.in_hand()

    def _spawn(self, wanted: int) -> None:
        """Start threads so that ``wanted`` are free, within the limits. The lock is held."""
        free = self._threads - self._busy - int(self._claiming)
        for _ in range(min(wanted - free, self._threads_max - self._threads)):
            if not self._slots.take():
                return
            thread = threading.Thread(target=self._run, name=f"deliver {self._destination.name}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the machine gives no more threads; the next sweep tries again
                self._slots.give()
                log.error("thread_not_started", destination=self._destination.name)
                return
            self._threads += 1

    def _run(self) -> None:
        try:
            while claimed := self._next():
                try:
                    self._try(claimed)
                except (Unavailable, StoreError) as error:
                    # The hub is closing: the next start settles them as unclear.
                    for one in claimed:
                        log.error("attempt_not_recorded", delivery=one.delivery.id, error=type(error).__name__)
                finally:
                    with self._lock:
                        self._busy -= 1
                        self._trying.difference_update(one.delivery.id for one in claimed)
        finally:
            self._leave()

    def _portions(self, deliveries: int) -> int:
        return -(-deliveries // self._portion)

    def _next(self) -> Sequence[Claimed]:
        """Return claimed deliveries, claiming when there is none; nothing when there has been none for long."""
        while True:
            with self._lock:
                while not self._claimed and not self._may_claim():
                    if self._kept or (self._rung and not self._stopping):  # full: never without letting the lock go
                        self._lock.wait(LOOK_SECONDS)
                    elif self._stopping or self._has_waited_long():
                        return ()
                if self._claimed:
                    some = [self._claimed.popleft() for _ in range(min(self._portion, len(self._claimed)))]
                    self._busy += 1
                    self._trying.update(one.delivery.id for one in some)
                    return some
                self._claiming, self._rung = True, False
                limit = self._destination.limits.max_in_flight - self._in_use()
            began = time.monotonic()
            found = self._claim(limit)
            with self._lock:
                self._claiming = False
                self._claimed.extend(Claimed(one, self._contents.take(one), began) for one in found)
                # A full claim says that there may be more: somebody looks again when a thread is free.
                self._rung = self._rung or len(found) >= limit
                wanted = self._portions(len(self._claimed))
                self._spawn(wanted)
                self._lock.notify(wanted)

    def _has_waited_long(self) -> bool:
        """Wait to be woken; return whether nothing came for long, or others need the thread. The lock is held."""
        end = time.monotonic() + IDLE_SECONDS
        while not self._slots.scarce and self._threads <= self._threads_max and (left := end - time.monotonic()) > 0:
            if self._lock.wait(min(left, LOOK_SECONDS)):
                return False
        return not self._rung and not self._claimed and not self._kept

    def _may_claim(self) -> bool:
        full = self._in_use() >= self._destination.limits.max_in_flight
        return self._rung and not self._claiming and not self._stopping and not full

    def _claim(self, limit: int) -> list[Delivery]:
        if self._former is not None:
            if self._former.join(self._former_until - time.monotonic()):
                self._former = None  # else it keeps what it has, and is not waited for again
            if self._stopping:
                return []
        try:
            return list(
                self._store.claim(
                    self._destination.name, now=self._clock(), limit=limit, owner=self._owner, lease=LEASE
                )
            )
        except (Unavailable, StoreError) as error:
            log.error("claim_failed", destination=self._destination.name, error=type(error).__name__)
            return []

    def _try(self, claimed: Sequence[Claimed]) -> None:
        claimed = [one for one in claimed if self._is_ours(one)]
        adapter = self._open()
        if isinstance(adapter, Deferred):
            self._dispatch.settle([(one.delivery, adapter) for one in claimed], self._destination.retry)
            return
        self._dispatch.attempt(claimed, self._destination, adapter)
        if self._destination.ordered_by:
            self.wake()  # the next of the same key may go now

    def _is_ours(self, claimed: Claimed) -> bool:
        """Tell whether nobody has taken it over. Who did not run for long (a stopped process, a machine that was moved)
        asks before he sends, for another node may have called it lost meanwhile.
        """
        fresh = time.monotonic() - claimed.since < LEASE.total_seconds() / 2
        if fresh or self._store.exclusive:
            return True
        only = [claimed.delivery.id]
        ours = self._store.renew(self._owner, now=self._clock(), lease=LEASE, only=only) == 1
        if not ours:
            log.warning("claim_lost", delivery=claimed.delivery.id, destination=self._destination.name)
        return ours

    def _open(self) -> OutboundAdapter | Deferred:
        with self._opening:
            if self._adapter is None:
                try:
                    adapter = self._make(self._destination)
                    self._try_open(adapter)
                except Exception as error:  # a plugin's bug must not end the thread with the delivery in its hands
                    log.warning("open_failed", destination=self._destination.name, exc_info=error)
                    expected = isinstance(error, OSError)
                    return Deferred(Reason.UNREACHABLE if expected else Reason.CRASHED, phase=Phase.NONE, code="open")
                self._adapter = adapter
                if isinstance(adapter, SeveralAtOnce):
                    self._portion, self._threads_max = PORTION, min(PORTIONS, self._threads_max)
            return self._adapter

    @staticmethod
    def _try_open(adapter: OutboundAdapter) -> None:
        try:
            adapter.open()
        except BaseException:
            adapter.close()
            raise

    def _leave(self) -> None:
        with self._lock:
            self._threads -= 1
            self._slots.give()
            if self._claimed:
                self._spawn(1)  # a bug has ended this thread: what waited for it is not lost
            last = self._threads == 0
            adapter, self._adapter = (self._adapter, None) if last else (None, self._adapter)
            self._lock.notify_all()
        if adapter is not None:
            adapter.close()
