"""What somebody wants done with many deliveries: a frozen list, an actor, a reason, a pace. Values, no I/O.

              ┌──paused──▶ PAUSED ──┐
    asked ─▶ OPEN ◀──resumed──┘     ├──cancelled──▶ CANCELLED
              └──finished──▶ DONE   │
              └─────────────────────┘

Every item of a job gets exactly one result, also when the job is cancelled. Who runs jobs is said in :mod:`hub.jobs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

JobKind = Literal["replay", "resend", "replan", "close"]
JobState = Literal["open", "paused", "done", "cancelled"]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
RESULTS = ("done", "skipped", "failed", "sending", "cancelled")
LEFT = "left"  # no result yet

# From which states a job may come into another one.
BEFORE: Mapping[JobState, tuple[JobState, ...]] = {
    "open": ("paused",),
    "paused": ("open",),
    "done": ("open",),
    "cancelled": ("open", "paused"),
}


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How one item of a job ended. ``detail`` of what is done: the ids of what has taken its place, if any."""

    job_id: str
    item: str
    result: str  # one of RESULTS
    detail: str = ""


@dataclass(frozen=True, slots=True)
class JobItem:
    """One item of a job: its place in the frozen list, and its result, if there is one."""

    position: int
    item: str
    result: str | None
    detail: str


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted, by whom and why. Its items are read from the store, some at a time."""

    id: str
    kind: JobKind
    actor: str
    reason: str
    created_at: datetime
    arguments: Mapping[str, str] = field(default_factory=dict)  # again, as, rate, canary
    state: JobState = "open"
    note: str = ""  # why it was paused, resumed or cancelled
    changed_by: str = ""
    changed_at: datetime | None = None  # when its state changed last
    canary_from: int = 0  # the position from which its canaries count
    canary_passed: bool = False
    seq: int = 0  # given by the store

    @property
    def rate(self) -> float | None:
        """At most so many items per second; ``None``: nobody said."""
        return float(self.arguments["rate"]) if "rate" in self.arguments else None

    @property
    def canary(self) -> int:
        """So many first; the others only after these are delivered. 0: no such condition."""
        return int(self.arguments.get("canary", "0"))

    @property
    def again(self) -> bool:
        """Whether also what needs nothing is meant: what was delivered already."""
        return "again" in self.arguments


@dataclass(frozen=True, slots=True)
class Steering:
    """Somebody changes the state of a job. ``by`` is "hub" where it is the job's own doing."""

    job_id: str
    to: JobState
    by: str
    note: str
    at: datetime
