"""Looks again and again whether all is well, and writes down what is wrong now and what is over.

What any node can see one node looks at, in turn; what is a node's own each looks at itself, and clears only its own.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from hub.alerts import rules
from hub.alerts.rules import SHARED, Facts, NodeFacts, Silence, hushed, judge, judge_node
from hub.alerts.settings import AlertSettings
from hub.certificates import Expiry, shown
from hub.deployment import Deployment
from hub.store.api import Store
from hub.store.watch_api import Alert, Handed

EVERY = timedelta(seconds=5)
SLOWLY = timedelta(minutes=5)  # for what changes in days: silence, certificates on the disk
SHARE = 50  # of its time at most one part in so many is spent on looking
RATE_SPAN = timedelta(hours=1)
NOTICES_KEPT = timedelta(days=30)


class Watch:
    """The facts of one process, and what follows from them."""

    def __init__(
        self,
        store: Store,
        deployment: Callable[[], Deployment],
        expiries: Callable[[], Iterable[Expiry]],
        node: Callable[[str], NodeFacts],
        clock: Callable[[], datetime],
    ) -> None:
        """``expiries`` reads the certificates on this disk, ``node`` says what a node (this one) knows of itself."""
        self._store, self._deployment, self._expiries = store, deployment, expiries
        self._node_facts, self._clock, self._node = node, clock, socket.gethostname()
        self._again_at = float("-inf")
        self._slow_at = float("-inf")
        self._silent: Sequence[Silence] = ()
        self._certificates: Sequence[Expiry] = ()

    def look_shared(self, still: Callable[[], None] = lambda: None) -> None:
        """Look at what any node can see; ``still`` raises if it is not this node's turn any more."""
        started = time.monotonic()
        if started < self._again_at:
            return
        facts = self.facts()
        still()
        settings = self._deployment().alerts
        hush = hushed(facts)
        found = list(judge(facts, settings))
        self._write(found, lambda one: one.name in SHARED and (one.name, one.object) not in hush, settings)
        self._again_at = time.monotonic() + SHARE * (time.monotonic() - started)

    def look_here(self) -> None:
        """Look at this node."""
        settings = self._deployment().alerts
        found = list(judge_node(self._node_facts(self._node), settings))
        self._write(found, lambda one: one.name not in SHARED and one.object == self._node, settings)

    def facts(self) -> Facts:
        """Collect what is to be judged."""
        now = self._clock()
        if time.monotonic() >= self._slow_at:
            self._slow_at = time.monotonic() + SLOWLY.total_seconds()
            self._silent = self._silences(now)
            self._certificates = self.certificates()
            self._store.watch.forget(self._deployment().alerts.tell, now - NOTICES_KEPT)
        since = min((one.since for one in self._silent), default=now)
        if since < now and any(one.sender in self._store.watch.handed_in(since + _TICK, now) for one in self._silent):
            self._silent = self._silences(now)  # somebody speaks again: said at once
        return Facts(
            now,
            controls=self._store.controls(now),
            dead=self._store.watch.dead(),
            waiting=self._waiting(now),
            certificates=self._certificates,
            silent=self._silent,
            handed_in=self._handed_in(now),
        )

    def certificates(self) -> Sequence[Expiry]:
        """Return what lies here and what peers have shown, of places that are configured."""
        destinations = self._deployment().destinations
        self._store.watch.forget_certificates(list(destinations))
        return [*self._expiries(), *shown(self._store.watch.seen())]

    def _write(self, found: Sequence[Alert], mine: Callable[[Alert], bool], settings: AlertSettings) -> None:
        standing = {(one.alert.name, one.alert.object): one.alert for one in self._store.watch.standing()}
        wrong = {(one.name, one.object): one for one in found}
        over = [one for key, one in standing.items() if key not in wrong and mine(one)]
        raised = [one for key, one in wrong.items() if key not in standing or standing[key].level < one.level]
        if raised or over:
            self._store.watch.change(raised, over, settings.tell)

    def _waiting(self, now: datetime) -> Mapping[str, timedelta]:
        """Return how long the oldest has been waiting where that is too long; a hold's time is nobody's fault."""
        limit = self._deployment().alerts.oldest_waiting
        old = {name: since for name, since in self._store.watch.oldest_waiting().items() if now - since > limit}
        return {name: now - since - self._store.held(name, since, now) for name, since in old.items()}

    def _handed_in(self, now: datetime) -> Mapping[str, Handed]:
        return self._store.watch.handed_in(now - RATE_SPAN, now)

    def _silences(self, now: datetime) -> Sequence[Silence]:
        """Return the senders of which nothing has come for a while, with what is usual in such a span."""
        found = []
        for sender in self._deployment().senders if self._deployment().alerts.silence else ():
            last = self._store.watch.last_handed_in(sender)
            if last is None or now - last < rules.SILENT_MIN:
                continue
            span = min(now - last, rules.SILENT_MAX)
            starts = [last - number * rules.WEEK for number in range(1, rules.USUAL_WEEKS + 1)]
            usual = [self._store.watch.handed_in(start + _TICK, start + span).get(sender, Handed()) for start in starts]
            found.append(Silence(sender, last, tuple(one.accepted + one.rejected for one in usual)))
        return found


_TICK = timedelta(microseconds=1)
