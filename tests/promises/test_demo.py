"""``xoev-hub demo`` shows what it promises, with a broker and without, and leaves nothing behind."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from hub.loopback import free_port
from hub.xml import saxon
from tests.daemon import until
from tests.servers import amqp_url

pytestmark = pytest.mark.timeout(300)
MESSAGES = Path(__file__).parents[1] / "messages"


@dataclass(frozen=True)
class Shown:
    """How a demo ended."""

    code: int
    out: str
    table: dict[str, Any]
    left: list[str]
    session: int


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start a demo in a session of its own, with a folder of its own for what is temporary."""
    (folder / "tmp").mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("XOEV_HUB_")}
    # A proxy of the machine has no business on the loopback.
    clean |= {"TMPDIR": str(folder / "tmp"), "HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hub", "demo", *arguments], cwd=folder, env=clean | environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def demo(folder: Path, **environment: str) -> Shown:
    running = start(folder, "--json", "demo.json", **environment)
    out, _ = running.communicate(timeout=240)
    print(out)
    file = folder / "demo.json"
    table = json.loads(file.read_text("utf-8")) if file.exists() else {}
    return Shown(running.returncode, out, table, os.listdir(folder / "tmp"), running.pid)


def alive(session: int) -> set[int]:
    """Return the processes of a session that are still there."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.add(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def without_broker(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    return demo(tmp_path_factory.mktemp("demo"), AMQP_URL=url)


@pytest.fixture(scope="module")
def with_broker(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    return demo(tmp_path_factory.mktemp("demo"), AMQP_URL=amqp_url())


def delivered(shown: Shown, adapter: str) -> list[dict[str, Any]]:
    return [one for one in shown.table["deliveries"] if (one["adapter"], one["state"]) == (adapter, "delivered")]


@pytest.mark.live
def test_with_a_broker_it_delivers_over_amqp_too(with_broker: Shown) -> None:
    assert with_broker.code == 0
    assert len(delivered(with_broker, "amqp")) >= 1
    assert with_broker.table["skipped"] == []
    assert "übersprungen" not in with_broker.out
    assert with_broker.left == []
    until(lambda: not alive(with_broker.session), "all its processes have ended")


def test_without_a_broker_that_part_is_shown_as_skipped(without_broker: Shown) -> None:
    assert without_broker.code == 0
    assert delivered(without_broker, "amqp") == []
    assert [one["adapter"] for one in without_broker.table["skipped"]] == ["amqp"]
    lines = [line for line in without_broker.out.splitlines() if "übersprungen" in line]
    skipped = {"braunschweig/einwohner", "braunschweig/gewerbe"}
    assert {word for line in lines for word in line.split() if "/" in word} & skipped == skipped
    assert len(lines) == 2 * len(skipped)  # as a delivery, and as a field


def test_six_standards_reach_four_municipalities(without_broker: Shown) -> None:
    assert len(without_broker.table["standards"]) >= 6
    assert len(without_broker.table["municipalities"]) >= 4
    assert len(delivered(without_broker, "soap")) >= 2


FIELDS = {  # destination -> what it is given
    "braunschweig/einwohner": "datenabruf.freieSuche.suchanfrage.1332",
    "wolfsburg/gewerbe": "uebernahme",
    "braunschweig/gewerbe": "meldung",
    "gifhorn/bau": "bauakte",
    "bauportal/antworten": "baugenehmigung.formellePruefung.0201",
    "salzgitter/planung": "allgemein.stellungnahme.Neuabgegeben.0701",
    "wolfsburg/dms": "Abgabe.Abgabe.0401",
    "braunschweig/rechnung": "Invoice",
    "salzgitter/rechnung": "CrossIndustryInvoice",
    "wolfsburg/schwertransport": "schwertransport.antrag.0101",
    "wolfsburg/termine": "termin.buchung.0101",
}


def test_every_field_of_the_cooperation_is_shown_with_what_arrived(without_broker: Shown) -> None:
    fields = {one["to"]: one for one in without_broker.table["fields"]}

    assert {to: one["format"] for to, one in fields.items()} == FIELDS
    for to, one in fields.items():
        waiting = one["adapter"] == "amqp"
        assert one["state"] == ("waiting" if waiting else "delivered"), to
        assert one["seen"] is {"amqp": False, "soap": True, "folder": None}[one["adapter"]]
        assert any(one["field"] in line and to in line for line in without_broker.out.splitlines())


@pytest.mark.live
def test_two_cities_get_the_same_notice_by_soap_and_amqp_in_different_formats(with_broker: Shown) -> None:
    trade = {one["to"]: one for one in with_broker.table["fields"] if one["to"].endswith("/gewerbe")}

    assert {to: (one["adapter"], one["format"]) for to, one in trade.items()} == {
        "wolfsburg/gewerbe": ("soap", "uebernahme"),
        "braunschweig/gewerbe": ("amqp", "meldung"),
    }
    assert all(one["state"] == "delivered" and one["seen"] for one in trade.values())


@pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")
def test_invoices_in_both_syntaxes_are_checked_by_rules(without_broker: Shown) -> None:
    invoices = [one for one in without_broker.table["fields"] if one["to"].endswith("/rechnung")]

    assert {one["format"] for one in invoices} == {"Invoice", "CrossIndustryInvoice"}
    assert all("schematron" in one["checks"] for one in invoices)


def test_the_documents_of_an_application_reach_the_county(without_broker: Shown) -> None:
    (building,) = [one for one in without_broker.table["fields"] if one["to"] == "gifhorn/bau"]
    application = etree.parse(MESSAGES / "bauantrag-wittingen.xml")
    inside = [base64.b64decode(one.text or "") for one in application.iter("text", "textOfficeXML")]

    assert [hashlib.sha256(one).hexdigest() for one in inside] == building["documents"]
    assert len(inside) == 2


def test_two_are_rejected_with_rule_path_and_line(without_broker: Shown) -> None:
    rejections = without_broker.table["rejections"]

    assert len(rejections) >= 2
    for rejection in rejections:
        assert rejection["code"] in ("schema_violation", "unknown_recipient", "signature", "schematron")
        for finding in rejection["findings"]:
            assert finding["rule"]
            assert finding["path"].startswith("/")
            assert finding["line"] > 1
            assert finding["rule"] in without_broker.out


def test_a_signed_application_arrives_and_a_forged_one_is_rejected(without_broker: Shown) -> None:
    arrived = {one["destination"] for one in delivered(without_broker, "folder")}
    (forged,) = [one for one in without_broker.table["rejections"] if one["file"] == "schwertransport-gefaelscht.xml"]

    assert "wolfsburg/schwertransport" in arrived
    assert forged["code"] == "signature"


@pytest.mark.skipif(not saxon.available(), reason="the extra xslt3 is not installed")
def test_an_invoice_that_does_not_say_how_to_pay_is_rejected_by_rule(without_broker: Shown) -> None:
    (invoice,) = [one for one in without_broker.table["rejections"] if one["file"].startswith("rechnung-")]

    assert invoice["code"] == "schematron"
    assert [one["rule"] for one in invoice["findings"]] == ["BR-DE-1"]


def test_two_versions_of_a_standard_reach_the_same_procedure(without_broker: Shown) -> None:
    types = [one["type"] for one in delivered(without_broker, "folder") if one["destination"] == "wolfsburg/termine"]

    assert sorted(types) == ["termin/1.0/termin.buchung.0101", "termin/2.0/termin.buchung.0101"]


def test_one_delivery_is_dead_and_after_a_replay_delivered(without_broker: Shown) -> None:
    story = without_broker.table["replay"]

    assert (story["before"], story["after"], story["exit_code"]) == ("dead", "delivered", 0)
    assert without_broker.table["dead_before_replay"] == [story["delivery"]]
    (fresh,) = [one for one in without_broker.table["deliveries"] if one["replay_of"] == story["delivery"]]
    assert (fresh["id"], fresh["state"]) == (story["new_delivery"], "delivered")
    assert f"xoev-hub replay {story['message']}" in without_broker.out


def test_the_table_can_be_read_by_people(without_broker: Shown) -> None:
    lines = without_broker.out.splitlines()
    head = next(line for line in lines if line.startswith("Nachricht"))
    at = head.index("an  ")

    assert head.split() == ["Nachricht", "von", "an", "Stand", "Aktenzeichen", "oder", "Grund"]
    assert any(line[at:].startswith("wolfsburg/gewerbe ") for line in lines)
    assert "Traceback" not in without_broker.out
    assert "pika" not in without_broker.out


def test_it_leaves_nothing_behind(without_broker: Shown) -> None:
    assert without_broker.left == []
    until(lambda: not alive(without_broker.session), "all its processes have ended")


def test_a_demo_that_is_ended_early_leaves_nothing_behind(tmp_path: Path) -> None:
    running = start(tmp_path, AMQP_URL=f"amqp://127.0.0.1:{free_port()}/")
    until(lambda: list((tmp_path / "tmp").glob("*/hub.log")), "the hub is starting")

    running.send_signal(signal.SIGTERM)
    out, _ = running.communicate(timeout=100)

    assert running.returncode == 1, out
    assert os.listdir(tmp_path / "tmp") == []
    until(lambda: not alive(running.pid), "all its processes have ended")


def test_where_its_table_cannot_be_written_it_does_not_start(tmp_path: Path) -> None:
    running = start(tmp_path, "--json", "nowhere/demo.json")
    out, _ = running.communicate(timeout=60)

    assert running.returncode == 2
    assert "--json" in out
