"""Who gives up its place when all are taken: who is furthest behind. The only place that decides it.

    512 connections ─▶ the one that has not said for longest what it wants (its head is not complete)
     64 documents, and the room for their bytes ─▶ the one whose body is furthest behind 8 kB/s, if one is behind
    nobody is ─▶ 503 for the one that comes

So those that drip make room for those that send, however many they are, and a slow line that goes on is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from hub.plugin import Room

BYTES_PER_SECOND_MIN = 8_000
"""A body that comes at least so fast keeps its place."""
GRACE_SECONDS = 2.0
"""In its first seconds nobody is slow: its bytes are on their way, or here and not looked at."""

GROWTH_BYTES = 1_000_000
"""Room for a body of unknown length is taken in such steps."""


class FullError(Exception):
    """There is no place, and nobody has to give one up."""


class GivenUpError(Exception):
    """The place of a document has gone to another."""


class Connection(Protocol):
    """What can be told to a connection."""

    def give_up(self) -> None:
        """Answer, and be among the ending ones from now on."""

    def cut(self) -> None:
        """Close at once."""


class Connections:
    """The connections of one source. Each that is not ending has a place."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._heads: dict[Connection, None] = {}  # incomplete; who began first stands first
        self._ending: dict[Connection, None] = {}  # answered, and not closed yet; as many as places, at most

    def opened(self, connection: Connection, held: int) -> None:
        """Give a place to one more, which makes ``held``: a free one, or that of the oldest incomplete."""
        self.began(connection)
        if held - len(self._ending) > self._most:
            # Descriptors are the store's, too: better to refuse here than to fail there.
            next(iter(self._heads)).give_up()

    def began(self, connection: Connection) -> None:
        """Know that its next head has begun."""
        self._heads[connection] = None

    def asked(self, connection: Connection) -> None:
        """Know that its head is complete: nobody takes its place any more."""
        self._heads.pop(connection, None)

    def ending(self, connection: Connection) -> None:
        """Take its place back: it only has to read its answer."""
        self._heads.pop(connection, None)
        self._ending[connection] = None
        if len(self._ending) > self._most:
            next(iter(self._ending)).cut()

    def closed(self, connection: Connection) -> None:
        """Forget it."""
        self._heads.pop(connection, None)
        self._ending.pop(connection, None)


class Documents:
    """The documents of one source that are taken in at once, and the room for their bytes. One event loop's."""

    def __init__(self, most: int, room: Room) -> None:
        self._most, self._room = most, room
        self._taken = 0
        self._coming: set[Place] = set()  # their bodies are not complete

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Have a place for one more.

        Raises:
            FullError: There is none.
        """
        if self._taken >= self._most:
            self._make_one_give_up()  # its place is free a moment later
        self._taken += 1
        place = Place(self._take, self._room.give)
        try:
            yield place
        finally:
            self._taken -= 1
            place.give_back()

    @asynccontextmanager
    async def coming(self, place: Place) -> AsyncIterator[None]:
        """Know that the body is being read: meanwhile it may have to give up.

        Raises:
            GivenUpError: It had to.
        """
        self._coming.add(place)
        try:
            async with place.patience:
                yield
        except TimeoutError:
            raise GivenUpError from None
        finally:
            self._coming.discard(place)

    def _take(self, size: int) -> None:
        while not self._room.take(size):
            self._make_one_give_up()

    def _make_one_give_up(self) -> None:
        now = asyncio.get_running_loop().time()
        last = max(self._coming, key=lambda place: place.behind(now), default=None)
        if last is None or last.behind(now) <= 0:
            raise FullError
        self._coming.discard(last)
        last.give_back()  # the room at once
        last.patience.reschedule(0)


class Place:
    """What one document has while it is taken in."""

    def __init__(self, take: Callable[[int], None], give: Callable[[int], None]) -> None:
        self._take, self._give = take, give
        self._began = asyncio.get_running_loop().time()
        self._received = self._room = 0  # bytes
        self.patience = asyncio.timeout(None)

    def behind(self, now: float) -> float:
        """Return for how many seconds so much should have been here."""
        return now - self._began - GRACE_SECONDS - self._received / BYTES_PER_SECOND_MIN

    def expect(self, size: int) -> None:
        """Have room for a body of that length.

        Raises:
            FullError: There is none.
        """
        if size > self._room:
            self._take(size - self._room)
            self._room = size

    def hold(self, size: int) -> None:
        """Have room for what has come of the body so far; for more of it than that, as more will come.

        Raises:
            FullError: There is none.
        """
        self._received = size
        if size > self._room:
            self.expect(max(size, self._room + GROWTH_BYTES))

    def give_back(self) -> None:
        """Leave the room to others."""
        self._give(self._room)
        self._room = 0
