"""``--dry-run --diff``: what today's configuration would make different of what was stored.

One rule: a difference quotes documents. It is shown on the terminal, with a reason that the audit keeps, and is in no
log and in no JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import OK, now, printable, put_json, say
from hub.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hub.comparing import Cluster
    from hub.decision import Difference
    from hub.selection import Selection
    from hub.service import Hub

SHOWN_MAX = 10  # clusters with an example


def tell_differences(
    session: Session, hub: Hub, selection: Selection, reason: str, *, again: bool, as_json: bool
) -> int:
    """Compare the items of a selection with what today's configuration makes of them; return the exit code."""
    from hub.cli.unread import unread
    from hub.comparing import Comparing, clustered
    from hub.snapshot import OneSnapshot

    comparing = Comparing(hub.store, OneSnapshot(session.snapshot()), now, again=again)
    hub.note_reading(f"{len(selection.items)} items compared with today", reason)
    clusters = clustered(comparing.compare(item) for item in selection.items)
    if as_json:
        put_json({"api": 1, "items": [_json(cluster) for cluster in clusters], "next": None})
        return OK
    _tell_all(hub, clusters, reason)
    if changed := unread(session, hub.store):
        say(f"today is what lies here; the running hub has not read it so: {changed}. First: xoev-hub reload")
    return OK


def _json(cluster: Cluster) -> Mapping[str, Any]:
    one = cluster.example
    return {
        "count": cluster.count,
        "items": cluster.items,
        "differences": [
            {"what": each.what, "destination": each.destination, "before": each.before, "after": each.after}
            for each in one.differences
            if each.what != "bytes"
        ],
        "changes": [{"path": change.path, "what": change.what} for change in one.changes],
        "obstacle": one.obstacle or None,
    }


def _tell_all(hub: Hub, clusters: Sequence[Cluster], reason: str) -> None:
    same = sum(cluster.count for cluster in clusters if _is_same(cluster))
    different = [cluster for cluster in clusters if not _is_same(cluster)]
    count = sum(cluster.count for cluster in different)
    ways = f" in {len(different)} way{'' if len(different) == 1 else 's'}" if different else ""
    say(f"{same} would be the same today, {count} different{ways}; nothing was done")
    for number, cluster in enumerate(different, 1):
        click.echo(f"\n{number}. {cluster.count} such, for example {cluster.items[0]}")
        if number > SHOWN_MAX:
            continue
        if cluster.example.bodies:
            hub.note_reading(f"{cluster.items[0]} outgoing, compared", reason)
        _tell(cluster)


def _is_same(cluster: Cluster) -> bool:
    return not cluster.example.differences and not cluster.example.obstacle


def _tell(cluster: Cluster) -> None:
    from hub.xml.difference import lines

    one = cluster.example
    if one.obstacle:
        click.echo(f"   nobody can tell: {printable(one.obstacle)}")
    for each in one.differences:
        click.echo(f"   {printable(_sentence(each))}")
    for change in one.changes:
        click.echo(f"   {change.what:<10} {printable(change.path)}")
    for line in lines(*one.bodies) if one.bodies else ():
        click.echo(f"   | {printable(line)}")


def _sentence(one: Difference) -> str:
    from hub.cli.retelling import sentence

    return sentence({"what": one.what, "destination": one.destination, "before": one.before, "after": one.after})
