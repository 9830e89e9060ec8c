"""Whether the promises still hold: told from the rows of the store and the ledgers of senders and procedures alone.

Nothing here asks the hub's code what is right. The rules are written a second time, as an operator would say them.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hub.deployment import Destination
from hub.outcome import Reason
from tests.simulation.procedures import ANSWERS, Given, Procedures

AFTER = {
    "claimed": "sending", "delivered": "delivered", "taken": "taken", "deferred": "waiting", "died": "dead",
    "resent": "waiting", "closed": "closed",
}  # fmt: skip
FROM = {
    "claimed": {"waiting"}, "delivered": {"sending"}, "taken": {"sending"}, "deferred": {"sending"},
    "died": {"sending"}, "resent": {"dead", "delivered", "closed"}, "closed": {"waiting", "dead"},
}  # fmt: skip
UNFINISHED = {"waiting", "sending", "taken", "dead"}
CLOSED_AS = {"cancelled", "superseded", "delivered-otherwise"}
BORN_DEAD = {"no_route", "transform_failed", "target_invalid"}
SLACK = timedelta(milliseconds=1)


def at(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


@dataclass
class Life:
    """What the events of one delivery say so far."""

    planned: Mapping[str, Any]
    events: list[Mapping[str, Any]] = field(default_factory=list)
    state: str = "waiting"
    due_at: int = 0
    attempts: int = 0
    first_attempt_at: int | None = None
    resent_by: set[str] = field(default_factory=set)


class Judge:
    """Reads what is on the disk after each step, and raises ``AssertionError`` when a promise is broken."""

    def __init__(self, database: Path, destinations: Mapping[str, Destination], procedures: Procedures) -> None:
        self._rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)
        self._rows.row_factory = sqlite3.Row
        self._destinations, self._procedures = destinations, procedures
        self.promised: dict[str, str] = {}  # message -> digest: the receipts that senders hold
        self.planned: dict[str, str] = {}  # delivery -> digest of what is to be sent
        self.owed: dict[str, set[str]] = {}  # message -> the deliveries that it was accepted with
        self.keys: dict[str, str | None] = {}  # delivery -> its order key
        self._lives: dict[str, Life] = {}

    def close(self) -> None:
        self._rows.close()

    def ask(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        return self._rows.execute(statement, values).fetchall()

    def deliveries(self) -> list[sqlite3.Row]:
        return self.ask("SELECT * FROM delivery ORDER BY seq")

    def look(self) -> None:
        """Judge everything that is there now."""
        rows = self.deliveries()
        for row in rows:
            life = self._lives.get(row["id"])
            if life is None:
                life = self._lives[row["id"]] = self._born(row)
            if row["revision"] != len(life.events):
                self._grow(row, life)
            self._is_the_sum(row, life)
        self._everything_promised_is_there({row["id"] for row in rows})
        self._one_on_its_way(rows)
        self._one_of_a_key(rows)

    # --- one delivery

    def _born(self, row: sqlite3.Row) -> Life:
        life = Life(dict(row))
        if row["reason"] in BORN_DEAD and not row["revision"]:
            life.state = "dead"
        return life

    def _grow(self, row: sqlite3.Row, life: Life) -> None:
        events = self.ask("SELECT * FROM event WHERE delivery_id = ? ORDER BY revision", row["id"])
        assert [event["revision"] for event in events] == list(range(1, row["revision"] + 1)), "an event is missing"
        told = [dict(event) for event in events]
        assert told[: len(life.events)] == life.events, "an event was changed"
        for event in told[len(life.events) :]:
            self._is_by_plan(row, life, event)
            kind = event["kind"]
            life.state, life.due_at = AFTER[kind], event["due_at"] or event["at"]
            if kind == "claimed":
                life.attempts += 1
                life.first_attempt_at = life.first_attempt_at or event["at"]
            elif kind == "resent":
                life.attempts, life.first_attempt_at = 0, None
            life.events.append(event)

    def _is_by_plan(self, row: sqlite3.Row, life: Life, event: Mapping[str, Any]) -> None:
        kind, reason = event["kind"], event["reason"]
        assert life.state in FROM[kind], f"{kind} after {life.state}"
        policy = self._destinations[row["destination"]].retry if row["destination"] else None
        if kind == "claimed":
            assert not life.events or event["at"] >= life.due_at, "tried before its time"
        elif kind == "deferred":
            assert reason in set(Reason) and policy is not None
            wait = timedelta(microseconds=event["due_at"] - event["at"])
            plain = min(policy.first * policy.factor ** min(life.attempts - 1, 20), policy.ceiling)
            end = at(life.first_attempt_at or 0) + policy.give_up_after
            held = reason.startswith("peer_") and event["code"] != "html"
            lost = reason == "worker_lost" and life.attempts == 1
            if held or lost:
                assert wait == timedelta(0)
            else:
                longest = max(plain * 1.1, timedelta(days=1))
                assert wait <= longest + SLACK, "parked for longer than anybody may ask for"
                at_the_end = at(event["due_at"]) >= end - SLACK  # the last try is made at the very end
                assert at_the_end or wait >= plain * 0.9 - SLACK, "tried again too soon"
        elif kind == "died":
            assert reason in set(Reason), "dead without a reason"
            if reason == "gave_up":
                assert policy is not None and life.first_attempt_at is not None
                assert at(event["at"]) >= at(life.first_attempt_at) + policy.give_up_after, "given up early"
        elif kind == "resent":
            assert event["job_id"] and event["job_id"] not in life.resent_by, "one job has sent it again twice"
            life.resent_by.add(event["job_id"])
        elif kind == "closed":
            assert reason in CLOSED_AS and event["job_id"], "closed by nobody"

    def _is_the_sum(self, row: sqlite3.Row, life: Life) -> None:
        shown = (row["state"], row["attempts"], row["first_attempt_at"])
        assert shown == (life.state, life.attempts, life.first_attempt_at), "the row is not the sum of its events"
        if life.state == "dead":
            assert row["reason"], "dead without a reason"
        if life.state == "delivered":
            assert self._procedures.took(row["id"]), "called delivered, and the procedure has it not"

    # --- all of them

    def _everything_promised_is_there(self, ids: set[str]) -> None:
        for message, sha256 in self.promised.items():
            found = self.ask("SELECT verdict, sha256 FROM message WHERE id = ?", message)
            assert [tuple(row) for row in found] == [("accepted", sha256)], "a receipt was given for nothing"
            assert self.owed[message] <= ids, "an accepted delivery is gone"

    def _one_on_its_way(self, rows: Sequence[sqlite3.Row]) -> None:
        """Of one message one delivery goes to a destination, unless an operator wants it again."""
        bound: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in rows:
            if row["state"] not in ("closed", "dead") and row["destination"]:
                bound[row["message_id"], row["destination"]].append(row["id"])
        assert all(len(ids) == 1 for ids in bound.values()), "two of one message are on their way to one destination"

    def _one_of_a_key(self, rows: Sequence[sqlite3.Row]) -> None:
        sending = [(row["destination"], self.keys[row["id"]]) for row in rows if row["state"] == "sending"]
        keyed = [one for one in sending if one[1]]
        assert len(keyed) == len(set(keyed)), "two of one order key are being sent"

    # --- at a moment

    def before_sending(self, delivery: str, attempt: int, sha256: str) -> None:
        """Judge a document that is about to be sent."""
        (row,) = self.ask("SELECT * FROM delivery WHERE id = ?", delivery)
        assert row["state"] == "sending", "sent without a claim on the disk"
        assert row["attempts"] == attempt, "attempts are not counted"
        assert self.planned[delivery] == sha256, "other bytes are sent than were planned"
        wanted = self.wanted(delivery)
        before = [given for given in self._procedures.ledger if (given.delivery, given.wanted) == (delivery, wanted)]
        ends = self._ends(delivery)
        hold = self._destinations[row["destination"]].retry.on_unclear == "hold"
        for given in before:
            recorded = ends.get(given.attempt) != "worker_lost" and not given.stalled
            last = recorded and given.answer in ("ok", "later", "refused")
            assert not last, "sent again after a last word"
            unclear = not recorded or given.answer in ("cut after", "cut before", "html")
            assert not (hold and unclear), "sent again although a person was to be asked"

    def wanted(self, delivery: str) -> int:
        """Return how often an operator has wanted a delivery again: each time it begins anew."""
        return int(self.ask("SELECT count(*) FROM event WHERE delivery_id = ? AND kind = 'resent'", delivery)[0][0])

    def _ends(self, delivery: str) -> dict[int, str]:
        """Return the reasons with which the attempts of a delivery ended, since it was last wanted."""
        ends: dict[int, str] = {}
        attempt = 0
        for event in self.ask("SELECT kind, reason FROM event WHERE delivery_id = ? ORDER BY revision", delivery):
            if event["kind"] == "resent":
                ends, attempt = {}, 0
            elif event["kind"] == "claimed":
                attempt += 1
            else:
                ends[attempt] = event["reason"]
        return ends

    def claimed(self, destination: str, delivery: str) -> None:
        """Judge a claim that was made a moment ago."""
        if (key := self.keys[delivery]) is None:
            return
        (row,) = self.ask("SELECT * FROM delivery WHERE id = ?", delivery)
        before = self.ask(
            "SELECT d.id, d.state FROM delivery d JOIN message m ON m.id = d.message_id"
            " WHERE d.destination = ? AND m.seq < (SELECT seq FROM message WHERE id = ?)",
            destination, row["message_id"],
        )  # fmt: skip
        earlier = [one for one in before if self.keys[one["id"]] == key]
        assert not {one["state"] for one in earlier} & UNFINISHED, "it overtakes an earlier one of its order key"

    def ended(self, given: Given, revision: int, held: set[str]) -> None:
        """Judge what was recorded of an attempt that has come to its end."""
        (row,) = self.ask("SELECT * FROM delivery WHERE id = ?", given.delivery)
        if given.stalled:
            return
        assert row["revision"] == revision + 1, "an attempt has no record, or two"
        hold = self._destinations[given.destination].retry.on_unclear == "hold"
        taken, _outcome = ANSWERS[given.answer]
        assert (row["state"] == "delivered") == (given.answer == "ok"), "called delivered, or not, against the truth"
        assert (row["state"] == "taken") == (given.answer == "later"), "called taken, or not, against the truth"
        assert row["state"] == "dead" or given.answer != "refused", "what is refused goes on"
        assert given.answer != "expired" or row["state"] == "waiting", "the destination is wrong, not the document"
        assert given.answer not in ("expired", "html") or given.destination in held, "a wrong destination goes on"
        if given.answer in ("cut after", "cut before", "html") and hold:
            assert (row["state"], row["reason"]) == ("dead", "unclear"), "nobody is asked"
        elif not taken and given.answer not in ("refused", "expired"):
            assert row["state"] == "waiting" or row["reason"] == "gave_up", "given up for no reason"
