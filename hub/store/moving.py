"""How deliveries move and new ones join. One rule: a row moves only by an event, at the revision it was read at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from hub.delivery import Delivery, State, advance
from hub.errors import Conflict
from hub.fingerprint import Failure, fingerprint
from hub.job import ItemResult
from hub.message import NOTHING
from hub.store.api import Change
from hub.store.driver import run_many
from hub.store.inserting import insert_new, insert_rows
from hub.store.payloads import Row
from hub.store.rows import (
    MOVED_COLUMNS,
    Move,
    RowMaker,
    delivery_of,
    delivery_row,
    event_row,
    failure_of,
    moved_columns,
    type_of,
)
from hub.store.tables import delivery, event, job_item, message, payload, reference
from hub.store.tallying import tally_moves
from hub.store.writer import Unexpected, Verb


@dataclass(frozen=True, slots=True)
class Death:
    """A delivery that dies by a change, and why: all but the type of its message, which only the database knows."""

    delivery_id: str
    message_id: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """A change as rows; everything in it happens or nothing."""

    moves: Sequence[Move]
    deliveries: Sequence[Row] = ()
    payloads: Sequence[Row] = field(default=(), repr=False)
    references: Sequence[Row] = field(default=(), repr=False)
    item: ItemResult | None = None
    deaths: Sequence[Death] = ()


def change_rows(change: Change, maker: RowMaker) -> ChangeRows:
    """Return the rows of a change, each event applied to the delivery that it was meant for.

    Raises:
        IllegalTransition: An event cannot follow.
    """
    moves = [Move(one.before, one.event, advance(one.before, one.event)) for one in change.settlements]
    payloads: list[Row] = []
    references: list[Row] = []
    for one in change.settlements:
        payloads += maker.payloads.rows(one.payloads, one.before.message_id)
        references += maker.references(one.references, one.before.message_id, one.before.owner)
    if change.payloads or change.references:
        if change.message_id is None:
            raise ValueError("payloads and references of a change belong to a message")
        owner = change.deliveries[0].owner if change.deliveries else None
        payloads += maker.payloads.rows(change.payloads, change.message_id)
        references += maker.references(change.references, change.message_id, owner)
    planned = [delivery_row(one) for one in change.deliveries]
    return ChangeRows(moves, planned, payloads, references, change.item, list(_deaths(change, moves)))


def _deaths(change: Change, moves: Sequence[Move]) -> Iterator[Death]:
    told = [*change.payloads, *chain.from_iterable(one.payloads for one in change.settlements)]
    for one in (*(move.after for move in moves), *change.deliveries):
        if one.state is State.DEAD:
            yield Death(one.id, one.message_id, failure_of(one, "", told))


# --- statements ---------------------------------------------------------------------------------------------------

_MOVE = sa.update(delivery).where(
    delivery.c.id == bindparam("at_id"),
    delivery.c.revision == bindparam("at_revision"),
    delivery.c.state == bindparam("at_state"),
)


@cache
def _move(lease_until: sa.ColumnElement[int] | None) -> sa.Update:
    """Return the statement that moves deliveries and takes or gives up their leases: made once, as all need it."""
    owner = None if lease_until is None else bindparam("at_owner", type_=sa.Text)
    changed = {name: bindparam(name, type_=delivery.c[name].type) for name in MOVED_COLUMNS}
    return _MOVE.values(changed | {"lease_until": lease_until, "lease_owner": owner})


def update_moved(
    connection: sa.Connection,
    moves: Sequence[Move],
    *,
    lease_until: sa.ColumnElement[int] | None = None,
    lease: Mapping[str, Any] = NOTHING,
) -> int:
    """Move deliveries that are still as they were read, and return how many these were: the fence against late writers.

    Their leases end, or last ``until`` an expression of which there are few; ``lease`` holds its parameters and the
    owner (``at_owner``). Sorted by id, so that two nodes never wait for each other crosswise.
    """
    if not moves:
        return 0
    rows = [
        moved_columns(move.after)
        | {"at_id": move.before.id, "at_revision": move.before.revision, "at_state": move.before.state.value, **lease}
        for move in sorted(moves, key=lambda move: move.before.id)
    ]
    return run_many(connection, _move(lease_until), rows)


def insert_events(connection: sa.Connection, moves: Iterable[Move]) -> None:
    """Append events. Their key is (delivery, revision): the same revision twice is impossible."""
    insert_rows(connection, event, (event_row(move.after, move.event) for move in moves))


def insert_planned(connection: sa.Connection, rows: Sequence[Row]) -> int:
    """Insert deliveries planned later, and return how many were new: the same replay twice is a conflict."""
    return insert_new(connection, delivery, rows)


_ITEM_RESULT = (
    sa.update(job_item)
    .where(
        job_item.c.job_id == bindparam("at_job"), job_item.c.item == bindparam("at_item"), job_item.c.result.is_(None)
    )
    .values(result=bindparam("result", type_=sa.Text), detail=bindparam("detail", type_=sa.Text))
)
_PLANNED = sa.select(delivery).where(delivery.c.id.in_(bindparam("ids", expanding=True)))


def update_items(connection: sa.Connection, items: Sequence[ItemResult]) -> int:
    """Write the results of a job's items that have none yet, so that no item is done twice; return how many."""
    if not items:
        return 0
    rows = [{"at_job": one.job_id, "at_item": one.item, "result": one.result, "detail": one.detail} for one in items]
    return run_many(connection, _ITEM_RESULT, rows)


