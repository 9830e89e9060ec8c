"""Ledgers and store held against each other. It knows what was promised, what was given and what is kept; no more.

    senders' ledger ──┐
    store (account) ──┼─▶ check ─▶ violations (none, if every promise was kept), figures
    procedures' ledger┘

Per destination: accepted = waiting + sending + taken + delivered + dead + closed, and each of these is borne out by
the ledgers. What is not in order is named by its kind and by ids, never by contents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from hub.delivery import TRANSITIONS, EventKind, State
from hub.selftest.ledgers import Receipt
from hub.store.accounting import Account, KeptDelivery

LEASE_GRACE = timedelta(seconds=2)
STATES = frozenset(State)
OPEN = frozenset({State.WAITING, State.SENDING})


@dataclass(frozen=True, slots=True)
class Given:
    """One line of a procedure's ledger: it was given these bytes under this delivery's id, and took them or not."""

    destination: str
    delivery: str
    sha256: str
    taken: bool = True


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: its kind (a word of ``KINDS``), and what it happened to."""

    kind: str
    about: str
    text: str = ""


KINDS: Mapping[str, str] = {
    "lost": "a receipt was given, and the message is not in the store",
    "altered": "what is kept is not what was handed in",
    "rejected": "a receipt was given, and the store calls the message rejected",
    "split": "one document of one sender got receipts with two ids",
    "refused": "a document got another answer than a receipt, or the word to come again",
    "unplanned": "accepted, and no delivery goes anywhere",
    "stateless": "a delivery is in no state that there is",
    "unfounded": "a delivery's row is not the sum of its events",
    "unowned": "claimed, and nobody is sending it",
    "unsettled": "not finished, although everything has come to rest",
    "undelivered": "called delivered, and the procedure has it not",
    "unknown": "a procedure was given a delivery that the store does not know",
    "spoilt": "a procedure was given other bytes than the store kept to be sent",
    "doubled": "one document came to one destination under two delivery ids",
    "repeated": "a delivery came again more often than what was in flight explains",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found. ``states``: destination → state → deliveries."""

    violations: tuple[Violation, ...]
    figures: Mapping[str, int]
    states: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return not self.violations


def check(
    receipts: Iterable[Receipt],
    account: Account,
    given: Iterable[Given],
    *,
    now: datetime | None = None,
    at_rest: bool = True,
    repeated_max: int = 0,
    unheard: Collection[str] = (),
    refused: Iterable[tuple[str, int]] = (),
) -> Verdict:
    """Return what is wrong, and how much of everything there was.

    ``at_rest``: nothing is under way any more, all must be finished. ``now`` is the time by which leases count;
    ``None``: no daemon runs, so nobody sends. ``repeated_max``: so many repetitions are explained by what was in flight
    when something was killed or cut. ``unheard`` are destinations that keep no ledger, ``refused`` the documents that
    got another answer than they should, by digest and status.
    """
    promised, heard = list(dict.fromkeys(receipts)), list(given)
    violations = [
        *_promises(promised, account),
        *_lives(account, now, at_rest=at_rest),
        *_ends(account, heard, set(unheard)),
        *_repetitions(account, heard, repeated_max),
        *(Violation("refused", digest[:12], str(status)) for digest, status in refused),
    ]
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for one in account.deliveries.values():
        states[one.destination or ""][one.state] += 1
    return Verdict(tuple(violations), _figures(promised, account, heard, violations), states)


# --- receipts -----------------------------------------------------------------------------------------------------


def _promises(receipts: Iterable[Receipt], account: Account) -> Iterator[Violation]:
    ids: dict[tuple[str, str], str] = {}
    for receipt in receipts:
        if ids.setdefault((receipt.sender, receipt.sha256), receipt.id) != receipt.id:
            yield Violation("split", receipt.id)
        kept = account.messages.get(receipt.id)
        if kept is None:
            yield Violation("lost", receipt.id)
        elif kept.verdict != "accepted":
            yield Violation("rejected", receipt.id)
        elif kept.sha256 != receipt.sha256 or kept.original not in (receipt.sha256, None):
            yield Violation("altered", receipt.id)
    for message in account.messages.values():
        if message.original not in (message.sha256, None):
            yield Violation("altered", message.id, "its bytes have another digest than its row")


# --- deliveries ---------------------------------------------------------------------------------------------------


def _lives(account: Account, now: datetime | None, *, at_rest: bool) -> Iterator[Violation]:
    planned = {one.message_id for one in account.deliveries.values()}
    for message in account.messages.values():
        if message.verdict == "accepted" and message.id not in planned:
            yield Violation("unplanned", message.id)
    for one in account.deliveries.values():
        if one.state not in STATES:
            yield Violation("stateless", one.id, one.state)
            continue
        if one.state == State.SENDING and _is_unowned(one, now):
            yield Violation("unowned", one.id)
        if at_rest and one.state in OPEN:
            yield Violation("unsettled", one.id, one.state)
        if not is_sum_of_its_events(one):
            yield Violation("unfounded", one.id, one.state)


def _is_unowned(one: KeptDelivery, now: datetime | None) -> bool:
    return now is None or one.lease_until is None or one.lease_until + LEASE_GRACE < now


def is_sum_of_its_events(one: KeptDelivery) -> bool:
    """Tell whether a row says what its events add up to: state, revision, and attempts since the last resend."""
    if [revision for revision, _ in one.events] != list(range(1, one.revision + 1)):
        return False
    attempts = 0
    for _, kind in one.events:
        attempts = 0 if kind == EventKind.RESENT else attempts + (kind == EventKind.CLAIMED)
    return attempts == one.attempts and any(_folded(one, born) == one.state for born in (State.WAITING, State.DEAD))


def _folded(one: KeptDelivery, born: State) -> State | None:
    state: State | None = born
    for _, kind in one.events:
        if state is None or kind not in set(EventKind):
            return None
        state = TRANSITIONS.get((state, EventKind(kind)))
    return state


# --- what the procedures say --------------------------------------------------------------------------------------


def _ends(account: Account, given: Iterable[Given], unheard: Collection[str]) -> Iterator[Violation]:
    has: set[tuple[str, str]] = set()
    for line in given:
        kept = account.deliveries.get(line.delivery)
        if kept is None or kept.destination != line.destination:
            yield Violation("unknown", line.delivery, line.destination)
        elif kept.to_send != line.sha256:
            yield Violation("spoilt", line.delivery, line.destination)
        if line.taken:
            has.add((line.destination, line.delivery))
    for one in account.deliveries.values():
        ended = one.state in (State.DELIVERED, State.TAKEN)
        if ended and one.destination not in unheard and (one.destination, one.id) not in has:
            yield Violation("undelivered", one.id, one.destination or "")


def _repetitions(account: Account, given: Iterable[Given], repeated_max: int) -> Iterator[Violation]:
    taken = sorted((one.destination, one.sha256, one.delivery) for one in given if one.taken)
    repeated = 0
    for (destination, _sha256), lines in groupby(taken, key=lambda line: line[:2]):
        ids = [delivery for *_, delivery in lines]
        repeated += len(ids) - len(set(ids))
        born = {id_ for id_ in set(ids) if not (kept := account.deliveries.get(id_)) or kept.replay_of is None}
        if len(born) > 1:
            yield Violation("doubled", min(born), destination)
    if repeated > repeated_max:
        yield Violation("repeated", str(repeated), f"at most {repeated_max}")


def _figures(
    receipts: Collection[Receipt], account: Account, given: Collection[Given], violations: Collection[Violation]
) -> dict[str, int]:
    states = Counter(one.state for one in account.deliveries.values())
    taken = Counter((one.destination, one.delivery) for one in given if one.taken)
    kinds = Counter(one.kind for one in violations)
    accepted = [one for one in account.messages.values() if one.verdict == "accepted"]
    return {
        "receipts": len(receipts),
        "accepted": len(accepted),
        "rejected": len(account.messages) - len(accepted),
        "deliveries": len(account.deliveries),
        **{state.value: states[state] for state in State},
        "taken_by_procedures": sum(taken.values()),
        "duplicates": sum(taken.values()) - len(taken),
        "lost": kinds["lost"] + kinds["undelivered"],
        "altered": kinds["altered"] + kinds["spoilt"],
        "violations": len(violations),
    }
