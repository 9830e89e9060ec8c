"""Runs a route's checks in their order. What a check found is one thing, whether that is acceptable another.

    check ──findings──▶ levels of the route's accept: ──any error──▶ rejected, with the check's code
          ──crashed, could not tell, cannot be done──────────────▶ rejected, inspection_failed

What was not checked has not passed. A document that is not valid is not looked at further: the checks after ``xsd``
are skipped, for they take a valid document for granted. Of the others all run, so that a sender mends all at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from hub.errors import ConfigError
from hub.message import Checked, Finding
from hub.xml.bundle import FINDINGS_MAX, TEXT_MAX
from hub.xml.checks.table import CHECKS, Checks
from hub.xml.checks.values import Check, Document, Found, Inconclusive
from hub.xml.place import positions

State = Literal["done", "skipped", "crashed"]

ACCEPTABLE = frozenset({"idref", "din91379", "codelists", "schematron"})
"""Checks whose findings a route may see otherwise. A schema and a signature are kept or broken."""


@dataclass(frozen=True, slots=True)
class Result:
    """What all checks found. ``code`` says with what the document is rejected; "": it is acceptable."""

    code: str
    checks: tuple[Checked, ...]
    findings: tuple[Finding, ...]  # errors, if it is not acceptable; else warnings


def run_checks(
    checks: Sequence[Check],
    document: Document,
    prepared: Checks,
    *,
    accept: Mapping[str, str],
    about_header: Sequence[Finding] = (),
) -> Result:
    """Return what the checks say of a document, and whether a route that accepts ``accept`` takes it.

    ``about_header`` is what the header's reader has found before; it counts like findings of the schema.
    """
    code, valid = "", True
    done: list[Checked] = []
    findings: list[Finding] = []
    for check in checks:
        if not valid:
            done.append(Checked(str(check), "skipped"))
            continue
        began = time.perf_counter()
        state, found = _run(check, document, prepared, accept)
        done.append(Checked(str(check), state, round((time.perf_counter() - began) * 1000, 2)))
        if not found:
            continue
        findings += found
        if any(one.level == "error" for one in found):
            code = code or ("inspection_failed" if state == "crashed" else CHECKS[check.name][1])
            valid = check.name != "xsd"
    if about_header:
        said = {one.path for one in findings}  # what the schema says of a node need not be said twice
        findings += (one for one in about_header if one.path not in said)
        if valid and any(one.level == "error" for one in about_header):
            code = "schema_violation"
    if not code:
        return Result("", tuple(done), tuple(one for one in findings if one.level != "error")[:FINDINGS_MAX])
    return Result(code, tuple(done), _placed([one for one in findings if one.level == "error"], document))


def _placed(errors: Sequence[Finding], document: Document) -> tuple[Finding, ...]:
    """Return the first errors in the order of the document, each where its element begins."""
    shown = sorted(errors, key=lambda one: (one.line, one.column))[:FINDINGS_MAX]
    at = positions(document.root, document.body, [one.path for one in shown])
    placed = [replace(one, line=at[one.path][0], column=at[one.path][1]) if one.path in at else one for one in shown]
    return tuple(sorted(placed, key=lambda one: (one.line, one.column)))


def _run(check: Check, document: Document, prepared: Checks, accept: Mapping[str, str]) -> tuple[State, list[Finding]]:
    """Return what a check found, each with its level on this route; if it could not tell, that."""
    try:
        found = prepared.prepared(check, document.profile)(document)
        return "done", list(_shown(found, accept if check.name in ACCEPTABLE else {}))
    except ConfigError as error:
        text = error.problems[0].text if error.problems else "cannot be done"
    except Inconclusive as error:
        text = str(error)
    except Exception as error:  # noqa: BLE001  # a check that crashed has not passed; its text may quote the document
        from hub.log import get_log  # a command that looks at one document says nothing unless a check crashes

        get_log(__name__).error("check_crashed", check=check.name, error=type(error).__name__)
        text = "it crashed"
    return "crashed", [Finding(check.name, text=f"could not be checked: {text}"[:TEXT_MAX])]


def _shown(found: Iterable[Found | Finding], accept: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the first hundred errors and the first hundred warnings: no error is lost behind what a route accepts."""
    counts: dict[str, int] = {}
    for one in found:
        level = next((level for rule, level in accept.items() if fnmatchcase(one.rule, rule)), one.level)
        counts[level] = counts.get(level, 0) + 1
        if counts[level] <= FINDINGS_MAX:
            finding = one.shown() if isinstance(one, Found) else one
            yield finding if level == finding.level else replace(finding, level=level)
