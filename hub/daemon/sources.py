"""The ways into a running hub: listeners in their threads, pollers on the schedule; opened, swapped and closed here.

One rule: whatever is new is open before anything old is closed. A source that did not change is never touched.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from hub.deployment import Source
from hub.endpoints import Endpoints
from hub.errors import Unavailable
from hub.log import get_log
from hub.message import Incoming, Receipt
from hub.plugin import Accept, Listener, Poller, SenderDesk
from hub.room import Budget
from hub.schedule import Schedule

log = get_log(__name__)

BIND_SECONDS = 10.0
RESTART_SECONDS = 1.0
POLL_SECONDS = 5.0


class Sources:
    """All sources of a hub."""

    def __init__(self, schedule: Schedule, desk: SenderDesk, budget: Budget, accept: Accept) -> None:
        self._schedule, self._desk, self._budget, self._accept = schedule, desk, budget, accept
        self._open: dict[str, _Listening | _Polling] = {}

    def swap(self, wanted: Mapping[str, Source], endpoints: Endpoints, commit: Callable[[], None]) -> None:
        """Open what is new, then ``commit``, then close what is gone. If one cannot be opened, nothing changes.

        Raises:
            OSError: A listener cannot be bound.
        """
        kept = {name for name, one in self._open.items() if wanted.get(name) == one.source and not one.is_stale()}
        opened: dict[str, _Listening | _Polling] = {}
        try:
            for name, source in wanted.items():
                if name not in kept:
                    opened[name] = self._open_one(source, endpoints)
            commit()
        except BaseException:
            for one in opened.values():
                one.stop()
            raise
        gone = [one for name, one in self._open.items() if name not in kept]
        self._open = {name: one for name, one in self._open.items() if name in kept} | opened
        for one in gone:
            one.stop()

    def close(self) -> None:
        """Take nothing more in; what is being taken in gets its receipt."""
        for one in self._open.values():
            one.stop()

    def join(self, seconds: float) -> None:
        """Wait until the last receipt is out, so many seconds at most."""
        deadline = time.monotonic() + seconds
        for one in self._open.values():
            one.join(max(deadline - time.monotonic(), 0))

    def failing(self) -> dict[str, str]:
        """Return the sources that nothing comes in by now, and why, in the system's words."""
        return {name: why for name, one in self._open.items() if (why := one.why_failing())}

    def _open_one(self, source: Source, endpoints: Endpoints) -> _Listening | _Polling:
        adapter, made = endpoints.inbound(source, self._desk, self._budget.of(source.name))
        former = self._open.get(source.name)
        if adapter.listener:
            if isinstance(former, _Listening) and hasattr(made, "take_over"):
                made.take_over(former.listener)  # the same address is served without a gap
            one: _Listening | _Polling = _Listening(source, made, self._accept, endpoints)
        else:
            one = _Polling(source, made, self._accept, endpoints)
        one.start(self._schedule)
        log.info("source_open", source=source.name, adapter=source.adapter)
        return one


class _Opened:
    """A source that is open, and the secrets and certificates that it was opened with."""

    failure = ""  # why it cannot be read now, or could not a moment ago

    def __init__(self, source: Source, endpoints: Endpoints) -> None:
        self.source, self._endpoints = source, endpoints
        self._fingerprint = endpoints.fingerprint(source.settings)

    def is_stale(self) -> bool:
        """Tell whether a file of its secrets or certificates has changed since."""
        return self._endpoints.fingerprint(self.source.settings) != self._fingerprint

    def why_failing(self) -> str:
        """Return why nothing comes in by it now, or nothing."""
        return self.failure


class _Listening(_Opened):
    """A listener in its thread, started again if it fails."""

    def __init__(self, source: Source, listener: Listener, accept: Accept, endpoints: Endpoints) -> None:
        super().__init__(source, endpoints)
        self.listener, self._accept = listener, accept
        self._stop = threading.Event()
        self._failure: OSError | None = None
        self._failed_at = 0.0
        self._starting = True
        self._thread = threading.Thread(target=self._run, name=f"listen {source.name}", daemon=True)

    def start(self, _schedule: Schedule) -> None:
        """Start listening; returns when the address is bound.

        Raises:
            OSError: It cannot be bound.
        """
        self._thread.start()
        wait_bound: Any = getattr(self.listener, "wait_bound", None)
        waited = 0.0
        while wait_bound and self._thread.is_alive() and waited < BIND_SECONDS and not wait_bound(0.05):
            waited += 0.05
        self._starting = False
        if self._failure is not None:
            place = getattr(self.source.settings, "listen", None)
            why = self._failure.strerror or str(self._failure)
            raise OSError(f"source {self.source.name}: {f'{place}: ' if place else ''}{why}") from self._failure

    def stop(self) -> None:
        self._stop.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def why_failing(self) -> str:
        # Whether it works again nobody says; one that does not fails again as soon as it was started again.
        if time.monotonic() - self._failed_at < 3 * RESTART_SECONDS:
            return self.failure
        return str(getattr(self.listener, "failure", ""))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.listener.listen(self._accept, self._stop)
            except Exception as error:  # a plugin's bug must not close the way in for good
                if self._starting and isinstance(error, OSError):
                    self._failure = error
                    return
                self.failure, self._failed_at = _told(error), time.monotonic()
                log.error("listener_failed", source=self.source.name, exc_info=error)
                self._stop.wait(RESTART_SECONDS)


class _Polling(_Opened):
    """A poller on the schedule."""

    def __init__(self, source: Source, poller: Poller, accept: Accept, endpoints: Endpoints) -> None:
        super().__init__(source, endpoints)
        self._poller, self._accept = poller, accept
        self._stop = threading.Event()
        self._busy = threading.Lock()

    def start(self, schedule: Schedule) -> None:
        every = self.source.every.total_seconds() if self.source.every else POLL_SECONDS
        self._cancel = schedule.every(every, f"poll {self.source.name}", self._poll)

    def stop(self) -> None:
        self._stop.set()
        self._cancel()

    def join(self, seconds: float) -> None:
        if self._busy.acquire(timeout=seconds):
            self._busy.release()

    def _take(self, incoming: Incoming) -> Receipt:
        if self._stop.is_set():
            raise Unavailable("the hub is closing")  # a whole folder must not hold up the drain
        return self._accept(incoming)

    def _poll(self) -> None:
        with self._busy:
            if self._stop.is_set():
                return
            failure = ""
            try:
                self._poller.poll(self._take)
            except Exception as error:  # a plugin's bug must not end the polling
                failure = _told(error)
                if failure != self.failure:  # said once, not at each poll: nights are long
                    log.error("poll_failed", source=self.source.name, exc_info=error)
            if self.failure and not failure:
                log.info("poll_works", source=self.source.name)
            self.failure = failure


def _told(error: Exception) -> str:
    """Return what the system said: other texts may quote a document, or a file that is called after a person."""
    return f"{type(error).__name__}: {error.strerror}" if isinstance(error, OSError) else type(error).__name__
