"""Where every effective value of an entry comes from, as ``config show NAME --origin`` prints it.

A value of a procedure is shown as it is filled for this destination, with the line of the procedure. Secrets are
references and are shown as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hub.config import entries
from hub.config.build import destination_nodes, start
from hub.config.document import Node
from hub.config.endpoints import Endpoints
from hub.config.include import MAPPINGS
from hub.config.run import FindAdapter
from hub.files import Files
from hub.plugins import find_adapter

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """One value: its key below the entry, the value, and ``FILE:LINE`` or ``default``."""

    key: str
    value: str
    origin: str

    def __str__(self) -> str:
        return f"{self.key} = {self.value}    # {self.origin}"


def origin(
    files: Files,
    name: str,
    *,
    main: str = "routes.yaml",
    stage: str | None = None,
    find: FindAdapter = find_adapter,
) -> tuple[Origin, ...]:
    """Return the values of everything that is called ``name``; nothing if nothing is."""
    run = start(files, main, stage=stage, find=find)
    run.destinations = dict(destination_nodes(run))
    found: list[Origin] = []
    if name in run.destinations:
        endpoints = Endpoints(run, entries.read_municipalities(run))
        node = endpoints.effective(name, run.destinations[name])
        if node is not None:
            found += _leaves("", node)
            found += _defaults(endpoints, node)
    for section in MAPPINGS:
        if section != "destinations" and name in run.names(section):
            found += _leaves(section, run.names(section)[name])
    return tuple(found)


def _leaves(key: str, node: Node) -> Iterator[Origin]:
    match node.value:
        case dict() as children if children:
            for name, child in children.items():
                yield from _leaves(f"{key}.{name}" if key else name, child)
        case list() as items if items:
            for number, item in enumerate(items):
                yield from _leaves(f"{key}[{number}]", item)
        case str() as text:
            yield Origin(key, text, f"{node.file}:{node.line}")
        case empty:
            shown = "null" if empty is None else "{}" if isinstance(empty, dict) else "[]"
            yield Origin(key, shown, f"{node.file}:{node.line}")


def _defaults(endpoints: Endpoints, node: Node) -> Iterator[Origin]:
    """Yield what nobody wrote and holds nevertheless: the adapter's defaults."""
    adapter = endpoints.adapter(node, "out")
    fields = adapter.settings.model_fields if adapter is not None else {}
    for name, field in fields.items():
        key = field.alias or name
        if key not in node.items and not field.is_required():
            value = field.get_default(call_default_factory=True, validated_data={})
            yield Origin(key, "null" if value is None else str(value), DEFAULT)
