"""What a destination takes over from its procedure, and a municipality from those whose member it is.

A municipality's key replaces the procedure's; mappings are merged key by key, and ``null`` takes a key away. ``like``
has one level. Values that a municipality has not said are looked for at those whose member it is, as its destinations
are.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub.config.document import Node
from hub.config.run import Run
from hub.config.validate import found
from hub.deployment import Municipality


def merge(base: Node, over: Node) -> Node:
    """Return ``over`` with what it inherits from ``base``; every value still knows where it stands."""
    entries = dict(base.items)
    for key, node in over.items.items():
        inherited = entries.get(key)
        if inherited is not None and node.value is None:
            del entries[key]
        elif inherited is not None and isinstance(inherited.value, dict) and isinstance(node.value, dict):
            entries[key] = merge(inherited, node)
        else:
            entries[key] = node
    return over.with_value(entries)


def with_procedure(node: Node, run: Run) -> Node | None:
    """Return a destination merged with the procedure that it is ``like``, or ``None`` after noting why not."""
    like = node.items.get("like")
    if like is None:
        return node
    procedures = run.names("procedures")
    if like.text is None:
        run.report.add(like.place, f"found {found(like)}, expected the name of a procedure")
        return None
    if not run.known("procedure", like.text, procedures, like) or like.text not in procedures:
        return None
    procedure = procedures[like.text]
    if not isinstance(procedure.value, dict):
        run.report.add(procedure.place, f"found {found(procedure)}, expected a mapping")
        return None
    if "like" in procedure.items:
        at = procedure.items["like"].key_place
        run.report.add(at, "`like` has one level: expected the keys themselves, a procedure is like no other")
        return None
    own = {key: child for key, child in node.items.items() if key != "like"}
    return merge(procedure, node.with_value(own))


def values_of(municipality: Municipality, municipalities: Mapping[str, Municipality]) -> Mapping[str, str]:
    """Return a municipality's values: its own, else what those around it agree on."""
    around = [municipalities[key].values for key in municipality.part_of]
    if not around:
        return municipality.values
    inherited: dict[str, str] = {}
    for key in {key for values in around for key in values}:
        told = {values[key] for values in around if key in values}
        if len(told) == 1:
            inherited[key] = told.pop()
    return {**inherited, **municipality.values}
