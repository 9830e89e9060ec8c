"""``stats``: what comes in, what arrives, what waits; per municipality, route and destination."""

from __future__ import annotations

import csv
import re
import sys
import time
from calendar import monthrange
from collections.abc import Sequence
from datetime import UTC, date, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import click
from click.core import ParameterSource

from hub.cli.common import json_option, now, put_items, put_table
from hub.cli.groups import ago
from hub.cli.session import Session

if TYPE_CHECKING:
    from hub.store.counting import Statistic
    from hub.store.reading import Reader

DIMENSIONS = ("municipality", "route", "destination")
FIGURES = ("in", "rejected", "delivered", "died", "dead", "waiting", "oldest_waiting_at", "p50_s", "p95_s")
BERLIN = ZoneInfo("Europe/Berlin")
CLEAR = "\x1b[H\x1b[2J"


class Month(click.ParamType[tuple[date, date]]):
    """A month such as ``2026-11``, as its first and last day."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, date]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", value)
        if found is None:
            self.fail("expected a month such as 2026-11", param, ctx)
        year, month = int(found[1]), int(found[2])
        return date(year, month, 1), date(year, month, monthrange(year, month)[1])


@click.command()
@click.option("--by", multiple=True, type=click.Choice(DIMENSIONS), help="Told apart by these. Left out: by all three.")
@click.option("--days", type=click.IntRange(1, 3660), default=1, show_default=True, help="Today and the days before.")
@click.option("--month", type=Month(), help="A month instead, such as 2026-11.")
@click.option("--csv", "as_csv", is_flag=True, help="For a spreadsheet: cost sharing, say.")
@click.option("--watch", is_flag=True, help="Show it again and again, with bars, until a signal ends it.")
@click.option("--every", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True, help="Seconds, for --watch.")
@json_option
@click.pass_obj
def stats(session: Session, /, *, by: Sequence[str], as_csv: bool, as_json: bool, watch: bool, **asked: Any) -> None:
    """Count what came in, arrived and died, and what waits and is dead now; days are Berlin's.

    Counted are deliveries: a message for two destinations is in twice; what is rejected has none and counts as itself.
    p50 and p95 are seconds from the receipt until the delivery arrived, right to about 20 %.
    """
    said = click.get_current_context().get_parameter_source("days") is ParameterSource.COMMANDLINE
    if said and asked["month"] is not None:
        raise click.UsageError("--days and --month are two ways to say when; choose one")
    if as_csv + as_json + watch > 1:
        raise click.UsageError("--csv, --json and --watch are three ways to show it; choose one")
    chosen = [one for one in DIMENSIONS if one in by] or list(DIMENSIONS)
    reader = session.reader()
    if watch:
        _watch(reader, chosen, asked)
    found = reader.statistics(*_days(asked), chosen)
    if as_json:
        put_items([_row(one, chosen) for one in found])
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, [*chosen, *FIGURES], lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in _row(one, chosen).items()} for one in found)
    else:
        _table(found, chosen)


def _days(asked: dict[str, Any]) -> tuple[date, date]:
    if asked["month"] is not None:
        first, last = asked["month"]
        return first, last
    today = now().astimezone(BERLIN).date()
    return today - timedelta(days=asked["days"] - 1), today


def _row(one: Statistic, by: Sequence[str]) -> dict[str, Any]:
    place: dict[str, Any] = {name: value or None for name, value in zip(by, one.place, strict=True)}
    oldest = one.oldest_waiting.astimezone(UTC).isoformat().replace("+00:00", "Z") if one.oldest_waiting else None
    figures = (one.arrived_in, one.rejected, one.delivered, one.died, one.dead, one.waiting, oldest, one.p50, one.p95)
    return place | {
        name: round(figure, 3) if isinstance(figure, float) else figure
        for name, figure in zip(FIGURES, figures, strict=True)
    }


def _cell(value: object) -> object:
    """Return what a spreadsheet takes as text where it would take it as a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" else value


def _table(found: Sequence[Statistic], by: Sequence[str]) -> None:
    head = (*by, "in", "rejected", "delivered", "died", "dead now", "waiting", "oldest", "p50", "p95")
    put_table(
        head,
        [
            (
                *(part or "-" for part in one.place), one.arrived_in, one.rejected, one.delivered, one.died, one.dead,
                one.waiting, ago(one.oldest_waiting), seconds(one.p50), seconds(one.p95),
            )
            for one in found
        ],
    )  # fmt: skip


def seconds(value: float | None) -> str:
    """Return a duration as people read it."""
    if value is None:
        return "-"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 120 else f"{value / 60:.0f} min"


def _watch(reader: Reader, by: Sequence[str], asked: dict[str, Any]) -> None:
    """Draw what waits and what arrives until somebody ends it."""
    from hub.cli.common import printable
    from hub.cli.drawing import bar

    before: dict[tuple[str, ...], int] = {}
    while True:
        found = sorted(reader.statistics(*_days(asked), by), key=lambda one: (-one.dead - one.waiting, one.place))
        most_waiting = max((one.waiting for one in found), default=0)
        most_delivered = max((one.delivered for one in found), default=0)
        lines = [f"{now().astimezone():%H:%M:%S}  {' / '.join(by)}: waiting, delivered of the day, dead"]
        for one in found[:40]:
            name = printable(" / ".join(part or "-" for part in one.place))[:48]
            pace = (one.delivered - before.get(one.place, one.delivered)) / asked["every"]
            lines.append(
                f"{name:48} {bar(one.waiting, most_waiting)} {one.waiting:7}  {bar(one.delivered, most_delivered)} "
                f"{one.delivered:7} {pace:6.1f}/s  {one.dead or '-':>6}"
            )
        before = {one.place: one.delivered for one in found}
        if len(found) > 40:
            lines.append(f"and {len(found) - 40} more")
        click.echo(f"{CLEAR if sys.stdout.isatty() else ''}" + "\n".join(lines))
        sys.stdout.flush()
        time.sleep(asked["every"])
