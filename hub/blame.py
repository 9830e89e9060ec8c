"""Whose fault it was that a worker died: what it told until then, and how often the same has happened."""

from __future__ import annotations

from hub.errors import Unavailable
from hub.inspection import Planned, Rejection, Verdict

DEATHS_MAX = 2
STRANGERS_MAX = 20  # deaths in a row that are not the document's


class Progress:
    """What a worker told about one document before it ended or died."""

    def __init__(self) -> None:
        self.taken = False  # the worker had the document in its hands
        self.verdict: Verdict | None = None
        self.planned: list[Planned] = []
        self.rejection: Rejection | None = None  # told; the same in its standard's form may still come

    @property
    def complete(self) -> bool:
        """Whether every delivery is planned; there is at least one."""
        return self.verdict is not None and len(self.planned) == len(self.verdict.headings)

    def current(self) -> str | None:
        """Return the destination whose steps were running."""
        headings = self.verdict.headings if self.verdict else ()
        return headings[len(self.planned)].destination if len(self.planned) < len(headings) else None


class Blame:
    """Whose fault it was that workers died over one document."""

    def __init__(self) -> None:
        self.skip: dict[str, str] = {}  # destinations whose steps are not run any more
        self._deaths: dict[str | None, int] = {}
        self._strangers = 0

    def note(self, progress: Progress) -> bool:
        """Count one death; return whether the document itself has killed often enough.

        Raises:
            Unavailable: Workers keep dying of something else.
        """
        if not progress.taken:
            self._strangers += 1
            if self._strangers > STRANGERS_MAX:
                raise Unavailable("the workers keep dying")
            return False
        where = progress.current()
        self._deaths[where] = self._deaths.get(where, 0) + 1
        if self._deaths[where] < DEATHS_MAX:
            return False
        if where is not None:
            self.skip[where] = "worker_lost"
        return where is None
