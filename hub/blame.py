"""Whose fault it was that a worker died: what it was at, and how often the same has happened."""

from __future__ import annotations

from hub.errors import Unavailable
from hub.page import At, Page

DEATHS_MAX = 2
STRANGERS_MAX = 20  # deaths in a row that are not the document's


class Blame:
    """Whose fault it was that workers died over one document."""

    def __init__(self) -> None:
        self.skip: dict[str, str] = {}  # destinations whose steps are not run any more
        self._deaths: dict[str | None, int] = {}
        self._strangers = 0

    def note(self, page: Page) -> bool:
        """Count one death, by what the worker was at; return whether the document itself has killed often enough.

        Raises:
            Unavailable: Workers keep dying of something else.
        """
        if page.at is At.NOTHING:
            self._strangers += 1
            if self._strangers > STRANGERS_MAX:
                raise Unavailable("the workers keep dying")
            return False
        where = page.destination
        self._deaths[where] = self._deaths.get(where, 0) + 1
        if self._deaths[where] < DEATHS_MAX:
            return False
        if where is not None:
            self.skip[where] = "worker_lost"
        return where is None
