"""What one reading of the configuration works with: the files, the tree, what is known, and the report."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hub.config.document import Node
from hub.config.include import Tree, inside
from hub.config.report import Report
from hub.config.validate import unknown
from hub.deployment import Environment
from hub.files import Files
from hub.plugin import Adapter

if TYPE_CHECKING:
    from hub.xml.registry import Registry

FindAdapter = Callable[[str, str], Adapter]


@dataclass(slots=True)
class Run:
    """One reading. Names that were written but whose entry is broken count as known: one fault, one problem."""

    files: Files
    tree: Tree
    report: Report
    find_adapter: FindAdapter
    stage: Environment
    destinations: dict[str, Node] = field(default_factory=dict)  # of both forms, as written, by name
    thorough: bool = True  # adapters prove what takes them long
    read: Registry | None = None

    @property
    def registry(self) -> Registry:
        """The standards. Where they were not read, they are now; what is wrong with them is noted then."""
        if self.read is None:
            from hub.xml.registry import Registry

            self.read, problems = Registry.load(self.files)
            self.report.extend(problems)
        return self.read

    def names(self, section: str) -> dict[str, Node]:
        return self.tree.sections[section]

    def known(self, kind: str, name: str, names: Collection[str], node: Node) -> bool:
        """Say whether a name exists; note a problem if not. Where a file is missing, nobody can tell."""
        if name in names or self.tree.partial:
            return True
        self.report.add(node.place, unknown(kind, name, names))
        return False

    def file(self, path: str, node: Node) -> str | None:
        """Return the plain name of a file that must be there, inside the folder of routes.yaml."""
        name = inside(path)
        if name is None:
            self.report.add(node.place, f"found {path!r}, expected a path inside the folder of routes.yaml")
            return None
        try:
            self.files.read(name)
        except OSError as error:
            self.report.add(node.place, f"cannot read {name}: {error.strerror}{self._beside(name)}")
            return None
        return name

    def _beside(self, name: str) -> str:
        """Return a hint at a file of nearly the same name."""
        folder, _, plain = name.rpartition("/")
        if not folder:
            return ""
        names = [posixpath.basename(one) for one in self.files.find(folder, "*")]
        hint = unknown("", plain, names).partition("; did you mean")
        return hint[1] + hint[2]
