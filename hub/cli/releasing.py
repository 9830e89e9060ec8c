"""``release``: who is ready for a day on which versions of standards change."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import FAILED, OK, Time, json_option, put_items, put_table, say
from hub.cli.session import Session

if TYPE_CHECKING:
    from hub.release import Readiness


@click.command()
@click.argument("at", metavar="DATE", type=Time(berlin=True))
@json_option
@click.pass_obj
def release(session: Session, at: datetime, as_json: bool) -> None:
    """Say who is ready for a day: municipality × version of a standard that is served then.

    Red: a message of that version would be refused or dead, exit 1. Yellow: it arrives, but converted, without a route
    test, or checked by its header only. Green: nothing to do. A DATE without a time is its midnight in Berlin.
    """
    from hub.files import Files
    from hub.release import readiness

    found = list(readiness(session.snapshot(), Files(session.base), at))
    if as_json:
        put_items([_json(one) for one in found])
    else:
        put_table(
            ("", "municipality", "version", "schema", "routes", "tests", "accepts", "why"), [_row(one) for one in found]
        )
        counts = {colour: sum(one.colour == colour for one in found) for colour in ("red", "yellow", "green")}
        say(", ".join(f"{count} {colour}" for colour, count in counts.items()))
    raise click.exceptions.Exit(FAILED if any(one.red for one in found) else OK)


def _row(one: Readiness) -> tuple[str, ...]:
    failed = f", {len(one.tests.failed)} failed" if one.tests.failed else ""
    accepts = {type_.removesuffix("/*") for place in one.destinations for type_ in place.accepts}
    return (
        one.colour,
        one.municipality,
        f"{one.standard}/{one.version or '-'}",
        one.schema or "-",
        ", ".join(one.routes) or "-",
        f"{one.tests.passed} passed{failed}",
        ", ".join(sorted(accepts)) or "-",
        "; ".join((*one.red, *one.yellow)),
    )


def _json(one: Readiness) -> dict[str, Any]:
    return {
        "municipality": one.municipality,
        "standard": one.standard,
        "version": one.version,
        "state": one.colour,
        "schema": one.schema,
        "routes": list(one.routes),
        "tests": {"passed": one.tests.passed, "failed": list(one.tests.failed)},
        "destinations": [
            {"name": place.name, "accepts": list(place.accepts), "conversions": list(place.conversions)}
            for place in one.destinations
        ],
        "red": list(one.red),
        "yellow": list(one.yellow),
    }
