"""A sender is told in its standard's own form that its document is on disk, by a daemon with workers."""

from __future__ import annotations

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

TOLD = {"on_accept": "standard", "rejected_by": rejections.OFFICE}
LARGE = 12_000_000  # more than a rejection could carry; a receipt carries nothing


def deployment_in(folder: Path) -> Leinen:
    deployment = Leinen(folder, {"nordheim": folder_out("out/nord")})
    deployment.file("schemas/xoev/leinen/1.0/profile.yaml", f"{PROFILE}receipt_with: {rejections.RECEIPT}\n")
    rejections.install(folder)
    deployment.routes["inbound"]["online"] |= TOLD | {"max_body": "30MB", "max_text": "30MB"}
    deployment.routes["senders"] |= {"portal": {"may_send": ["leinen/*"]}}
    for name, how in (("ablage", TOLD), ("akten", {})):
        (folder / "in" / name).mkdir(parents=True)
        deployment.routes["inbound"][name] = {
            "adapter": "folder", "path": f"in/{name}", "every": "100ms", "sender": "portal",
        } | how  # fmt: skip
    return deployment


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(deployment_in(tmp_path_factory.mktemp("hub"))) as running:
        yield running


def valid(hub: Daemon, body: bytes) -> etree._Element:
    """Return the receipt, once it is valid under its schema."""
    registry, _ = Registry.load(Files(hub.deployment.folder))
    root = etree.fromstring(body)
    assert etree.QName(root).localname == "quittung.1180"
    assert registry.schema(registry.profiles["ablehnung", "1"]).validate(root) == ()
    return root


def test_over_http_it_is_the_answers_body_for_who_accepts_xml(hub: Daemon) -> None:
    number = str(uuid.uuid4())

    answer = hub.hand_in(leinen(id_=number), Accept="application/xml")

    assert answer.status_code == 202
    assert answer.headers["content-type"].startswith("application/xml")
    id_ = answer.headers["x-hub-id"]
    assert answer.headers["location"] == f"/v1/messages/{id_}"
    assert hub.show(id_)["type"] == "leinen/1.0/anmeldung"
    root = valid(hub, answer.content)
    assert root.findtext("bezug/referenz") == number
    assert root.findtext("nachrichtentyp/code") == "anmeldung"
    assert root.findtext("nachrichtenkopf.g2g/leser/name") == "portal"
    assert root.findtext("nachrichtenkopf.g2g/autor/kennung") == rejections.OFFICE["authority"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/xml;q=0"])
def test_who_does_not_ask_for_xml_gets_the_hubs_own(accept: str, hub: Daemon) -> None:
    answer = hub.hand_in(leinen(), Accept=accept)

    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")


def test_a_repetition_gets_the_same_again(hub: Daemon) -> None:
    body = leinen()

    first, second = (hub.hand_in(body, Accept="text/xml") for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.content == first.content
    assert second.headers["x-hub-id"] == first.headers["x-hub-id"]


def test_a_large_document_gets_one_too_for_it_is_not_carried_back(hub: Daemon) -> None:
    answer = hub.hand_in(leinen(name="W" * LARGE), Accept="application/xml")

    assert answer.status_code == 202
    assert len(answer.content) < 5_000
    valid(hub, answer.content)


def test_a_document_that_does_not_say_its_number_gets_the_hubs_own(hub: Daemon) -> None:
    answer = hub.hand_in(leinen(id_="Hund 7"), Accept="application/xml")

    assert (answer.status_code, answer.json()["duplicate"]) == (202, False)


def test_a_rejection_stays_what_it_was(hub: Daemon) -> None:
    answer = hub.hand_in(leinen(alter="drei"), Accept="application/xml")

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize(("source", "receipts"), [("ablage", 2), ("akten", 0)])
def test_in_a_folder_it_lies_beside_the_file_that_was_taken(source: str, receipts: int, hub: Daemon) -> None:
    folder, body = hub.deployment.folder / "in" / source, leinen()
    for name in ("hund.xml", "nochmal.xml"):
        (folder / f".{name}.part").write_bytes(body)
        (folder / f".{name}.part").rename(folder / name)
        until(lambda name=name: not (folder / name).exists(), "the file is taken")  # type: ignore[misc]

    written = sorted(path.name for path in (folder / "done").iterdir() if path.name.endswith(".receipt.xml"))
    assert len(written) == receipts
    for name in written:
        assert (folder / "done" / name.removesuffix(".receipt.xml")).read_bytes() == body
    contents = {(folder / "done" / name).read_bytes() for name in written}
    assert len(contents) == min(receipts, 1)
    for content in contents:
        valid(hub, content)


def test_what_was_on_disk_before_a_power_cut_is_receipted_after_it(tmp_path: Path) -> None:
    body = leinen(halter="Eusebia Zwiebelfisch")
    with Daemon(deployment_in(tmp_path)) as hub:
        first = hub.hand_in(body, Accept="application/xml")
        hub.kill()
        hub.start()

        again = hub.hand_in(body, Accept="application/xml")

        assert (first.status_code, again.status_code) == (202, 200)
        assert again.content == first.content
        assert "Zwiebelfisch" not in hub.log.read_text("utf-8")


DEADLY = """
import os
from hub import rejecting
rejecting.document = lambda *_: os._exit(9)  # as if PyXB brought the process down
def nichts(outgoing):
    return outgoing
"""


def test_a_worker_that_dies_of_the_standards_form_takes_nobodys_receipt_away(tmp_path: Path) -> None:
    deployment = deployment_in(tmp_path)
    deployment.file("schritte/kaputt.py", DEADLY)
    deployment.routes["routes"]["leinen"]["steps"] = [{"python": "schritte.kaputt:nichts"}]
    with Daemon(deployment) as hub:
        answer = hub.hand_in(leinen(), Accept="application/xml")

        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        assert hub.show(answer.json()["id"])["type"] == "leinen/1.0/anmeldung"
