"""One snapshot in service: its workers, its deployment, its endpoints. Replaced as a whole, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import hub.config
from hub.config.process import ProcessSettings
from hub.endpoints import Endpoints
from hub.errors import ConfigError, Unavailable
from hub.files import Files
from hub.inspection import Plan, Rejection
from hub.message import Incoming
from hub.pool import Order, Pool


class Generation:
    """A proved snapshot with everything that was made of it."""

    def __init__(
        self,
        config: Path,
        settings: ProcessSettings,
        clock: Callable[[], datetime],
        on_death: Callable[[], None],
        *,
        strict: bool,
    ) -> None:
        """Prove the snapshot and start its workers. ``strict``: its route tests must pass.

        Raises:
            ConfigError: The snapshot cannot be used.
            Unavailable: The workers cannot be started.
        """
        files = Files(config.parent)
        reading = hub.config.read(files, config.name, stage=settings.stage)
        if reading.deployment is None:
            raise ConfigError(reading.problems)
        self.deployment = reading.deployment
        order = Order(
            config.parent,
            config.name,
            settings.stage,
            settings.state_dir,
            size=settings.workers,
            memory=settings.worker_memory,
            strict=strict,
            deployment=reading.deployment,
            read=files.contents,
        )
        self.pool = Pool(order, on_death=on_death)
        self.warnings = tuple(dict.fromkeys((*reading.problems, *self.pool.proof.warnings)))
        self.files = Files.frozen(config.parent, self.pool.proof.files)
        self.endpoints = Endpoints(self.deployment, self.files, clock)
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    @property
    def digest(self) -> str:
        return self.pool.proof.digest

    def retire(self) -> None:
        """Serve nobody new; the workers end when the last document in work is done."""
        with self._lock:
            self._retired = True
            idle = self._users == 0
        if idle:
            self.pool.close()

    @contextmanager
    def _used(self) -> Iterator[bool]:
        """Keep the workers for as long as the block runs; false if it is too late for that."""
        with self._lock:
            entered = not self._retired
            self._users += entered
        try:
            yield entered
        finally:
            with self._lock:
                self._users -= entered
                last = entered and self._retired and self._users == 0
            if last:
                self.pool.close()

    def inspect(self, incoming: Incoming, on_stall: Callable[[], None]) -> Plan | Rejection | None:
        """Inspect a document; ``None`` if this generation is retired, and another one has to."""
        with self._used() as entered:
            return self.pool.inspect(incoming, on_stall) if entered else None

    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        """Return a rejection or receipt in the standard's own form.

        Raises:
            Unavailable: This generation is retired, or as from the pool.
        """
        with self._used() as entered:
            if not entered:
                raise Unavailable("the hub is closing")
            return self.pool.document(incoming, rejection)


class Generations:
    """The generation in service, and the swap to the next."""

    def __init__(self, first: Generation) -> None:
        self.current = first

    def inspect(self, incoming: Incoming, on_stall: Callable[[], None] = lambda: None) -> Plan | Rejection:
        """Inspect a document by the generation in service. ``on_stall`` is called when it takes long."""
        for _ in range(3):  # it may retire in between, but not each time
            if (result := self.current.inspect(incoming, on_stall)) is not None:
                return result
        raise Unavailable("the hub is closing")

    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        """Return a rejection or receipt in the standard's own form, by the generation in service."""
        generation = self.current
        try:
            return generation.document(incoming, rejection)
        except Unavailable:
            if generation is self.current:
                raise
        return self.current.document(incoming, rejection)  # it retired in between: no reason to say that there is none

    def swap(self, fresh: Generation) -> None:
        """Put a generation into service; the former drains."""
        former, self.current = self.current, fresh
        former.retire()
