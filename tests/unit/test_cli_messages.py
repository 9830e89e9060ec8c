"""``messages list|show``: finding messages and understanding them."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from hub.store.api import Reference
from tests.command import TOWN, VILLAGE

MESSAGE_KEYS = {
    "id", "status", "type", "standard", "version", "sender", "source", "owner", "recipient", "received_at", "snapshot",
    "code", "deliveries",
}  # fmt: skip
DELIVERY_KEYS = {
    "id", "destination", "route", "state", "attempts", "reason", "phase", "next_attempt_at", "values", "replay_of",
}  # fmt: skip

FAILING = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:template match="/">
<xsl:value-of select="nirgends:gibt()" xmlns:nirgends="urn:nirgends"/>
</xsl:template></xsl:stylesheet>"""


def test_a_message_is_listed_in_the_promised_shape(office):
    office.accepted()

    done = office("messages", "list", "--json")

    assert done.json.keys() == {"api", "items", "next"}
    assert (done.json["api"], done.json["next"]) == (1, None)
    (message,) = done.json["items"]
    (delivery,) = message["deliveries"]
    assert message.keys() >= MESSAGE_KEYS
    assert delivery.keys() >= DELIVERY_KEYS
    assert (message["status"], message["type"]) == ("open", "antrag/1.0/antrag.0101")
    assert (message["standard"], message["version"]) == ("antrag", "1.0")
    assert (message["owner"], message["recipient"], message["code"]) == ("musterstadt", "musterstadt", None)
    assert (delivery["destination"], delivery["route"], delivery["state"]) == (TOWN, "antraege", "waiting")
    assert (delivery["attempts"], delivery["reason"], delivery["values"]) == (0, None, {})
    assert delivery["next_attempt_at"].endswith("Z")


def test_a_rejection_is_listed_with_its_code(office):
    office("send", str(office.bad), "--sender", "portal")

    (message,) = office.listed()

    assert (message["status"], message["code"], message["deliveries"]) == ("rejected", "schema_violation", [])


def test_people_get_a_table_of_what_they_need(office):
    office.keep(office.message(dead="refused"))

    lines = office("messages", "list").out.splitlines()

    assert lines[0].split() == ["received", "id", "status", "type", "sender", "deliveries", "reason"]
    assert lines[1].endswith(f"attention  antrag/1.0/antrag.0101  portal  {TOWN} dead  refused")


def test_pages_follow_each_other_without_gap_or_repetition(office):
    kept = office.keep(*(office.message() for _ in range(7)))
    seen, after, pages = [], (), 0

    while True:
        page = office("messages", "list", "--json", "--limit", "3", *after).json
        seen += [one["id"] for one in page["items"]]
        pages += 1
        if page["next"] is None:
            break
        after = ("--after", page["next"])

    assert pages == 3
    assert seen == [one.message.id for one in reversed(kept)]


def test_people_are_told_how_to_go_on(office):
    office.keep(*(office.message() for _ in range(3)))

    done = office("messages", "list", "--limit", "2")

    assert len(done.out.splitlines()) == 3
    assert "more: --after " in done.err


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3", "9" * 30, "' OR 1=1", "²"])
def test_a_cursor_that_no_listing_gave_is_refused(office, cursor):
    office.keep()

    done = office("messages", "list", "--after", cursor)

    assert done.code == 2
    assert "--after" in done.err


def test_filters_find_what_they_say(office):
    town, dead, village = office.keep(
        office.message(Reference("sender_reference", "AZ 4711/Ü")),
        office.message(dead="refused"),
        office.message(destinations=(VILLAGE,), owner="musterdorf", type_="xbau/2.6/x.1"),
    )

    def found(*filters):
        done = office("messages", "list", "--json", *filters)
        assert done.code == 0, done.err
        return [one["id"] for one in done.json["items"]]

    assert found("--state", "dead") == found("--state", "attention") == [dead.message.id]
    assert found("--state", "waiting") == found("--state", "open") == [village.message.id, town.message.id]
    assert found("--destination", VILLAGE) == found("--municipality", "musterdorf") == [village.message.id]
    assert found("--reference", "AZ 4711/Ü") == [town.message.id]
    assert found("--type", "xbau/*") == [village.message.id]
    assert found("--reason", "refused", "--route", "antraege", "--sender", "portal") == [dead.message.id]
    assert found("--since", "1h", "--limit", "1") == [village.message.id]
    assert found("--until", "1h") == found("--since", "2099-01-01") == []


@pytest.mark.parametrize("option", ["--route", "--municipality", "--destination", "--sender", "--type", "--reason"])
@pytest.mark.parametrize("value", ["niemand", "' OR '1'='1", "%", "[", "ä" * 500])
def test_what_nobody_is_called_finds_nothing(office, option, value):
    office.keep(office.message())

    done = office("messages", "list", "--json", option, value)

    assert (done.code, done.json["items"]) == (0, [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["--state", "verloren"], ["--since", "gestern"], ["--since", "99999999999d"], ["--since", "0001-01-01T00:00"],
        ["--since", ""], ["--limit", "0"], ["--limit", "1001"], ["--limit", "viele"], ["--sender", "\udcff"],
        ["--reference", "a\nb"], ["--type", "\u202e"],
    ],
)  # fmt: skip
def test_a_filter_that_makes_no_sense_is_refused(office, arguments):
    office.keep()

    done = office("messages", "list", *arguments, TZ="Europe/Berlin")

    assert done.code == 2
    assert arguments[0] in done.err


# --- show


