"""``check`` and ``test``: everything that can be known without a network, a secret or a store."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

import click

from hub.cli.common import (
    CONFIG,
    FAILED,
    OK,
    Time,
    failure_of,
    json_option,
    now,
    printable,
    put_json,
    put_table,
    say,
)
from hub.cli.session import Session
from hub.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hub.deployment import Deployment, RouteTest
    from hub.inspection import Snapshot

STDOUT = Path("-")


@click.command()
@click.option("--matrix", is_flag=True, help="Print municipality × service, with the gaps.")
@click.option("--connect", is_flag=True, help="Open every destination's adapter as well (needs network and secrets).")
@click.option("--as-of", type=Time(berlin=True), help="Judge as if it were then. Left out: now.")
@json_option
@click.pass_obj
def check(session: Session, matrix: bool, connect: bool, as_of: datetime | None, as_json: bool) -> None:
    """Check the whole configuration: all problems in one run.

    A route of which no version is served at that time is a warning, or an error if its standard reaches nobody then.
    So is a route that brings a destination a version that it does not accept then: an error if that is all it brings.
    """
    from hub.config.asof import problems_at
    from hub.files import Files
    from hub.snapshot import proved

    try:
        compiled = proved(session.compile())
        snapshot, problems = compiled.snapshot, compiled.problems
    except ConfigError as error:
        snapshot, problems = None, error.problems
    if snapshot is not None:
        in_time = problems_at(snapshot.deployment, snapshot.registry, Files(session.base), as_of or now())
        problems = (*problems, *in_time)
    problems = (*problems, *session.strange_variables())
    problems = tuple(sorted(problems, key=lambda one: one.level != "error"))  # what stands in the way comes first
    if as_json:
        served = {"matrix": _matrix_json(snapshot.deployment)} if matrix and snapshot is not None else {}
        put_json({"api": 1, "items": [_problem_json(one) for one in problems], "next": None, **served})
    else:
        for problem in problems:
            say(str(problem))
    errors = sum(problem.level == "error" for problem in problems)
    if snapshot is None or errors:
        say(f"{errors} problem{'' if errors == 1 else 's'}")
        raise click.exceptions.Exit(CONFIG)
    deployment = snapshot.deployment
    if matrix and not as_json:
        from hub.config.matrix import matrix as rows_of

        head, rows = rows_of(deployment)
        put_table(head, rows)
    say(
        f"ok: {len(deployment.municipalities)} municipalities, {len(deployment.destinations)} destinations, "
        f"{len(deployment.routes)} routes, snapshot {snapshot.digest[:12]}"
    )
    if connect and not _connect(snapshot):
        raise click.exceptions.Exit(FAILED)


def _matrix_json(deployment: Deployment) -> list[dict[str, Any]]:
    from hub.config.matrix import matrix as rows_of

    head, rows = rows_of(deployment)
    return [
        {"municipality": key, "name": name, "services": dict(zip(head[2:], cells, strict=True))}
        for key, name, *cells in rows
    ]


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "text": problem.text,
        "level": problem.level,
    }


def _connect(snapshot: Snapshot) -> bool:
    from hub.endpoints import Endpoints
    from hub.files import Files

    endpoints = Endpoints(snapshot.deployment, Files(snapshot.deployment.base), now)
    good = True
    for destination in snapshot.deployment.destinations.values():
        adapter = endpoints.outbound(destination)
        try:
            adapter.open()
            say(f"{destination.name}: opens")
        except OSError as error:
            good = False
            say(f"{destination.name}: does not open: {failure_of(error)}")
        finally:
            adapter.close()
    return good


# --- route tests -------------------------------------------------------------------------------------------------


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), help="Write the results as JUnit XML."
)
@click.pass_obj
def test(session: Session, names: tuple[str, ...], junit: Path | None) -> None:
    """Run the tests of routes.yaml, all of them or those with these names."""
    from hub import routetests
    from hub.files import Files

    snapshot = session.snapshot()
    known = {one.name for one in snapshot.deployment.tests}
    if unknown := [name for name in names if name not in known]:
        raise click.BadParameter(_no_test(unknown[0], sorted(known)), param_hint="NAME")
    if junit is not None and not junit.absolute().parent.is_dir():
        raise click.BadParameter("its folder does not exist", param_hint="--junit")  # now, not when all is over
    chosen = [one for one in snapshot.deployment.tests if not names or one.name in names]
    files = Files(session.base)
    results = [(one, routetests.failure(one, snapshot, files)) for one in chosen]
    for one, failure in results:
        click.echo(f"{'failed' if failure else 'ok':6}  {printable(one.name)}", err=junit == STDOUT)
        if failure:
            say(f"        {one.mark}: {failure}")
    if junit == STDOUT:
        click.echo(_junit(results), nl=False)
    elif junit:
        junit.write_text(_junit(results), encoding="utf-8")
    failed = sum(failure is not None for _, failure in results)
    say(f"{len(results) - failed} passed, {failed} failed")
    raise click.exceptions.Exit(FAILED if failed else OK)


def _no_test(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"there is no test {name!r}" + (f"; did you mean {near[0]!r}?" if near else "; xoev-hub test runs them all")


def _junit(results: list[tuple[RouteTest, str | None]]) -> str:
    cases = []
    for one, failure in results:
        name = quoteattr(printable(one.name))
        inner = f"<failure message={quoteattr(printable(failure))}/>" if failure else ""
        cases.append(f"  <testcase classname='routes' name={name}>{inner}</testcase>")
    failed = sum(failure is not None for _, failure in results)
    head = f'<testsuite name="routes.yaml" tests="{len(results)}" failures="{failed}">'
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>", ""])
