"""A hub with official releases rejects and receipts real kinds of messages in their standards' own form, over HTTP.

The corpus lies beside the checkout and is no part of it: its licences differ, see there.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from hub.files import Files
from hub.xml.registry import Registry
from tests import rejections
from tests.command import command
from tests.daemon import Daemon
from tests.leinen import Leinen, folder_out
from tests.official import CORPUS

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus: {CORPUS} is not there (XOEV_HUB_CORPUS)")

MESSAGES = Path(__file__).parents[1] / "messages"
QUERY = (MESSAGES / "meldeauskunft-braunschweig.xml").read_bytes()
APPLICATION = (MESSAGES / "bauantrag-gifhorn.xml").read_bytes()
REGISTRY, BUILDING = "portal", "amt"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folder = tmp_path_factory.mktemp("hub")
    deployment = Leinen(folder, {"nordheim": folder_out("out/nord")})
    for release in ("xinneres-25.11", "xbau-2.6", "xbau-kernmodul-1.3.0", "xmeld-25.11a"):
        done = command("schemas", "import", str(CORPUS / release), cwd=folder)
        assert done.code == 0, done.err
    deployment.routes["senders"] = {REGISTRY: {"may_send": ["xmeld/*"]}, BUILDING: {"may_send": ["xbau/*"]}}
    deployment.routes["inbound"]["online"] |= {
        "on_reject": "standard", "on_accept": "standard", "rejected_by": rejections.OFFICE,
    }  # fmt: skip
    with Daemon(deployment) as running:
        yield running


def rejected(hub: Daemon, sender: str, body: bytes, profile: tuple[str, str]) -> etree._Element:
    """Return the rejection, once it is valid under the official schema."""
    answer = hub.hand_in(body, sender=sender, Accept="application/xml")
    assert answer.headers["content-type"].startswith("application/xml"), answer.text
    registry, _ = Registry.load(Files(hub.deployment.folder))
    root = etree.fromstring(answer.content)
    assert registry.profiles[profile].level == "full"
    assert registry.schema(registry.profiles[profile]).validate(root) == ()
    return root


def test_an_xmeld_query_is_rejected_by_0910(hub: Daemon) -> None:
    body = QUERY.replace(b"</nachrichtenkopf.g2g>", b"</nachrichtenkopf.g2g><fremd/>")

    root = rejected(hub, REGISTRY, body, ("xmeld", "25.11a"))

    assert etree.QName(root).localname == "administration.returntosender.0910"
    assert root.findtext("{*}rts.container/{*}begruendung/{*}grund/code") == "X001"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"<kein XML", "X000"), (b'<?xml version="1.0" encoding="EBCDIC-CP-US"?><a/>', "S001"), (b"<a/>", "S999")],
)
def test_what_is_no_xmeld_at_all_is_rejected_by_xinneres_for_its_sender_sends_nothing_else(
    body: bytes, code: str, hub: Daemon
) -> None:
    root = rejected(hub, REGISTRY, body, ("xinneres-rueckweisung", "6"))

    assert root.findtext("rueckweisung/rueckweisungsgrund/grund/code") == code
    assert base64.b64decode(root.findtext("rueckweisung/nachricht", "")) == body


def test_a_version_that_is_not_served_is_rejected_as_those_that_are(hub: Daemon) -> None:
    root = rejected(hub, REGISTRY, QUERY.replace(b'version="25.11a"', b'version="19.11"'), ("xmeld", "25.11a"))

    assert root.findtext("{*}rts.container/{*}begruendung/{*}grund/code") == "V000"


def test_an_application_for_a_building_permit_is_rejected_by_1100_with_itself_inside(hub: Daemon) -> None:
    body = APPLICATION.replace(b"</nachrichtenkopf.g2g>", b"</nachrichtenkopf.g2g><fremd/>")

    root = rejected(hub, BUILDING, body, ("xbau-kernmodul", "1.3.0"))

    assert root.findtext("rueckweisungDaten/rueckweisungsgrund/grund/code") == "X001"
    assert base64.b64decode(root.findtext("rueckweisungDaten/nachricht", "")) == body


def test_an_application_that_is_on_disk_is_receipted_by_1180_and_a_repetition_too(hub: Daemon) -> None:
    body = APPLICATION.replace(b"03151000", b"03990000")  # to the one town that there is

    first, second = (hub.hand_in(body, sender=BUILDING, Accept="application/xml") for _ in range(2))

    assert (first.status_code, second.status_code) == (202, 200)
    assert second.content == first.content
    root = etree.fromstring(first.content)
    registry, _ = Registry.load(Files(hub.deployment.folder))
    assert registry.schema(registry.profiles["xbau-kernmodul", "1.3.0"]).validate(root) == ()
    assert etree.QName(root).localname == "prozessnachrichten.generischeQuittierungEingang.1180"
    original = etree.fromstring(body)
    head = "nachrichtenkopf.g2g"
    assert root.findtext("bezug/referenz") == original.findtext(f"{head}/identifikation.nachricht/nachrichtenUUID")
    assert root.findtext("nachrichtentyp/code") == "0200"
    assert root.findtext(f"{head}/leser/kennung") == original.findtext(f"{head}/autor/kennung")


def test_a_query_of_a_standard_without_a_receipt_gets_the_hubs_own(hub: Daemon) -> None:
    answer = hub.hand_in(QUERY.replace(b"03101000", b"03990000"), sender=REGISTRY, Accept="application/xml")

    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
