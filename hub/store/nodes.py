"""What the daemons on one PostgreSQL database say of themselves. One rule: who is silent for long is not there.

Each says which snapshot it has in service and which destinations it does not know. So a destination that only some of
them know, while one after the other is given a new configuration, is not taken for one that has vanished.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa

from hub.store.claiming import clock
from hub.store.tables import EPOCH, MICROSECOND, setting
from hub.store.upkeep_api import Node
from hub.store.writer import Verb

NODE = "node "
SILENT = timedelta(seconds=30)  # as long as a lease: who renews none is not there
FORGOTTEN = timedelta(days=1)
DIGITS = 20  # a time in front, of as many digits, so that texts compare as times do


@dataclass(frozen=True, slots=True)
class Said:
    """A node, and what is written of it."""

    node: Node

    @property
    def text(self) -> str:
        one = self.node
        return json.dumps({"host": one.host, "snapshot": one.snapshot, "unknown": sorted(one.unknown)})


def announce(connection: sa.Connection, said: Said) -> None:
    """Write what a node says, with the server's time."""
    value = sa.func.concat(_digits(clock(connection, EPOCH)), " ", said.text)
    from sqlalchemy.dialects import postgresql  # here: who lists what is on SQLite does not wait for it

    row = postgresql.insert(setting).values(name=NODE + said.node.id, value=value)
    connection.execute(row.on_conflict_do_update(index_elements=[setting.c.name], set_={"value": row.excluded.value}))


ANNOUNCE = Verb("announce", announce)


def select_nodes(connection: sa.Connection) -> list[Node]:
    """Read what the living say."""
    oldest = _digits(clock(connection, EPOCH) - SILENT // MICROSECOND)
    living = sa.and_(setting.c.name.startswith(NODE), setting.c.value > oldest)
    rows = connection.execute(sa.select(setting).where(living).order_by(setting.c.name))
    return [_node(row.name.removeprefix(NODE), row.value[DIGITS:]) for row in rows]


def forget_nodes(connection: sa.Connection) -> None:
    """Remove what is left of nodes that were killed long ago."""
    oldest = _digits(clock(connection, EPOCH) - FORGOTTEN // MICROSECOND)
    connection.execute(sa.delete(setting).where(setting.c.name.startswith(NODE), setting.c.value < oldest))


def _digits(time: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.func.lpad(sa.cast(time, sa.Text), DIGITS, "0")


def _node(id_: str, text: str) -> Node:
    said = json.loads(text)
    return Node(id_, said["host"], said["snapshot"], frozenset(said["unknown"]))
