"""When bodies are erased: those of rejected documents, and those of messages of which nothing is open any more.

Each batch is a transaction of the one writer, with which receipts wait. So batches are small, and between two of them
the writer has as much time for others as the batch took.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from hub.deployment import KeepRejected, Source
from hub.log import get_log
from hub.store.api import Store

log = get_log(__name__)

REJECTED_BATCH = 500
ACCEPTED_BATCH = 100


class Retention:
    """Erases by what the sources say, a batch at a time; ``rest`` waits so many seconds and tells whether to stop."""

    def __init__(self, store: Store, clock: Callable[[], datetime], rest: Callable[[float], bool]) -> None:
        self._store, self._clock, self._rest = store, clock, rest

    def erase(self, sources: Mapping[str, Source], still: Callable[[], None]) -> None:
        """Erase what has been kept for long enough, also of sources that are gone.

        Raises:
            Unavailable: The store is away, or another node has the turn (``still``).
        """
        for name in self._store.sources_with_rejected():
            source = sources.get(name)
            keep = source.keep_rejected if source else KeepRejected()
            while self._erase_rejected(name, keep) == REJECTED_BATCH:
                still()
        for name, source in sources.items():
            if source.keep_accepted is not None:
                self._erase_accepted(name, self._clock() - source.keep_accepted, still)

    def _erase_rejected(self, source: str, keep: KeepRejected) -> int:
        if self._rest(0):
            return 0
        return self._store.erase_rejected(
            source, before=self._clock() - keep.for_, up_to=keep.up_to, limit=REJECTED_BATCH
        )

    def _erase_accepted(self, source: str, before: datetime, still: Callable[[], None]) -> None:
        after: str | None = ""
        erased = 0
        while after is not None:
            ids, after = self._store.settled(source, before=before, limit=ACCEPTED_BATCH, after=after or None)
            started = time.monotonic()
            erased += self._store.erase_settled(ids) if ids else 0
            if self._rest(time.monotonic() - started):
                return
            still()
        if erased:
            log.info("messages_erased", source=source, count=erased)
