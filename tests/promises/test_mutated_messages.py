"""A thousand spoilt messages: none accepted that its schema refuses, no crash, and not a word of them in the log.

Where the corpus of official releases lies beside the checkout, real messages are spoilt as well and judged by the
official schemas. What is valid, libxml2 says on its own.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.errors import Rejected
from hub.files import Files
from hub.intake import Intake
from hub.message import Incoming
from hub.snapshot import OneSnapshot, compile_snapshot
from hub.store import open_store
from hub.testing.clock import SettableClock
from hub.xml.registry import Registry
from tests.mutating import MARKER, mutated
from tests.official import CORPUS, OFFICIAL, SCHEMAS, instances, real
from tests.saying import said
from tests.standards import MESSAGES

EXAMPLES = 1000
ROUTES = """\
version: 1
senders: {sender-4: {municipality: musterstadt}}
inbound: {source-4: {adapter: folder, path: in, sender: sender-4}}
municipalities: {musterstadt: {name: Musterstadt, ags: "99000001"}}
partners: {alle: {authorities: ["ags:*", "dbs:*", "psw:*", "xyz:*", "leitweg:*", "azr:*", "bab:*", "bap:*", "xga:*"]}}
procedures: {}
destinations: {ablage/alle: {adapter: folder, path: out}}
routes:
"""
ROUTE = """\
  {0}-partner: {{match: {{type: "{0}/*", partner: [alle]}}, checks: [{1}], deliver_to: [ablage/alle]}}
  {0}: {{match: {{type: "{0}/*"}}, checks: [{1}], deliver_to: [ablage/alle]}}
"""
LINE = {"timestamp", "event", "level", "log", "message", "source", "sender", "code", "count"}
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Ground:
    """A deployment, documents that it accepts as they are, and what libxml2 makes of their schemas."""

    folder: Path
    originals: Sequence[etree._Element]
    schemas: Mapping[str, etree.XMLSchema]  # by namespace of the root


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """All shipped standards with our invented messages; most of them are checked as to their headers."""
    folder = tmp_path_factory.mktemp("own")
    standards = sorted({one.parent.parent.name for one in SCHEMAS.glob("*/*/profile.yaml")})
    routes = [ROUTE.format(name, "{xsd: header}") for name in standards]
    (folder / "routes.yaml").write_text(ROUTES + "".join(routes))

    registry, _ = Registry.load(Files(folder))
    schemas = {
        root.namespace: etree.XMLSchema(etree.parse(SCHEMAS / one.standard / one.version / root.xsd))
        for one in registry.profiles.values()
        for root in one.roots
    }
    originals = [etree.parse(file).getroot() for file in sorted(MESSAGES.glob("*.xml"))]
    return Ground(folder, originals, schemas)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Real messages, and the official schemas of their standards."""
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")
    folder = tmp_path_factory.mktemp("official")
    routes = [ROUTE.format(one.standard, "xsd") for one in OFFICIAL]
    (folder / "routes.yaml").write_text(ROUTES + "".join(routes))
    for one in OFFICIAL:
        one.install(folder)
    schemas = {namespace: one.schema(namespace) for one in OFFICIAL for namespace in one.roots}
    files = [file for one in OFFICIAL for file in real(instances(one))]
    return Ground(folder, [etree.parse(file).getroot() for file in files], schemas)


@pytest.mark.parametrize("name", ["own", "official"])
def test_a_thousand_spoilt_messages_harm_nobody(name: str, request: pytest.FixtureRequest, tmp_path: Path):
    ground: Ground = request.getfixturevalue(name)
    seen: Counter[str] = Counter()
    intake = _intake(ground.folder, tmp_path)

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.sampled_from(ground.originals).flatmap(mutated))
    def spoil(body: bytes) -> None:
        code = _handed_in(intake, body)
        seen[code] += 1
        if code == "accepted":
            root = etree.fromstring(body)
            assert ground.schemas[etree.QName(root).namespace or ""].validate(root), "accepted, but invalid"

    with said("DEBUG") as lines:
        for original in ground.originals:
            seen[_handed_in(intake, etree.tostring(original))] += 1
        assert seen["accepted"] > len(ground.originals) // 2  # what is spoilt below was good
        spoil()
        told = lines()

    assert seen["accepted"] > EXAMPLES // 50
    assert seen["schema_violation"] > EXAMPLES // 5
    assert seen.total() >= EXAMPLES
    assert len(told) == seen.total()
    for line in told:
        _assert_it_tells_nothing(line)


def _intake(folder: Path, state: Path) -> Intake:
    compiled = compile_snapshot(Files(folder), "routes.yaml", stage="production", state_dir=state)
    assert compiled.snapshot is not None, [str(one) for one in compiled.errors]
    snapshot, clock = compiled.snapshot, SettableClock()
    store = open_store(f"sqlite:///{state}/hub.db", state_dir=state, mode="daemon", clock=clock)
    return Intake(store, lambda: OneSnapshot(snapshot), lambda: snapshot.deployment, clock)


def _handed_in(intake: Intake, body: bytes) -> str:
    key = str(uuid.uuid4())  # each of them is looked at, whatever it says of its identity
    try:
        intake.accept(Incoming(body, "source-4", "sender-4", idempotency_key=key))
    except Rejected as rejected:
        assert len(rejected.findings) <= 100
        assert all(len(one.text) <= 500 for one in rejected.findings)
        return rejected.code
    return "accepted"


def _assert_it_tells_nothing(line: dict[str, Any]) -> None:
    assert line.keys() <= LINE
    assert line["event"] in ("message_accepted", "message_rejected")
    assert (line["source"], line["sender"]) == ("source-4", "sender-4")
    assert UUID.fullmatch(line["message"])
    assert re.fullmatch("[a-z_]{0,30}", line.get("code", ""))
    assert isinstance(line.get("count", 0), int)
    assert MARKER not in str(line)
