"""What a filter asks, as conditions. The only place that knows: listings and selections mean the same by a word.

    Filter ─▶ branches: each has an index that serves it, newest message first; together they are what was asked

One rule: a branch begins where few are. Databases that know no sizes cannot tell where that is, so it is said here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hub.delivery import State
from hub.errors import StoreError
from hub.fingerprint import PATTERN
from hub.store.api import Filter
from hub.store.tables import CLOSED, DEAD, NONE, REJECTED, SENDING, TAKEN, WAITING, delivery, message, reference

Condition = sa.ColumnElement[bool]

WALK = ""  # no index: by the messages' own numbers
TYPE_COLUMNS = ("standard", "version", "name")
TYPES_MAX = 12  # so many types of messages are looked up each by its index; more are walked through
OPEN = (State.WAITING, State.SENDING, State.TAKEN)
STATES = (*(state.value for state in State), "rejected", "attention", "open")
_LITERALS = {"waiting": WAITING, "sending": SENDING, "taken": TAKEN, "dead": DEAD, "closed": CLOSED}


@dataclass(frozen=True, slots=True)
class Branch:
    """One way to find messages: by themselves, or by a delivery. ``index``: where SQLite has to begin."""

    conditions: tuple[Condition, ...]
    of_delivery: tuple[Condition, ...] = ()
    index: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Why each destination is held back, and which of them are blocked: their waiting deliveries need attention."""

    reasons: Mapping[str, str]
    blocked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """A filter with what had to be looked up for it: keyed digest, holds, the exact types that its globs mean."""

    filter: Filter
    digest: str | None
    held: Held
    types: Sequence[tuple[str, ...]] | None = None
    rejections_only: bool = False  # its fingerprint is one of rejections


def check(filter_: Filter) -> None:
    """Refuse what nothing can be found by.

    Raises:
        StoreError: Unknown state; no fingerprint.
    """
    if filter_.state is not None and filter_.state not in STATES:
        raise StoreError(f"unknown state {filter_.state!r}, expected one of {', '.join(STATES)}")
    if filter_.fingerprint is not None and not PATTERN.fullmatch(filter_.fingerprint):
        raise StoreError("a fingerprint has twelve hexadecimal digits: xoev-hub groups list shows them")


# --- of the message itself ----------------------------------------------------------------------------------------


def message_conditions(asked: Asked, *, types: bool = True) -> list[Condition]:
    """Return what is asked of the message itself."""
    filter_ = asked.filter
    conditions: list[Condition] = []
    if filter_.municipality is not None:
        conditions.append(message.c.owner == filter_.municipality)
    if filter_.sender is not None:
        conditions.append(message.c.sender == filter_.sender)
    if filter_.since is not None:
        conditions.append(message.c.received_at >= filter_.since)
    if filter_.until is not None:
        conditions.append(message.c.received_at < filter_.until)
    if asked.digest is not None:
        named = sa.select(reference.c.message_id).where(reference.c.digest == asked.digest)
        conditions.append(message.c.id.in_(named))
    if filter_.type is not None and types:
        conditions += _of_types(asked.types, filter_.type)
    return conditions


def _of_types(types: Sequence[tuple[str, ...]] | None, globs: str) -> list[Condition]:
    if types is None:
        segments = zip(TYPE_COLUMNS, globs.split("/", 2), strict=False)
        return [_matches(message.c[name], glob) for name, glob in segments]
    return [sa.or_(sa.false(), *(_of_type(one) for one in types))]


def _of_type(type_: Sequence[str | None]) -> Condition:
    return sa.and_(*(message.c[name].is_not_distinct_from(part) if part is None else message.c[name] == part
                     for name, part in zip(TYPE_COLUMNS, type_, strict=True)))  # fmt: skip


def type_fits(type_: Sequence[str | None], globs: str) -> bool:
    """Tell whether globs over standard/version/name fit a type; a segment that is not known fits ``*`` alone."""
    return all(
        glob == "*" or (part is not None and re.fullmatch(_expression(glob), part) is not None)
        for part, glob in zip(type_, globs.split("/", 2), strict=False)
    )


def _expression(glob: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in glob)


def _matches(column: sa.Column[str], glob: str) -> Condition:
    """Return the condition for one segment of a type; the databases' own globs differ, their expressions do not."""
    if glob == "*":
        return sa.true()
    if not set(glob) & {"*", "?"}:
        return column == glob
    return column.regexp_match(f"^{_expression(glob)}$")


# --- of one and the same delivery ---------------------------------------------------------------------------------


def delivery_conditions(asked: Asked, d: sa.FromClause = delivery) -> list[Condition]:
    """Return what is asked of one and the same delivery."""
    filter_ = asked.filter
    conditions: list[Condition] = []
    if filter_.fingerprint is not None:
        conditions.append(d.c.fingerprint == filter_.fingerprint)
    if filter_.route is not None:
        conditions.append(d.c.route == filter_.route)
    if filter_.destination is not None:
        conditions.append(d.c.destination == filter_.destination)
    if filter_.reason is not None:
        conditions.append(sa.or_(_has_reason(filter_.reason, asked.held, d), _is_held(filter_.reason, asked.held, d)))
    if filter_.state is not None:
        conditions.append(_in_state(filter_.state, asked.held, d))
    return conditions


