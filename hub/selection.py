"""What an operator's words mean today: a frozen list of items, and what is to be known before anything is done.

    ids, or the filters of a listing ─▶ items, the oldest first ─▶ preview: how many, from when, whose, where to,
                                                                   had already, unclear

Deliveries are looked at some at a time and only counted; what is kept of them is their ids.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from hub.delivery import State
from hub.job import JobKind
from hub.store.api import Filter, ItemFacts, MessageRecord, Store

PAGE = 500
ITEMS_MAX = 100_000  # of one job; a weekend's are some thousand

# Which deliveries a message stands for, when a message is named and not a delivery.
MEANT: Mapping[JobKind, frozenset[State]] = {
    "replay": frozenset({State.DEAD}),
    "resend": frozenset({State.DEAD}),
    "replan": frozenset({State.WAITING}),
    "close": frozenset({State.DEAD, State.WAITING}),
}
# And which it may be, when a filter asks for a state.
POSSIBLE: Mapping[JobKind, frozenset[State]] = {
    "replay": frozenset(State) - {State.SENDING},
    "resend": frozenset({State.DEAD, State.DELIVERED, State.CLOSED}),
    "replan": frozenset({State.WAITING}),
    "close": frozenset({State.DEAD, State.WAITING}),
}


@dataclass
class Preview:
    """What is known of the items of a job before it begins."""

    count: int = 0
    first: datetime | None = None  # when the oldest of their messages came in
    last: datetime | None = None
    delivered: int = 0  # their destination has had them already
    unclear: int = 0  # an attempt ended so that nobody knows whether they were taken
    groups: Counter[tuple[str | None, str | None, str, str]] = field(default_factory=Counter)
    """How many by municipality, destination, state and reason."""

    def add(self, facts: Iterable[ItemFacts]) -> None:
        """Count some more deliveries."""
        for one in facts:
            self._count(one.received_at, (one.owner, one.destination, one.state, one.reason))
            self.delivered += one.delivered
            self.unclear += one.unclear

    def add_rejected(self, record: MessageRecord) -> None:
        """Count a rejected message."""
        self._count(record.received_at, (record.owner, None, "rejected", record.code or ""))

    def _count(self, at: datetime, group: tuple[str | None, str | None, str, str]) -> None:
        self.count += 1
        self.groups[group] += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)


@dataclass(frozen=True, slots=True)
class Selection:
    """What an operator's words mean: the items, what is known of them, and the ids that name nothing."""

    items: tuple[str, ...]
    preview: Preview
    unknown: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()  # ids that exist but stand for no delivery that fits


def select(
    store: Store, kind: JobKind, ids: Sequence[str], filter_: Filter | None, limit: int | None, *, again: bool = False
) -> Selection:
    """Return the list that ids, or the filters of a listing, mean today, the oldest first.

    ``again``: what was delivered already is meant as well.
    """
    meant = MEANT[kind] | ({State.DELIVERED} if again else frozenset())
    if filter_ is None:
        return _by_ids(store, kind, ids, meant, limit)
    if filter_.state == "rejected":
        return _rejected(store, filter_, limit) if kind == "replay" else Selection((), Preview())
    if filter_.state in set(State):
        meant = POSSIBLE[kind] & {State(filter_.state)}
    items, preview = tuple(islice(_matching(store, filter_, meant), limit)), Preview()
    _count_deliveries(store, items, preview)
    return Selection(items, preview)


def _matching(store: Store, filter_: Filter, meant: frozenset[State]) -> Iterator[str]:
    """Yield the ids of the deliveries that a filter finds, a page at a time."""
    after = 0
    while page := store.find_deliveries(filter_, after=after, limit=PAGE):
        yield from (one.id for one in page if one.state in meant)
        after = page[-1].seq


def _rejected(store: Store, filter_: Filter, limit: int | None) -> Selection:
    """Return the rejected messages that a replay hands in once more."""
    found: deque[MessageRecord] = deque(maxlen=limit)  # they come newest first, and the oldest are meant
    after: str | None = None
    while True:
        page, after = store.find(filter_, limit=PAGE, after=after)
        found += page
        if after is None:
            break
    preview = Preview()
    for record in reversed(found):
        preview.add_rejected(record)
    return Selection(tuple(record.id for record in reversed(found)), preview)


def _by_ids(store: Store, kind: JobKind, ids: Sequence[str], meant: frozenset[State], limit: int | None) -> Selection:
    items: dict[str, MessageRecord | None] = {}  # of a rejected message its record
    unknown, nothing = [], []
    for id_ in ids:
        if store.delivery(id_) is not None:
            items[id_] = None
        elif (record := store.message(id_)) is None:
            unknown.append(id_)
        elif record.verdict == "rejected" and kind == "replay":
            items[id_] = record
        elif fitting := [one for one in record.deliveries if one.state in meant]:
            items |= dict.fromkeys((one.id for one in fitting), None)
        else:
            nothing.append(id_)
    chosen, preview = dict(islice(items.items(), limit)), Preview()
    _count_deliveries(store, [id_ for id_, record in chosen.items() if record is None], preview)
    for rejected in filter(None, chosen.values()):
        preview.add_rejected(rejected)
    return Selection(tuple(chosen), preview, tuple(unknown), tuple(nothing))


def _count_deliveries(store: Store, items: Sequence[str], preview: Preview) -> None:
    for start in range(0, len(items), PAGE):
        preview.add(store.facts(items[start : start + PAGE]))
