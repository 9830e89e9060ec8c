"""What an operation of the store is, for the writer and for those who write the operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import sqlalchemy as sa

V = TypeVar("V")
R = TypeVar("R")


class Unexpected(Exception):
    """Written together, not every row was as expected; one by one will tell whose. It never leaves the writer."""


@dataclass(frozen=True)
class Verb(Generic[V, R]):
    """A kind of operation: how one is written, and how many are in fewer statements.

    ``together`` raises :class:`Unexpected` unless all have succeeded. Both only write; the writer commits.
    """

    name: str
    alone: Callable[[sa.Connection, V], R]
    together: Callable[[sa.Connection, Sequence[V]], Sequence[R]] | None = None
