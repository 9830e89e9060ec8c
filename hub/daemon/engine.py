"""The running hub: everything is wired here, and only here. Started in this order, stopped in the reverse.

store (lock, migrate) ─▶ workers prove the snapshot ─▶ what was SENDING is settled ─▶ deliverers, jobs, schedule
─▶ sources ─▶ ready
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub import crashpoint
from hub.breaker import blocks, probe_now
from hub.config.process import ProcessSettings, strange_variables
from hub.daemon.desk import Desk
from hub.daemon.entrance import Entrance
from hub.daemon.generation import Generation, Generations
from hub.daemon.opening import hold_closed
from hub.daemon.retention import Retention
from hub.daemon.sources import Sources
from hub.daemon.switching import replan, switched
from hub.daemon.vanished import hold_vanished, is_vanished
from hub.daemon.watching import Deaths, Watching
from hub.deliverer import Deliverer, Slots
from hub.deliverers import Deliverers
from hub.deployment import Destination
from hub.dispatch import Attempt, Dispatch
from hub.errors import Unavailable
from hub.intake import Intake
from hub.jobs import Jobs
from hub.lanes import Lanes
from hub.log import get_log
from hub.message import Incoming, new_id
from hub.metrics import Metrics
from hub.outcome import Reason, Unclear
from hub.overview import configured
from hub.rate import Rates
from hub.retry import RetryPolicy
from hub.room import Budget
from hub.schedule import Schedule
from hub.space import Disk
from hub.spool import Spool
from hub.store import folder_of, open_store
from hub.store.api import Control
from hub.store.upkeep_api import Work
from hub.versions import versions

log = get_log(__name__)

DRAIN_SECONDS = 30.0
JOBS_EVERY_SECONDS = 0.5
JOB_RATE = 20.0  # items per second of a job that says nothing: what comes in now must not notice
JOB_WAITS_SECONDS = 0.01  # for senders, before each step of an item: a job comes on beside many, too
UNBLOCK_SECONDS = 2
WATCH_SECONDS = 2
VANISHED_SECONDS = 5
HOURS_SECONDS = 1
SWITCH_SECONDS = 2
LOST_SECONDS = 5
DISK_SECONDS = 1
RETENTION_SECONDS = 60


def utc_now() -> datetime:
    return datetime.now(UTC)


class Engine:
    """One daemon over one store and one snapshot."""

    def __init__(self, config: Path, settings: ProcessSettings, on_failure: Callable[[], None] = lambda: None) -> None:
        """Start everything but the sources. ``on_failure`` is called when only a new start can help.

        Raises:
            StoreError: Another daemon has the store.
            ConfigError: The configuration cannot be used.
            Unavailable: The store or the workers cannot be started.
        """
        self._config, self._settings, self._on_failure = config, settings, on_failure
        self.metrics = Metrics()
        self.disk = Disk(folder_of(settings.store), settings.keep_free, settings.ballast)
        self.disk.look()  # a full disk would not let the store be opened
        self.store = open_store(settings.store, state_dir=settings.state_dir, mode="daemon")
        try:
            spool = Spool(settings.state_dir)
            spool.sweep()
            self._deaths = Deaths()
            self._generations = Generations(self._prove(strict=False))
        except BaseException:
            self.store.close()
            raise
        self._closing = threading.Event()
        self.dispatch = Dispatch(self.store, utc_now, self._observe, self._closing, self._fingerprint)
        self._slots = Slots()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{new_id()}"  # a new start is a new owner
        self.deliverers = Deliverers(self._deliverer, self._destination, self.store, utc_now, self._owner)
        planning = self._generations
        self.intake = Intake(
            self.store, lambda: planning, lambda: planning.current.deployment, utc_now, self.deliverers
        )
        self.lanes = Lanes(self.intake, settings.workers + 1)  # one keeps while the others judge
        self.jobs = Jobs(
            self.store, self.intake, lambda: planning, utc_now, self.deliverers,
            rate=JOB_RATE, node=None if self.store.exclusive else self._owner,
            make_way=lambda: self.lanes.make_way(JOB_WAITS_SECONDS),
        )  # fmt: skip
        self.schedule = Schedule()
        self.watching = Watching(
            self.store, self._generations, self.disk, self.metrics, self._deaths, utc_now, config.parent
        )
        self.watching.adopt(self._generations.current)
        self._budget, self._rates = Budget(settings.bytes_in_flight, spool), Rates()
        self.accept = Entrance(self.intake, self.lanes, self._budget, self.metrics, self._admit)
        self.sources = Sources(self.schedule, Desk(self.store, self.metrics, planning), self._budget, self.accept)
        self._fingerprints: dict[str, str] = {}
        self._accepted: tuple[str, datetime] | None = None  # the snapshot, and when its destinations were looked at
        self._started = threading.Event()
        self._stopping = threading.Event()
        self._retaining = Retention(self.store, utc_now, self._stopping.wait)
        self._reloading = threading.Lock()
        self._jobs_bell = threading.Event()
        self._jobs_thread = threading.Thread(target=self._run_jobs, name="jobs", daemon=True)

    def start(self) -> None:
        """Settle what a former daemon was sending, then deliver, then take in.

        Raises:
            OSError: A source cannot be opened (its port is taken, say).
        """
        # SQLite: the lock is ours, so whoever was sending is gone. PostgreSQL: the lease says so.
        self._settle_lost(None if self.store.exclusive else utc_now())
        for control in self.store.controls(utc_now()):
            if control.probed:  # a new start is a new try
                probe_now(self.store, control.destination, utc_now())
        self._hold_vanished()
        self._hold_closed()
        self.deliverers.start()
        self._jobs_thread.start()
        self.store.listen(self.deliverers.wake, self._jobs_bell.set)
        self.schedule.every(UNBLOCK_SECONDS, "unblock", self._unblock)
        self.schedule.every(WATCH_SECONDS, "watch", self._watch_store)
        self.disk.look()
        self.schedule.every(DISK_SECONDS, "disk", self.disk.look)
        self.schedule.every(VANISHED_SECONDS, "vanished", self._hold_vanished)
        self.schedule.every(HOURS_SECONDS, "hours", self._hold_closed)
        self.schedule.every(SWITCH_SECONDS, "switch", self._switch)
        self._in_turn(RETENTION_SECONDS, "retention", self._retention)
        self.schedule.every(LOST_SECONDS, "lost", lambda: self._settle_lost(utc_now()))
        self.watching.start(self.schedule, self._in_turn)
        self.schedule.start()
        now = self._generations.current
        self.lanes.start()
        self.sources.swap(now.deployment.sources, now.endpoints, lambda: None)
        self._started.set()
        log.info("hub_ready", snapshot=now.digest, count=len(now.deployment.destinations), pid=os.getpid())

    @property
    def snapshot(self) -> str:
        """The name of the snapshot in service."""
        return self._generations.current.digest

    def reload(self) -> str:
        """Put what is on disk now into service, wholly or not at all; return the snapshot's name.

        The new workers prove it (compile, route tests), what is new is opened, then all is swapped at once; what the
        old workers and threads have in hand they bring to its end.

        Raises:
            ConfigError: It cannot be used; the old configuration goes on.
            OSError, Unavailable: A source cannot be opened, or no workers be started; likewise.
        """
        with self._reloading:
            if self._stopping.is_set():
                raise Unavailable("the hub is closing")
            fresh = self._prove(strict=True)
            self.watching.adopt(fresh)
            crashpoint.reached("during-reload")
            try:
                self.sources.swap(fresh.deployment.sources, fresh.endpoints, lambda: self._generations.swap(fresh))
            except BaseException:
                fresh.retire()
                raise
            self.deliverers.renew()
            self._hold_vanished()
            self._hold_closed()
            log.info("hub_reloaded", snapshot=fresh.digest, count=len(fresh.deployment.destinations))
            return fresh.digest

    def stop(self) -> bool:
        """Take nothing more in, finish what is in hand, and close; return whether all ended in time."""
        self._stopping.set()
        self.watching.stop()
        self._jobs_bell.set()
        deadline = time.monotonic() + DRAIN_SECONDS
        self.deliverers.finish()  # what comes in now waits for the next start; what is in hand has all the time
        self.sources.close()
        self.schedule.stop()
        self.sources.join(deadline - time.monotonic())
        self.lanes.close(deadline - time.monotonic())
        if self._jobs_thread.is_alive():
            self._jobs_thread.join(max(deadline - time.monotonic(), 0.1))
        drained = self.deliverers.stop(max(deadline - time.monotonic(), 0.1))
        self._closing.set()
        with self._reloading:
            self._generations.current.pool.close()
        self.store.close()
        log.info("hub_stopped", pid=os.getpid())
        return drained

    def _admit(self, incoming: Incoming) -> None:
        """Let a message in, or not: its sender may be too fast, or the disk nearly full."""
        sender = self._generations.current.deployment.senders.get(incoming.sender)
        self._rates.take(incoming.sender, sender.rate if sender else None)
        self.disk.admit()

    def not_ready(self) -> str | None:
        """Return why the hub should get no traffic, or ``None``."""
        if self._stopping.is_set():
            return "draining"
        if not self._started.is_set():
            return "starting"
        if self.disk.low:
            return "the disk is nearly full"
        if not self._generations.current.pool.alive:
            return "no worker process is alive"
        if not self._threads_live():
            return "a thread of the hub has ended"
        try:
            self.store.check()
        except Unavailable:
            return "the store does not answer"
        return None

    def configured(self) -> dict[str, Any]:
        """Return the destinations in service and the certificates that lie here, as a listing wants them."""
        now = self._generations.current
        return {
            "destinations": [asdict(configured(one)) for one in now.deployment.destinations.values()],
            "certificates": [
                asdict(one) | {"not_after": one.not_after.isoformat()} for one in now.endpoints.expiries()
            ],
        }

    def is_alive(self) -> bool:
        """Tell whether a new start would mend nothing: also while it drains, or waits for its database."""
        return self._stopping.is_set() or (self._threads_live() and self.store.failed is None)

    def _threads_live(self) -> bool:
        return self.deliverers.alive and self._jobs_thread.is_alive()

    def render_metrics(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        try:
            self.watching.gauge()
        except Unavailable:
            log.error("metrics_without_store")
        return self.metrics.render()

    def _prove(self, *, strict: bool) -> Generation:
        generation = Generation(self._config, self._settings, utc_now, self._worker_died, strict=strict)
        for problem in generation.warnings:
            log.warning("configuration_warning", reason=f"{problem.file}:{problem.line}: {problem.text}")
        for problem in strange_variables(os.environ, generation.files.contents.values()):
            log.warning("configuration_warning", reason=str(problem))
        self.store.keep_snapshot(generation.digest, generation.files.contents, versions(), utc_now())
        return generation

    def _worker_died(self) -> None:
        self.metrics.worker_died()
        self._deaths.note()

    def _destination(self, name: str) -> Destination | None:
        return self._generations.current.deployment.destinations.get(name)

    def _deliverer(self, destination: Destination, former: Deliverer | None) -> Deliverer:
        outbound = self._generations.current.endpoints.outbound
        return Deliverer(
            destination, outbound, self.store, self.dispatch, utc_now, self._owner, self._slots, former,
            self.deliverers.contents,
        )  # fmt: skip

    def _observe(self, attempt: Attempt) -> None:
        outcome = type(attempt.outcome).__name__.lower()
        name = attempt.delivery.destination or ""
        crashpoint.reached("after-send")
        self.metrics.attempted(name, outcome, attempt.duration.total_seconds())
        if blocks(attempt.outcome):
            self._fingerprints[name] = attempt.secrets  # those that were refused: what has come since is worth a try

    def _settle_lost(self, now: datetime | None) -> None:
        """Settle as unclear what nobody is sending any more: of a node that died, of a claim whose answer was lost.

        Several nodes may find the same; the delivery's revision lets one of them settle it. Not soon after the store
        was away: nobody could renew meanwhile.
        """
        if not self.deliverers.steady:
            return
        in_hand = self.deliverers.in_hand()  # first: what is settled meanwhile is no longer found
        for delivery in self.store.lost(now):
            if delivery.id in in_hand:
                continue  # its lease could not be renewed, or the clock has jumped; its attempt will say how it ended
            destination = self._generations.current.deployment.destinations.get(delivery.destination or "")
            if destination is None and not self._is_left_to_us(delivery.destination):
                continue
            policy = destination.retry if destination else RetryPolicy()
            self.dispatch.settle([(delivery, Unclear(Reason.WORKER_LOST, code="worker-lost"))], policy)

    def _is_left_to_us(self, destination: str | None) -> bool:
        """Tell whether no other node knows a destination either: one that does settles by the policy written there."""
        if self.store.exclusive or destination is None:
            return True
        return any(one.destination == destination and is_vanished(one) for one in self.store.controls(utc_now()))

    def _in_turn(self, seconds: float, name: str, work: Work) -> None:
        """Do something every so many seconds; of several nodes one does it."""
        self.schedule.every(seconds, name, lambda: self.store.take_turn(name, timedelta(seconds=seconds), work))

    def _run_jobs(self) -> None:
        seconds = JOBS_EVERY_SECONDS
        while not self._stopping.is_set():
            self._jobs_bell.wait(seconds)
            self._jobs_bell.clear()
            seconds = JOBS_EVERY_SECONDS
            try:
                if (rest := self.jobs.run_open(self._stopping.is_set)) is not None:
                    seconds = min(seconds, rest.total_seconds())
            except Unavailable as error:
                log.warning("jobs_postponed", reason=str(error))
            except Exception as error:  # a bug: the jobs that are not to blame must go on
                log.error("jobs_failed", exc_info=error)

    def _unblock(self) -> None:
        """Probe a blocked destination at once when a secret or certificate file of its has changed."""
        for control in self.store.controls(utc_now()):
            destination = self._destination(control.destination)
            if control.kind != "blocked" or destination is None:
                continue
            fingerprint = self._fingerprint(destination)
            if self._fingerprints.setdefault(control.destination, fingerprint) != fingerprint:
                self._fingerprints[control.destination] = fingerprint
                self._probe(control)

    def _hold_vanished(self) -> None:
        try:
            current = self._generations.current
            back = hold_vanished(self.store, current.deployment.destinations, current.digest, utc_now())
        except Unavailable:
            return  # the next look does it
        self.deliverers.wake(back)

    def _hold_closed(self) -> None:
        try:
            opened = hold_closed(self.store, self._generations.current.deployment.destinations.values(), utc_now())
        except Unavailable:
            return  # the next look does it
        self.deliverers.wake(opened)

    def _switch(self) -> None:
        """Have planned anew what waits for destinations that accept something else now, or may since a reload."""
        current, now = self._generations.current, utc_now()
        since = self._accepted[1] if self._accepted and self._accepted[0] == current.digest else None
        try:
            found = replan(
                self.store, switched(current.deployment.destinations.values(), since, now), current.digest, now
            )
        except Unavailable:
            return  # the next look does it
        self._accepted = (current.digest, now)
        if found:
            self._jobs_bell.set()

    def _fingerprint(self, destination: Destination) -> str:
        return self._generations.current.endpoints.fingerprint(destination.settings)

    def _probe(self, control: Control) -> None:
        probe_now(self.store, control.destination, utc_now())
        log.info("destination_probed", destination=control.destination, reason="secret_changed")
        self.deliverers.wake([control.destination])

    def _watch_store(self) -> None:
        """End the daemon when its store can no longer be trusted: who supervises it starts it anew."""
        if self.store.failed and not self._stopping.is_set():
            log.error("hub_cannot_go_on", reason=self.store.failed)
            self._closing.set()  # nothing more can be recorded: who waits for it would only hold up the next start
            self._on_failure()

    def _retention(self, still: Callable[[], None]) -> None:
        self._retaining.erase(self._generations.current.deployment.sources, still)
