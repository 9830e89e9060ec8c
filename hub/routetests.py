"""The section ``tests:`` of routes.yaml: does today's snapshot do with a document what its author expects."""

from __future__ import annotations

from datetime import UTC, datetime

from hub.deployment import RouteTest
from hub.errors import Problem
from hub.files import Files
from hub.inspection import Plan, Rejection, Snapshot, inspect
from hub.message import Incoming, MessageId, new_id


def failure(test: RouteTest, snapshot: Snapshot, files: Files) -> str | None:
    """Return what differs from the expectation; ``None``: nothing. The document is never quoted."""
    try:
        return compare(test, made_of(test, snapshot, files, datetime.now(UTC)))
    except OSError as error:
        return f"{test.message}: {error.strerror}"


def made_of(test: RouteTest, snapshot: Snapshot, files: Files, at: datetime) -> Plan | Rejection:
    """Return what a snapshot makes of a test's message that is received at ``at``.

    Raises:
        OSError: The message cannot be read.
    """
    body = files.read(test.message)
    return inspect(Incoming(body, "", test.sender or "", id=MessageId(new_id()), received_at=at), snapshot)


def problems(snapshot: Snapshot, files: Files, *, level: str) -> list[Problem]:
    """Return a problem for each route test that fails."""
    found = []
    for test in snapshot.deployment.tests:
        if (why := failure(test, snapshot, files)) is not None:
            mark = test.mark
            place = (mark.file, mark.line, mark.column) if mark else ("", 0, 0)
            found.append(Problem(*place, "tests", f"{test.name}: {why}", level=level))
    return found


def compare(test: RouteTest, result: Plan | Rejection) -> str | None:
    """Return what differs between a test's expectation and a result; ``None``: nothing."""
    if isinstance(result, Rejection):
        if test.rejected == result.code:
            return None
        rules = ", ".join(sorted({finding.rule for finding in result.findings}))
        return f"expected {test.rejected or test.route}, got rejected {result.code} ({rules})"
    if test.rejected is not None:
        return f"expected rejected {test.rejected}, got route {result.verdict.route}"
    if test.route is not None and test.route != result.verdict.route:
        return f"expected route {test.route}, got {result.verdict.route}"
    broken = [f"{one.heading.destination}: {one.reason} ({one.code})" for one in result.deliveries if one.reason]
    if broken:
        return "; ".join(broken)
    got = sorted(one.heading.destination or "" for one in result.deliveries)
    if test.deliver_to is not None and got != sorted(test.deliver_to):
        return f"expected {sorted(test.deliver_to)}, got {got}"
    return None