def select_planned(connection: sa.Connection, ids: Sequence[str]) -> dict[str, Delivery]:
    """Read new deliveries again, for the ``seq`` that the database gave them."""
    found = connection.execute(_PLANNED, {"ids": ids}).mappings() if ids else ()
    return {row["id"]: delivery_of(row) for row in found}


def name_deaths(connection: sa.Connection, deaths: Sequence[Death]) -> None:
    """Give deliveries that have just died their fingerprints. Few die: it costs the others nothing."""
    if not deaths:
        return
    ids = {death.message_id for death in deaths}
    found = connection.execute(sa.select(message).where(message.c.id.in_(ids))).mappings()
    types = {row["id"]: type_of(row) or "" for row in found}
    statement = sa.update(delivery).where(delivery.c.id == bindparam("at_id")).values(fingerprint=bindparam("token"))
    rows = [
        {"at_id": death.delivery_id, "token": fingerprint(replace(death.failure, type=types[death.message_id]))}
        for death in sorted(deaths, key=lambda death: death.delivery_id)
    ]
    connection.execute(statement, rows)


# --- the operation ------------------------------------------------------------------------------------------------


def apply_together(connection: sa.Connection, changes: Sequence[ChangeRows]) -> Sequence[Sequence[Delivery]]:
    """Write several changes, one statement per table."""
    moves = list(chain.from_iterable(change.moves for change in changes))
    planned = list(chain.from_iterable(change.deliveries for change in changes))
    payloads = list(chain.from_iterable(change.payloads for change in changes))
    items = [change.item for change in changes if change.item is not None]
    if update_moved(connection, moves) != len(moves):
        raise Unexpected
    if insert_new(connection, payload, payloads) != len(payloads):
        raise Unexpected
    if insert_planned(connection, planned) != len(planned):
        raise Unexpected
    insert_events(connection, moves)
    name_deaths(connection, list(chain.from_iterable(change.deaths for change in changes)))
    tally_moves(connection, moves)
    insert_rows(connection, reference, chain.from_iterable(change.references for change in changes))
    if update_items(connection, items) != len(items):
        raise Unexpected
    new = select_planned(connection, [row["id"] for row in planned])
    return [
        [*(move.after for move in change.moves), *(new[row["id"]] for row in change.deliveries)] for change in changes
    ]


def apply(connection: sa.Connection, change: ChangeRows) -> Sequence[Delivery]:
    """Write one change.

    Raises:
        Conflict: Somebody moved a delivery first, planned the same ones, or did the item already.
    """
    try:
        return apply_together(connection, [change])[0]
    except Unexpected:
        named = [*(move.before.id for move in change.moves), *(row["id"] for row in change.deliveries)]
        raise Conflict(f"somebody else was first: {', '.join(named)}") from None


APPLY: Verb[ChangeRows, Sequence[Delivery]] = Verb("apply", apply, apply_together)
