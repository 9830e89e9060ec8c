"""Each adapter that the project offers has a class of tests that inherits the contract of its kind."""

from __future__ import annotations

import ast
import importlib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from hub.plugin import Adapter
from tests.source import Program

ROOT = Path(__file__).parents[2]
CONTRACTS = {"outbound": "OutboundContract", "listener": "ListenerContract", "poller": "PollerContract"}


def offered() -> dict[str, Adapter]:
    """Return the adapters of pyproject.toml by their entry points; what is installed may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = {}
    for name, reference in project["entry-points"]["xoev_hub.adapters"].items():
        module, _, attribute = reference.partition(":")
        found[name] = getattr(importlib.import_module(module), attribute)
    return found


def without_contract(adapters: Mapping[str, Adapter], tests: Program) -> Iterator[str]:
    """Yield the entry points for which no module has both: the adapter imported, and its contract inherited."""
    kept = {
        (imported, base)
        for module in tests.modules
        for imported in tests.imports(module)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for base in map(ast.unparse, node.bases)
    }
    for name, adapter in adapters.items():
        for kind, contract in CONTRACTS.items():
            factory = getattr(adapter, kind)
            if factory is not None and (factory.__module__, contract) not in kept:
                yield f"{name}: no test in tests/contracts imports {factory.__module__} and inherits {contract}"


def test_every_adapter_is_held_against_the_contract_of_its_kind() -> None:
    assert list(without_contract(offered(), Program.read(ROOT, "tests/contracts"))) == []


def test_an_adapter_without_its_contract_is_found() -> None:
    adapters = {name: adapter for name, adapter in offered().items() if name in ("folder", "folder-in")}
    other_kind = "from adapters.folder_in import FolderPoller\nclass TestX(OutboundContract): ..."
    no_test = "from adapters.folder_out import FolderAdapter\nclass Base(OutboundContract): ..."

    found = list(
        without_contract(adapters, Program({"tests/contracts/a.py": other_kind, "tests/contracts/b.py": no_test}))
    )

    assert [text.partition(":")[0] for text in found] == ["folder", "folder-in"]


def test_all_kinds_of_adapters_are_looked_at() -> None:
    kinds = {kind for adapter in offered().values() for kind in CONTRACTS if getattr(adapter, kind) is not None}

    assert kinds == set(CONTRACTS)
