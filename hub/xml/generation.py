"""Writes PyXB bindings: a program of its own, started once per set of schemas by ``hub.xml.bindings``.

PyXB keeps every schema it has read in global tables and needs hundreds of megabytes for a large standard; both end
with this process. It reads the folder that it is given and nothing else, for all imports in it point into it.

    python -m hub.xml.generation SCHEMAS OUT
        SCHEMAS/order.json      {"uid", "entries": [FILE], "modules": {NAMESPACE: NAME}}
        OUT/xoev_bindings/      one module per namespace, compiled
"""

from __future__ import annotations

import compileall
import json
import logging
import os
import sys
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Any

import pyxb
from pyxb.binding.generate import Generator
from pyxb.xmlschema import structures

PACKAGE = "xoev_bindings"


def main(schemas: str, out: str) -> int:
    """Write and compile the package. What goes wrong with a schema is one line on stderr and exit code 1."""
    logging.getLogger("pyxb").setLevel(logging.CRITICAL)
    _let_local_elements_have_a_form_of_their_own()
    order = json.loads((Path(schemas) / "order.json").read_text())
    locations = [str(Path(schemas).resolve() / entry) for entry in order["entries"]]
    os.chdir(out)  # PyXB writes the path that it is given into every module
    generator = Generator(
        schema_location_list=locations,
        namespace_module_map=order["modules"],
        module_prefix=PACKAGE,
        binding_root=".",
        default_namespace_public=True,  # else the modules get names with an underscore
        archive_path="",
        generation_uid=order["uid"],
    )
    # As arguments of Generator() they have no effect; without them each run gives other bytes.
    generator.setNoTimestamp(True)
    generator.setStripFilePaths(True)
    try:
        generator.resolveExternalSchema()
        for module in generator.bindingModules():
            module.writeToModuleFile()
    except (pyxb.PyXBException, OSError, AssertionError) as error:  # it asserts what it cannot bind
        sys.stderr.write(f"{type(error).__name__}: {str(error) or 'a construct that PyXB does not know'}\n")
        return 1
    _settle(Path(PACKAGE))
    return 0


def _let_local_elements_have_a_form_of_their_own() -> None:
    # PyXB hands an element's namespace down to all that its anonymous type declares, and then asserts that each is in
    # it; form="unqualified" there, as in XMeld, says otherwise. Without it PyXB asks the form.
    create = structures.Particle.CreateFromDOM.__func__

    def by_its_form(cls: Any, /, node: Any, **given: Any) -> Any:
        if structures.xsd.nodeIsNamed(node, "element"):
            given.pop("target_namespace", None)
        return create(cls, node, **given)

    structures.Particle.CreateFromDOM = classmethod(by_its_form)


def _settle(folder: Path) -> None:
    # Unchecked: the folder is named by its digest, so its sources never change. Written out, because Python may be
    # told not to write bytecode by itself, and a large standard takes seconds to compile.
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    for path in folder.rglob("*.py*"):
        with path.open("rb") as file:
            os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
