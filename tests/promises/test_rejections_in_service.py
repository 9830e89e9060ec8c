"""A sender is told in its standard's own form that its document is not taken, by a daemon with workers."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from hub.files import Files
from hub.xml.registry import Registry
from tests import rejections
from tests.daemon import Daemon, until
from tests.leinen import PROFILE, Leinen, folder_out, leinen

HALTER = "Eusebia Zwiebelfisch"
INVALID = leinen(halter=HALTER, alter="drei")
NO_XML = b"<l:anmeldung>" + HALTER.encode()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("hub")
    deployment = Leinen(folder, {"nordheim": folder_out("out/nord")})
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}reject_with: {rejections.TYPE}\n")
    rejections.install(folder)
    told = {"on_reject": "standard", "rejected_by": rejections.OFFICE}
    inbound = deployment.routes["inbound"]
    inbound["online"] |= told
    deployment.routes["senders"] |= {"portal": {"may_send": ["leinen/*"]}}
    for name, how in (("ablage", told), ("beides", told | {"on_reject": "both"}), ("akten", {})):
        (folder / "in" / name).mkdir(parents=True)
        inbound[name] = {"adapter": "folder", "path": f"in/{name}", "every": "100ms", "sender": "portal"} | how
    with Daemon(deployment) as running:
        yield running


def valid(hub: Daemon, body: bytes) -> etree._Element:
    registry, _ = Registry.load(Files(hub.deployment.folder))
    root = etree.fromstring(body)
    assert registry.schema(registry.profiles["ablehnung", "1"]).validate(root) == ()
    return root


def test_over_http_it_is_the_answers_body_for_who_accepts_xml(hub: Daemon) -> None:
    answer = hub.hand_in(INVALID, Accept="application/xml")

    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/xml")
    assert answer.headers["x-hub-code"] == "schema_violation"
    assert hub.show(answer.headers["x-hub-id"])["status"] == "rejected"
    root = valid(hub, answer.content)
    assert base64.b64decode(root.findtext("rueckweisung/nachricht")) == INVALID
    assert root.findtext("rueckweisung/rueckweisungsgrund/grund/code") == "X001"
    assert root.findtext("nachrichtenkopf.g2g/autor/kennung") == rejections.OFFICE["authority"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/xml;q=0, application/problem+json"])
def test_who_does_not_ask_for_xml_gets_the_problem_document(accept: str, hub: Daemon) -> None:
    answer = hub.hand_in(INVALID, Accept=accept)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["findings"]


def test_what_is_no_xml_is_rejected_by_what_all_that_its_sender_may_hand_in_has(hub: Daemon) -> None:
    answer = hub.hand_in(NO_XML, Accept="text/xml")

    assert answer.status_code == 400
    root = valid(hub, answer.content)
    assert root.findtext("rueckweisung/rueckweisungsgrund/grund/code") == "X000"
    assert root.findtext("nachrichtenkopf.g2g/leser/name") == "portal"


def test_other_content_under_the_same_number_is_a_repetition_by_the_standard(hub: Daemon) -> None:
    number = str(uuid.uuid4())
    first = hub.hand_in(leinen(id_=number))
    second = hub.hand_in(leinen(id_=number, name="Waldi"), Accept="application/xml")

    assert (first.status_code, second.status_code) == (202, 409)
    root = valid(hub, second.content)
    assert root.findtext("rueckweisung/rueckweisungsgrund/grund/code") == "S100"
    assert b"Waldi" in base64.b64decode(root.findtext("rueckweisung/nachricht"))


def test_where_the_senders_standards_do_not_agree_it_is_the_problem_document(hub: Daemon) -> None:
    answer = hub.hand_in(NO_XML, sender="amt", Accept="application/xml")

    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


@pytest.mark.parametrize(
    ("source", "beside"),
    [("ablage", {"rejection.xml"}), ("beides", {"rejection.xml", "findings.json"}), ("akten", {"findings.json"})],
)
def test_in_a_folder_it_lies_beside_the_rejected_file(source: str, beside: set[str], hub: Daemon) -> None:
    folder = hub.deployment.folder / "in" / source
    (folder / ".hund.xml.part").write_bytes(INVALID)
    (folder / ".hund.xml.part").rename(folder / "hund.xml")

    until(lambda: not (folder / "hund.xml").exists(), "the file is rejected")

    found = {path.name for path in (folder / "rejected").iterdir()}
    (original,) = [name for name in found if not name.endswith((".rejection.xml", ".findings.json"))]
    assert {name.removeprefix(f"{original}.") for name in found - {original}} == beside
    if "rejection.xml" in beside:
        root = valid(hub, (folder / "rejected" / f"{original}.rejection.xml").read_bytes())
        assert base64.b64decode(root.findtext("rueckweisung/nachricht")) == INVALID


def test_nothing_of_it_is_in_the_log_or_the_events(hub: Daemon) -> None:
    answer = hub.hand_in(INVALID, Accept="application/xml")
    log = hub.log.read_text("utf-8")

    assert answer.status_code == 422
    assert "message_rejected" in log
    for secret in (HALTER, base64.b64encode(INVALID).decode()[40:80]):
        assert secret not in log
        assert secret not in str(hub.show(answer.headers["x-hub-id"]))


DEADLY = """
import os
from hub import rejecting
rejecting.document = lambda *_: os._exit(9)  # as if PyXB brought the process down
def nichts(outgoing):
    return outgoing
"""


def test_a_worker_that_dies_of_the_standards_form_does_not_change_the_verdict(tmp_path: Path) -> None:
    deployment = Leinen(tmp_path, {"nordheim": folder_out("out/nord")})
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}reject_with: {rejections.TYPE}\n")
    rejections.install(tmp_path)
    deployment.file("schritte/kaputt.py", DEADLY)
    deployment.routes["routes"]["leinen"]["steps"] = [{"python": "schritte.kaputt:nichts"}]
    deployment.routes["inbound"]["online"] |= {"on_reject": "standard", "rejected_by": rejections.OFFICE}
    with Daemon(deployment) as hub:
        answer = hub.hand_in(INVALID, Accept="application/xml")

        assert answer.json()["code"] == "schema_violation"
        assert answer.json()["findings"]
        assert hub.hand_in(leinen()).status_code == 202
