"""Fills ``{municipality}``, ``{municipality.values.X}`` and ``{service}`` into the strings of a procedure.

What fills a placeholder is never looked at again, so a value cannot smuggle one in. Names that the adapter itself fills
at run time (``{delivery_id}``) stay as they are; any other name in braces is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hub.config.document import Node
from hub.config.report import Place, Report
from hub.config.validate import unknown

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.-]*)\}")
_VALUES = "municipality.values."


@dataclass(frozen=True, slots=True)
class Filling:
    """What placeholders stand for at one destination. ``used_at`` is where a value that is not there is missed."""

    names: Mapping[str, str]
    kept: frozenset[str]
    used_at: Place
    municipality: str | None

    def fill(self, node: Node, report: Report) -> Node:
        """Return the node with every string filled; nodes without placeholders are kept as they are."""
        match node.value:
            case str() as text:
                return node.with_value(self._text(text, node, report)) if "{" in text else node
            case dict() as entries:
                filled = {key: self.fill(child, report) for key, child in entries.items()}
                same = all(filled[key] is entries[key] for key in entries)
                return node if same else node.with_value(filled)
            case list() as children:
                items = [self.fill(child, report) for child in children]
                return node if all(a is b for a, b in zip(items, children, strict=True)) else node.with_value(items)
            case _:
                return node

    def _text(self, text: str, node: Node, report: Report) -> str:
        def filled(match: re.Match[str]) -> str:
            name = match[1]
            if name in self.names:
                return self.names[name]
            if name not in self.kept:
                self._miss(name, node, report)
            return match[0]

        return _PLACEHOLDER.sub(filled, text)

    def _miss(self, name: str, node: Node, report: Report) -> None:
        if self.municipality is not None and name.startswith(_VALUES):
            # The placeholder is right, this municipality has not said what belongs there.
            value = name.removeprefix(_VALUES)
            where = f"{node.file}:{node.line}"
            text = f"{self.municipality} has no value {value!r}, which {{{name}}} in {where} asks for"
            report.add(self.used_at, text)
            return
        report.add(node.place, unknown("placeholder", name, {*self.names, *self.kept}))