@pytest.fixture
def tokyo(monkeypatch):
    """Let this machine stand where no clock shows UTC."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("tokyo")
def test_a_timeline_has_the_time_of_the_listing_and_programs_have_utc(office):
    shown = office.accepted()

    listing = office("messages", "list").out.splitlines()[1]
    lines = office("messages", "show", shown["id"]).out.splitlines()
    (received,) = [line for line in lines if "  received  " in line]

    assert received.startswith(listing[:19])
    assert shown["timeline"][0]["at"].endswith("Z")
    assert shown["timeline"][0]["at"][11:19] != received[11:19]


def test_what_waits_for_a_held_destination_was_not_planned_dead(office):
    message = office.accepted()
    office("pause", TOWN, "--reason", "Wartung")

    shown = office("messages", "show", message["id"])
    (planned,) = [one for one in office("messages", "show", message["id"], "--json").json["timeline"]
                  if one["what"] == "planned"]  # fmt: skip

    assert "waiting  paused" in shown.out
    assert planned["dead"] is None
    assert "dead" not in shown.out


def test_a_step_that_failed_is_shown_with_its_stylesheet_and_line(office):
    (office.folder / "transforms").mkdir(exist_ok=True)
    (office.folder / "transforms" / "kaputt.xsl").write_text(FAILING, encoding="utf-8")
    office.change("    checks: [xsd]  ", "    steps: [{xslt: transforms/kaputt.xsl}]\n    checks: [xsd]  ")

    shown = office("messages", "show", office.accepted()["id"]).out

    assert "error: xslt-error  transforms/kaputt.xsl  line 3" in shown


def test_a_message_shows_its_whole_life(office):
    id_ = office.accepted()["id"]
    office("close", id_, "--as", "cancelled", "--reason", "doppelt", SUDO_USER="erika")

    shown = office("messages", "show", id_, "--json").json

    (delivery,) = shown["deliveries"]
    (event,) = delivery["events"]
    assert shown.keys() >= MESSAGE_KEYS | {"findings", "payloads"}
    assert (shown["status"], delivery["state"]) == ("closed", "closed")
    assert (event["kind"], event["reason"], event["actor"]) == ("closed", "cancelled", "erika")
    assert event.keys() >= {"at", "kind", "due_at", "reason", "phase", "duration_ms", "actor", "job"}
    assert [one["role"] for one in shown["payloads"]] == ["received"]
    assert "body" not in str(shown)


def test_people_read_the_same(office):
    id_ = office.accepted()["id"]
    office("close", id_, "--as", "cancelled", "--reason", "doppelt", SUDO_USER="erika")

    out = office("messages", "show", id_).out

    assert f"message    {id_}  closed" in out
    assert f"to {TOWN} by route antraege" in out
    (closed,) = [line for line in out.splitlines() if line[25:].startswith("closed")]
    assert "reason cancelled" in closed
    assert "actor erika" in closed


def test_a_deliverys_id_names_its_message(office):
    message = office.accepted()

    shown = office("messages", "show", message["deliveries"][0]["id"], "--json").json

    assert shown["id"] == message["id"]


def test_a_rejection_shows_where_but_not_what(office):
    office("send", str(office.bad), "--sender", "portal")
    (message,) = office.listed()

    done = office("messages", "show", message["id"], "--json")

    (finding,) = done.json["findings"]
    assert (finding["rule"], finding["line"]) == ("SCHEMAV_ELEMENT_CONTENT", 11)
    assert "text" not in finding


@pytest.mark.parametrize(
    "id_", ["01a20104-3a88-770c-80d3-230e6fb12b06", "x", "", "../../etc/passwd", "' OR '1'='1", "\udcff", "\x1b[8m"]
)
def test_a_message_that_is_not_there_is_said(office, id_):
    office.keep()

    done = office("messages", "show", id_)

    assert (done.code, done.out) == (1, "")
    assert "there is no message or delivery" in done.err
    assert "\x1b" not in done.err


def test_a_payload_comes_byte_for_byte_and_with_a_reason(office):
    body = office.document()
    id_ = office.accepted(body)["id"]

    done = office("messages", "show", id_, "--payload", "received", "--reason", "Rückfrage des Amts", SUDO_USER="erika")

    assert (done.code, done.raw) == (0, body)
    (audit,) = office.audits()
    assert (audit.actor, audit.via, audit.action) == ("erika", "cli", "read_payload")
    assert (audit.object, audit.reason) == (f"{id_} received", "Rückfrage des Amts")


@pytest.mark.parametrize("arguments", [["--payload", "received"], ["--reason", "nur so"], ["--payload", "alles"]])
def test_no_payload_without_a_reason_and_no_reason_without_a_payload(office, arguments):
    id_ = office.accepted()["id"]

    done = office("messages", "show", id_, *arguments)

    assert (done.code, done.out) == (2, "")
    assert office.audits() == []


def test_a_payload_that_is_not_there_is_said(office):
    id_ = office.accepted()["id"]

    done = office("messages", "show", id_, "--payload", "reply", "--reason", "Test")

    assert (done.code, done.out) == (1, "")
    assert "there is no payload reply, or it is erased; what there is: received" in done.err


def test_what_was_sent_unchanged_is_the_original(office):
    body = office.document()
    message = office.accepted(body)

    done = office("messages", "show", message["deliveries"][0]["id"], "--payload", "outgoing", "--reason", "Test")

    assert (done.code, done.raw) == (0, body)


def test_times_are_told_in_utc(office):
    before = datetime.now(UTC) - timedelta(seconds=1)
    message = office.accepted()

    received = datetime.fromisoformat(message["received_at"])

    assert before < received < datetime.now(UTC)
    assert message["received_at"].endswith("Z")
