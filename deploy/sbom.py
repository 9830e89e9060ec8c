"""Writes what the hub is made of: a CycloneDX SBOM of the locked requirements, with the hashes that pip checks.

    requirements/run.txt ──┬─▶ components with purl and sha256 ──▶ dist/xoev-hub.cdx.json
    pyproject.toml ────────┘

Nothing is asked of any index: the lock is the truth. Licences are those that installed packages state, if they are.
"""

# ruff: noqa: INP001  # a script, run as `make sbom`

from __future__ import annotations

import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def sbom(lock: Path, project: dict[str, Any]) -> dict[str, Any]:
    """Return the SBOM. The same lock gives the same one: its serial number is made of its content."""
    components = [component(*one) for one in locked(lock)]
    name, version = project["name"], project["version"]
    itself = {
        "type": "application",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": name,
        "version": version,
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": f"pkg:pypi/{name}@{version}",
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([itself, components], sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": itself},
        "components": components,
        "dependencies": [{"ref": itself["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def locked(lock: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, version and hashes of each requirement of a lock with hashes."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text("utf-8")):
        pin = _PIN.match(entry)
        if pin:
            yield pin[1].lower().replace("_", "-"), pin[2], _HASH.findall(entry)


def component(name: str, version: str, hashes: list[str]) -> dict[str, Any]:
    """Return one library. Its files have one hash each; pip takes the one that fits the machine."""
    purl = f"pkg:pypi/{name}@{version}"
    found: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    found["hashes"] = [{"alg": "SHA-256", "content": one} for one in hashes]
    if licence := _licence(name, version):
        found["licenses"] = [licence]
    return found


def _licence(name: str, version: str) -> dict[str, Any] | None:
    try:
        told = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    expression = told.get("License-Expression")
    return {"expression": expression} if expression and told.get("Version") == version else None


def main(arguments: list[str]) -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    target = Path(arguments[0]) if arguments else ROOT / "dist" / "xoev-hub.cdx.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    made = sbom(ROOT / "requirements" / "run.txt", project)
    target.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sys.stdout.write(f"{target}: {len(made['components'])} components\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
