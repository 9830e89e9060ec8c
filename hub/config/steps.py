"""Steps as written: each names a file, a standard or a function that can be found."""

from __future__ import annotations

import re
from dataclasses import replace

from hub.config.document import Node
from hub.config.model import ConvertEntry, StepEntry
from hub.config.run import Run
from hub.config.validate import unknown
from hub.deployment import Conversion, Mark, StepSpec
from hub.plugins import step_names

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def mark(node: Node) -> Mark:
    return Mark(node.file, node.line, node.column, node.path)


def read_steps(entries: tuple[StepEntry, ...], node: Node | None, run: Run) -> tuple[StepSpec, ...]:
    """Return the steps of a list that is well formed; note those that lead nowhere."""
    items = node.value if node is not None and isinstance(node.value, list) else []
    return tuple(_read(entry, item, run) for entry, item in zip(entries, items, strict=True))


def _read(entry: StepEntry, item: Node, run: Run) -> StepSpec:
    if entry.convert is not None:
        return _read_conversion(entry.convert, item.items["convert"], run)
    value, node = entry.value, item.items[entry.kind]
    match entry.kind:
        case "xslt":
            value = run.file(value, node) or value
        case "validate":
            _check_standard(value, node, run)
        case "python":
            _check_function(value, node, run)
    return StepSpec(entry.kind, value, mark(node))


def _read_conversion(entry: ConvertEntry, node: Node, run: Run) -> StepSpec:
    _check_standard(entry.from_, node.items["from"], run)
    _check_standard(entry.to, node.items["to"], run)
    if entry.from_ == entry.to:
        run.report.add(node.items["to"].place, "expected another version than `from`")
    inner = StepEntry(xslt=entry.xslt) if entry.xslt else StepEntry(python=entry.python)
    conversion = Conversion(entry.from_, entry.to, lossy=entry.fidelity == "lossy")
    return replace(_read(inner, node, run), conversion=conversion)


def _check_standard(value: str, node: Node, run: Run) -> None:
    standards = {f"{standard}/{version}" for standard, version in run.registry.profiles}
    run.known("standard", value, standards, node)


def _check_function(value: str, node: Node, run: Run) -> None:
    # Its module is not imported here: the daemon never imports steps. The workers prove it with the snapshot.
    if ":" in value:
        if not _FUNCTION.fullmatch(value):
            run.report.add(node.place, f"found {value!r}, expected PACKAGE.MODULE:FUNCTION")
    elif value not in step_names():
        text = unknown("step", value, step_names())
        run.report.add(node.place, f"{text}; expected PACKAGE.MODULE:FUNCTION or the name of an installed step")
