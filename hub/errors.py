"""Every exception that the hub raises on purpose.

    HubError
    ├── ConfigError          the configuration cannot be used; carries all problems at once
    ├── Rejected             a document is not acceptable; its sender must act
    ├── Unavailable          the hub cannot take a message now; its sender may try again
    │   └── TooFast          its sender hands in faster than its `rate` allows
    └── StoreError
        ├── Conflict         another content under the same identity, or somebody moved the delivery first
        ├── IllegalTransition
        ├── NotMigrated      its tables, their rights or its key have to be made first
        └── StoreBusy        another daemon has the store

A delivery that fails is not an exception but an :mod:`outcome <hub.outcome>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hub.message import Finding


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in the configuration: where, what was found, what is expected.

    ``line`` and ``column`` count from 1; 0 says that there is no position (a missing file, say).
    """

    file: str
    line: int
    column: int
    path: str
    text: str
    source: str = ""  # the line itself, for the caret
    level: str = "error"  # error | warning

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        head = f"{where}: {self.path}: {self.text}" if self.path else f"{where}: {self.text}"
        if self.level == "warning":
            head += " (warning)"
        if not self.source:
            return head
        shown = self.source.expandtabs(1)
        return f"{head}\n    {shown}\n    {' ' * (self.column - 1)}^"


class HubError(Exception):
    """Base of all exceptions that the hub raises on purpose."""


class ConfigError(HubError):
    """The configuration cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Rejected(HubError):
    """The document is not acceptable as it stands. ``code`` is from the closed list of INTERFACE §4.

    ``id`` is set once the rejection is on record. ``document`` says the same in the standard's own form, where the
    source sends such; it carries the original and is for its sender only. The exception's text never quotes either.
    """

    def __init__(
        self, code: str, findings: Sequence[Finding] = (), id: str | None = None, document: bytes | None = None
    ) -> None:
        super().__init__(f"{code}, {len(findings)} finding(s)")
        self.code = code
        self.findings = tuple(findings)
        self.id = id
        self.document = document


class Unavailable(HubError):
    """The hub cannot take over responsibility at the moment."""


class TooFast(Unavailable):
    """A sender hands in faster than it may; ``retry_after`` says when the next document is welcome."""

    def __init__(self, retry_after: timedelta) -> None:
        super().__init__("the sender hands in faster than its rate allows")
        self.retry_after = retry_after


class StoreError(HubError):
    """The store refused or failed."""


class Conflict(StoreError):
    """Something else is there already: other content under the same identity, or a later revision.

    ``id`` names the record of the rejection, once there is one; ``document`` is that of :class:`Rejected`.
    """

    def __init__(self, text: str = "", id: str | None = None, document: bytes | None = None) -> None:
        super().__init__(text)
        self.id = id
        self.document = document


class IllegalTransition(StoreError):
    """The event cannot follow the state."""


class NotMigrated(StoreError):
    """The store is not ready for this program; `store migrate` makes it so."""


class StoreBusy(StoreError):
    """Another daemon has this store."""
