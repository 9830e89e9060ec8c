"""What keeps a store in order, as the hub asks for it: snapshots, erasure, turns of several nodes, counts.

A part of :class:`hub.store.api.Store`; what is said there of writing and of errors holds here, too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

Work = Callable[[Callable[[], None]], None]
"""Work in turns. It is given what to call between its steps, and what raises ``Unavailable`` if it is to stop."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a living daemon says of itself."""

    id: str
    host: str
    snapshot: str  # the digest of what it has in service
    unknown: frozenset[str]  # destinations that something waits for and that its snapshot does not have


class Upkeep(Protocol):
    """Implemented by each store."""

    # --- snapshots
    def keep_snapshot(
        self, digest: str, files: Mapping[str, bytes], versions: Mapping[str, str], now: datetime
    ) -> None:
        """Keep the files of a snapshot, each content once, compressed."""

    def snapshot(self, digest: str) -> Mapping[str, bytes] | None:
        """Return the files of a snapshot, verified; ``None`` if it was not kept.

        Raises:
            StoreError: A file is gone or damaged.
        """

    def newest_snapshot(self) -> str | None:
        """Return the digest of the snapshot that was kept last."""

    def snapshot_versions(self, digest: str) -> Mapping[str, str] | None:
        """Return the versions of the programs that a snapshot was compiled with; ``None`` if it was not kept."""

    def sources_with_rejected(self) -> Sequence[str]:
        """Return the sources that have rejected documents to erase one day, configured today or not."""

    def erase_rejected(self, source: str, *, before: datetime, up_to: int, limit: int = 500) -> int:
        """Erase rejected documents that are older, or the oldest beyond ``up_to`` bytes; return how many.

        Body, references and what came along (``incoming``) go; code, findings without values and digest stay.
        """

    def settled(
        self, source: str, *, before: datetime, limit: int = 100, after: str | None = None
    ) -> tuple[Sequence[str], str | None]:
        """Return accepted messages of a source, oldest first, that are not erased and of which nothing is open or dead:
        the last of them happened before that time. With the cursor of the next page (``None``: no more).
        """

    def erase_settled(self, ids: Sequence[str]) -> int:
        """Erase those of these messages of which still nothing is open or dead; return how many.

        All bytes, references and what came along go. The message, its digests, deliveries and events stay: a
        repetition is still known, and what became of it can still be told.
        """

    # --- several nodes
    def take_turn(self, work: str, every: timedelta, do: Work) -> bool:
        """Do periodic work if no other node is doing it, or has done it within (about) ``every``; return whether.

        On SQLite always: there is one daemon.
        """

    def announce(self, snapshot: str, unknown: Collection[str]) -> Sequence[Node]:
        """Say which snapshot this daemon has in service and which destinations it does not know; return what all
        living nodes say, this one among them. Who has not said anything for a while is not among them.
        """

    def nodes(self) -> Sequence[Node]:
        """Return what the living nodes say; nothing on SQLite, where the one daemon has no need to."""

    # --- counts and proof
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return the number of deliveries by (destination, state), for metrics."""

    def check(self) -> None:
        """Prove that the store can read and write. Raises ``Unavailable``."""