def _has_reason(reason: str, held: Held, d: sa.FromClause = delivery) -> Condition:
    """Return the condition that a delivery is shown with its own reason: its destination is not held back."""
    own = sa.and_(d.c.reason == reason, d.c.reason != NONE)
    return sa.and_(own, ~_waits_for(list(held.reasons), d)) if held.reasons else own


def _is_held(reason: str, held: Held, d: sa.FromClause = delivery) -> Condition:
    """Return the condition that a delivery is shown with the reason why its destination is held back."""
    return _waits_for([name for name, why in held.reasons.items() if why == reason], d)


def _waits_for(destinations: Sequence[str], d: sa.FromClause) -> Condition:
    if not destinations:
        return sa.false()
    return sa.and_(d.c.state == WAITING, d.c.destination.in_(sorted(destinations)))


def _needs_attention(held: Held, d: sa.FromClause) -> Condition:
    return sa.or_(d.c.state == DEAD, _waits_for(list(held.blocked), d))


def _in_state(state: str, held: Held, d: sa.FromClause) -> Condition:
    if state == "attention":
        return _needs_attention(held, d)
    if state == "open":
        return d.c.state.in_([WAITING, SENDING, TAKEN])
    return d.c.state == _LITERALS.get(state, state)


# --- where to begin -----------------------------------------------------------------------------------------------


def branches(asked: Asked) -> list[Branch]:
    """Return the ways to what a filter asks for; what any of them finds is meant."""
    filter_ = asked.filter
    if filter_.state == "rejected" or asked.rejections_only:
        return [_of_rejections(asked)]
    conditions = delivery_conditions(asked)
    if not conditions:
        return list(_of_messages(asked))
    about = message_conditions(asked)
    if filter_.state == "open":  # the first status that fits is attention
        other = delivery.alias("other")
        about.append(~_has([_needs_attention(asked.held, other)], other))
    found = [Branch((*about, *one.conditions), (*one.of_delivery, *conditions), one.index) for one in _starts(asked)]
    if not found:  # delivered, what most are: messages are walked through
        one = delivery.alias("one")
        arrived = _has(delivery_conditions(asked, one), one)
        found = [Branch((*ways.conditions, arrived), index=ways.index) for ways in _of_messages(asked)]
    if filter_.reason is not None and len(conditions) == 1:  # the reason alone: why a document was rejected is one, too
        code = (message.c.code == filter_.reason, message.c.code.is_not(None))
        found.append(Branch((*about, *code), index="message_code"))
    return found


def _starts(asked: Asked) -> Iterator[Branch]:
    """Yield where the deliveries in question are few: the narrowest thing that was asked."""
    filter_, held = asked.filter, asked.held
    if filter_.fingerprint is not None:
        yield _start("delivery_fingerprint", delivery.c.fingerprint.is_not(None))
    elif filter_.state in ("dead", "closed"):
        yield _start(f"delivery_{filter_.state}_of")
    elif filter_.state == "attention":
        yield _start("delivery_dead_of", delivery.c.state == DEAD)
        if held.blocked:
            yield _start("delivery_waiting_of", delivery.c.state == WAITING)
    elif filter_.destination is not None:
        yield _start("delivery_to")
    elif filter_.state in ("waiting", "open"):
        yield _start("delivery_waiting_of", delivery.c.state == WAITING)
        for state in (SENDING, TAKEN) if filter_.state == "open" else ():
            yield _start("delivery_state", delivery.c.state == state)
    elif filter_.state in ("sending", "taken"):
        yield _start("delivery_state")
    elif filter_.reason is not None:
        yield _start("delivery_reason", _has_reason(filter_.reason, held))
        if filter_.reason in held.reasons.values():
            yield _start("delivery_waiting_of", _is_held(filter_.reason, held))
    elif filter_.route is not None:
        yield _start("delivery_by")


def _start(index: str, *conditions: Condition) -> Branch:
    return Branch((), conditions or (sa.true(),), index)


def _has(conditions: Sequence[Condition], d: sa.FromClause) -> Condition:
    """Return the condition that a message has such a delivery."""
    return sa.exists().where(d.c.message_id == message.c.id, *conditions)


def _of_rejections(asked: Asked) -> Branch:
    filter_, about = asked.filter, message_conditions(asked)
    about.append(message.c.verdict == REJECTED)
    if filter_.reason is not None:
        about += (message.c.code == filter_.reason, message.c.code.is_not(None))
    if filter_.fingerprint is not None:
        about += (message.c.fingerprint == filter_.fingerprint, message.c.fingerprint.is_not(None))
        return Branch(tuple(about), index="message_fingerprint")
    return Branch(tuple(about), index="message_refused" if filter_.reason is None else "message_code")


def _of_messages(asked: Asked) -> Iterator[Branch]:
    types, index = asked.types, _walk(asked)
    if index == WALK and types is not None and len(types) <= TYPES_MAX:
        about = message_conditions(asked, types=False)
        for one in types:
            yield Branch((*about, _of_type(one)), index="message_type")
    else:
        yield Branch(tuple(message_conditions(asked)), index=index)


def _walk(asked: Asked) -> str | None:
    """Return how messages are walked through: by a reference, in an index that has the page's order, or all."""
    if asked.digest is not None:
        return None
    if asked.filter.municipality is not None:
        return "message_owner"
    return WALK if asked.filter.sender is None else "message_sender"
