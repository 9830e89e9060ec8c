"""Builds answers to senders in a process of its own: PyXB takes a namespace once per process, and keeps it.

python -m tests.answering BASE STATE < {"cases": [{"type", "body", "code", "findings", "sender"}]}  >  [text | null]
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hub.errors import Rejected
from hub.files import Files
from hub.message import Finding, MessageType
from hub.xml import answers, bindings, guard, header, office
from hub.xml.registry import Registry

AT = datetime(2026, 6, 1, 10, 0, 0, 123000, tzinfo=UTC)
OFFICE = office.Office(
    "dbs:030310300001", "IT-Verbund Beispielland", "poststelle@beispiel.invalid", "Beispielweg", "1", "38100", "Musterstadt"
)  # fmt: skip


def build(base: Path, state: Path, cases: Sequence[dict[str, Any]]) -> list[str | None]:
    """Return the answer to each case, built in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.answering", str(base), str(state)],
        input=json.dumps(cases), capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[str | None] = json.loads(done.stdout)
    return found


def main(base: str, state: str) -> None:
    files, cases = Files(Path(base)), json.load(sys.stdin)
    registry, problems = Registry.load(files)
    assert problems == []
    types = {case["type"]: MessageType.parse(case["type"]) for case in cases}
    profiles = {(one.standard, one.version): registry.profiles[one.standard, one.version] for one in types.values()}
    bound = {key: answers.bound(profile) for key, profile in profiles.items()}
    folder = bindings.prepare(files, bound.values(), Path(state))
    assert folder
    bindings.activate(folder)
    print(json.dumps([_answer(case, types[case["type"]], bound, registry) for case in cases]))


def _answer(case: dict[str, Any], type_: MessageType, bound: dict[Any, Any], registry: Registry) -> str | None:
    profile = bound[type_.standard, type_.version]
    answering = answers.Answering(type_, profile, registry.schema(profile), "1.0")
    original = answers.Original(
        base64.b64decode(case["body"]), case.get("sender", "portal"), test=case.get("test", False)
    )
    try:
        root = guard.parse(original.body)
        own = registry.identify(root, AT)
        found = header.read(root, own).header
        original = replace(original, header=found, root=root, type_list=(own.type_list, own.version))
    except Rejected:
        pass  # of what is no XML nothing is known
    findings = [Finding(**one) for one in case.get("findings", [])]
    judgement = answers.Judgement("0190a000-0000-7000-8000-00000000000a", AT, case.get("code", ""), findings)
    body = answering.document(original, judgement, OFFICE)
    return body.decode() if body else None


if __name__ == "__main__":
    main(*sys.argv[1:])
