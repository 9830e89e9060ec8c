"""The program's own source, parsed, for tests that hold it against rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Module:
    path: str  # hub/xml/guard.py
    source: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class Program:
    """Some modules by their paths; made of a mapping, so that a rule can be shown a bad program."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        self.modules = [Module(path, source, ast.parse(source)) for path, source in sorted(sources.items())]
        self.names = {module.name for module in self.modules}

    @classmethod
    def read(cls, root: Path, *packages: str) -> Self:
        """Return all modules of some packages."""
        paths = [path for package in packages for path in (root / package).rglob("*.py")]
        return cls({path.relative_to(root).as_posix(): path.read_text("utf-8") for path in paths})

    def imports(self, module: Module) -> Iterator[str]:
        """Yield what a module imports, wherever it does; ``from hub.xml import guard`` is ``hub.xml.guard``."""
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{module.path}:{node.lineno}: imports are written absolutely"
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    yield inner if inner in self.names else str(node.module)


def below(name: str, *packages: str) -> bool:
    """Return whether a module is one of the packages, or in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def calls(module: Module) -> Iterator[tuple[ast.Call, str]]:
    """Yield every call with the dotted name of what is called, as far as it has one."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def at(module: Module, node: ast.expr | ast.stmt, text: str) -> str:
    """Return a text with its place."""
    return f"{module.path}:{node.lineno}: {text}"
