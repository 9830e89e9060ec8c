"""What the inspection of one document costs, in units of what nobody can save: lxml's own parse and validate.

Both in one process, in turn, by CPU time. Run as a program, this file is that process: it prints what it found as JSON.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from lxml import etree

from bench import messages, official
from bench.messages import DATA, ROOT

ROUNDS, CALLS = 21, 100
INSPECTION_MAX = 2.5  # times bare parse and validate
RULES_MAX = 60  # the same with the rules of an invoice
INVOICE = "xrechnung-3.0/instances/standard/01.12a-INVOICE_ubl.xml"
INVOICES = """\
standard: xrechnung
version: "3.0"
roots: {namespace: "urn:oasis:names:specification:ubl:schema:xsd:Invoice-2", names: [Invoice]}
xsd: xsd/maindoc/UBL-Invoice-2.1.xsd
header: {form: G-UBL}
identity: digest
schematron: [sch/ubl/XRechnung-UBL-validation.sch, sch/cii/XRechnung-CII-validation.sch]
"""
REAL = "xmeld-25.11a/instances-kosit/FachspezifischBehoerdenauskunft005a-1332.xml"
ROUTES = """\
version: 1
senders: {{portal: {{}}}}
inbound: {{eingang: {{adapter: folder, path: in, sender: portal, environment: test}}}}
partners: {{alle: {{authorities: ["ags:*", "dbs:*", "leitweg:*"]}}}}
destinations: {{ablage/alle: {{adapter: folder, path: out, environment: test}}}}
routes: {{alle: {{match: {{type: "{type}/*", partner: [alle]}}, checks: [{checks}], deliver_to: [ablage/alle]}}}}
"""


@dataclass(frozen=True, slots=True)
class Inspected:
    """One document: how long both took, in microseconds of CPU time."""

    document: str
    size: int
    bare_us: float
    inspect_us: float
    limit: float = INSPECTION_MAX  # what is aimed at

    @property
    def ratio(self) -> float:
        """How much the hub takes for what lxml takes once."""
        return self.inspect_us / self.bare_us


def measured() -> list[Inspected]:
    """Measure in a process of its own: nothing of the hub is imported here.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.inspecting"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return [Inspected(**one) for one in json.loads(done.stdout)]


def _all() -> Iterator[Inspected]:
    with tempfile.TemporaryDirectory(prefix="bench-inspecting-") as name:
        folder = Path(name)
        (folder / "schemas").mkdir()
        (folder / "schemas" / "xoev").symlink_to(DATA / "standard")
        yield _inspected(folder, "xperf", "the invented message", messages.document(10), messages.SCHEMA)
    if not official.CORPUS.is_dir():
        return
    with tempfile.TemporaryDirectory(prefix="bench-inspecting-") as name:
        official.XMELD.install(Path(name))
        schema = official.XMELD.schema(*official.XMELD.roots)
        yield _inspected(Path(name), "xmeld", "a real XMeld message", (official.CORPUS / REAL).read_bytes(), schema)
    if find_spec("saxonche") is None:
        return
    with tempfile.TemporaryDirectory(prefix="bench-inspecting-") as name:
        place = Path(name) / "schemas/xoev/xrechnung/3.0"
        shutil.copytree(official.CORPUS / "ubl-2.1", place)
        shutil.copytree(official.CORPUS / "xrechnung-3.0/sch", place / "sch")
        (place / "profile.yaml").write_text(INVOICES, encoding="utf-8")
        body, schema = (official.CORPUS / INVOICE).read_bytes(), place / "xsd/maindoc/UBL-Invoice-2.1.xsd"
        yield _inspected(
            Path(name), "xrechnung", "a real invoice with its rules", body, schema, "xsd, schematron", RULES_MAX
        )


def _inspected(
    folder: Path,
    standard: str,
    says: str,
    body: bytes,
    schema: Path | etree.XMLSchema,
    checks: str = "xsd",
    limit: float = INSPECTION_MAX,
) -> Inspected:
    from datetime import UTC, datetime

    from hub.files import Files
    from hub.inspection import Plan, inspect
    from hub.message import Incoming, MessageId, new_id
    from hub.snapshot import compile_snapshot

    (folder / "routes.yaml").write_text(ROUTES.format(type=standard, checks=checks), encoding="utf-8")
    compiled = compile_snapshot(Files(folder), "routes.yaml", stage="production", state_dir=folder / "var")
    snapshot = compiled.snapshot
    if snapshot is None:
        raise RuntimeError("; ".join(str(problem) for problem in compiled.errors))
    bare = etree.XMLSchema(etree.parse(schema)) if isinstance(schema, Path) else schema
    incoming = Incoming(body, "eingang", "portal", id=MessageId(new_id()), received_at=datetime.now(UTC))
    if not bare.validate(etree.fromstring(body)) or not isinstance(inspect(incoming, snapshot), Plan):
        raise RuntimeError(f"{says} is not accepted")
    rounds = [
        (_us(lambda: bare.validate(etree.fromstring(body))), _us(lambda: inspect(incoming, snapshot)))
        for _ in range(ROUNDS)
    ]
    # The round in the middle by its ratio: the two are neighbours in time, whatever the machine did meanwhile.
    ordered = sorted(rounds, key=lambda one: one[1] / one[0])
    bare_us, inspect_us = ordered[ROUNDS // 2]
    return Inspected(says, len(body), round(bare_us, 1), round(inspect_us, 1), limit)


def _us(call: Callable[[], object]) -> float:
    started = time.thread_time()
    for _ in range(CALLS):
        call()
    return (time.thread_time() - started) / CALLS * 1e6


if __name__ == "__main__":
    sys.stdout.write(json.dumps([asdict(one) for one in _all()]) + "\n")
