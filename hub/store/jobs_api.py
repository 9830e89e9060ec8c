"""Jobs and their items, as the hub asks for them.

A part of :class:`hub.store.api.Store`; what is said there of writing and of errors holds here, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from hub.delivery import Delivery
from hub.job import Job, JobItem, Steering
from hub.message import MessageId


@dataclass(frozen=True, slots=True)
class Subject:
    """What an item is about: a delivery with the others of its message, or a message by itself."""

    message_id: MessageId
    verdict: Literal["accepted", "rejected"]
    delivery: Delivery | None
    deliveries: tuple[Delivery, ...]
    arrival: Mapping[str, Any] = field(repr=False)  # how the message came in
    original_id: str | None  # of its bytes; ``None``: they are erased
    body: bytes = field(repr=False)


class JobBook(Protocol):
    """Implemented by each store."""

    def add(self, job: Job, items: Sequence[str]) -> Job:
        """Write a job down with its items, each once; they are frozen from now on. Return it.

        Asked twice is asked once: where :meth:`twin` finds one, nothing is written, and that one is returned.

        Raises:
            Conflict: Its id is taken.
        """

    def twin(self, job: Job, items: Sequence[str]) -> Job | None:
        """Return the open or paused job of the same actor, kind and arguments that has all of these items already."""

    def find(self, id_: str) -> Job | None: ...

    def unfinished(self) -> Sequence[Job]:
        """Return the jobs that are open, oldest first. Paused ones are not among them."""

    def listed(
        self, *, states: Collection[str] = (), limit: int = 50, after: str | None = None
    ) -> tuple[Sequence[Job], str | None]:
        """Return jobs, newest first, and the cursor of the next page; no ``states`` means all of them."""

    def progress(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, int]]:
        """Return for each of some jobs how many items have which result; ``left`` are those without."""

    def items(
        self, id_: str, *, results: Collection[str] = (), after: int = -1, limit: int = 1000
    ) -> Sequence[JobItem]:
        """Return items of a job in their order, behind a position; ``results`` may name ``left``, none means all."""

    def subject(self, item: str) -> Subject | None:
        """Return what an item is about, all of one moment; ``None``: it is gone."""

    def take(self, id_: str, owner: str, lease: timedelta) -> bool:
        """Become the one node that runs an open job, or stay it; return whether. On SQLite there is no other."""

    def steer(self, wish: Steering) -> bool:
        """Change a job's state, if it may follow the one it is in (:data:`hub.job.BEFORE`); return whether it did.

        Cancelling gives the items that are left their result. A job that had paused itself and is resumed sends a
        new canary.
        """

    def pass_canary(self, id_: str) -> None:
        """Write down that a job's canaries were delivered."""
