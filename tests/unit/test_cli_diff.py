"""``--dry-run --diff``: what today's configuration makes different, shown with a reason and never kept."""

from __future__ import annotations

import shutil
from typing import Any

from hub.daemon.control import ControlDoor
from tests.command import REASON, TOWN, Office

BREAKS = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
 <xsl:template match="/"><xsl:message terminate="yes">kaputt</xsl:message></xsl:template>
</xsl:stylesheet>"""
WRITES = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:a="urn:xoev-de:beispiel:standard:antrag_1.0" exclude-result-prefixes="a">
 <xsl:template match="/"><vorgang mandant="{}"><person><xsl:value-of select="//a:name"/></person></vorgang></xsl:template>
</xsl:stylesheet>"""


def states(office: Office) -> list[str]:
    return [one["state"] for message in reversed(office.listed()) for one in message["deliveries"]]


def transform(office: Office, text: str) -> None:
    """Give the route a stylesheet, or change the one that it has."""
    (office.folder / "transforms").mkdir(exist_ok=True)
    (office.folder / "transforms" / "vorgang.xsl").write_text(text, encoding="utf-8")
    if "vorgang.xsl" not in office.config.read_text("utf-8"):
        office.change("checks: [xsd]  ", "checks: [xsd]\n    steps: [{xslt: transforms/vorgang.xsl}]  ")


def compared(office: Office, *more: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = office(
        "replay", "--state", "waiting", *more, *REASON, "--dry-run", "--diff", "--json"
    ).json["items"]
    return items


def test_what_a_replay_would_send_differently_is_shown_and_nothing_is_done(office: Office) -> None:
    transform(office, WRITES.format("001"))
    office.accepted(office.document("Erika Musterfrau"))
    office.accepted(office.document("Otto Beispiel"))
    before = office.listed()
    transform(office, WRITES.format("002"))

    told = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff")
    (cluster,) = compared(office)

    assert told.code == 0
    assert "0 would be the same today, 2 different in 1 way; nothing was done" in told.err
    assert '| -<vorgang mandant="001">' in told.out
    assert '| +<vorgang mandant="002">' in told.out
    assert (cluster["count"], cluster["changes"]) == (2, [{"path": "/vorgang/@mandant", "what": "attribute"}])
    assert [one["deliveries"] for one in office.listed()] == [one["deliveries"] for one in before]


def test_differences_of_other_places_are_other_clusters(office: Office) -> None:
    transform(office, WRITES.format("001"))
    for name in ("Erika Musterfrau", "Otto Beispiel", "Jürgen Müßig"):
        office.accepted(office.document(name))
    transform(office, WRITES.format("001").replace("//a:name", "translate(//a:name, 'O', '0')"))

    clusters = compared(office)

    assert [(one["count"], [change["path"] for change in one["changes"]]) for one in clusters] == [
        (2, []), (1, ["/vorgang/person"]),
    ]  # fmt: skip


def test_a_difference_is_a_reading_with_a_reason_and_quotes_nobody_but_on_the_terminal(office: Office) -> None:
    transform(office, WRITES.format("001"))
    message = office.accepted(office.document("Erika Musterfrau"))
    transform(office, WRITES.format("001").replace("<person>", "<person><x/>"))

    told = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff")
    shown = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff", "--json")

    assert "Erika Musterfrau" in told.out
    assert "Erika" not in told.err + shown.out + shown.err
    readings = [(one.object, one.reason) for one in reversed(office.audits()) if one.action == "read_payload"]
    assert readings == [
        ("1 items compared with today", REASON[1]),
        (f"{message['deliveries'][0]['id']} outgoing, compared", REASON[1]),
        ("1 items compared with today", REASON[1]),
    ]


def test_what_was_dead_and_would_go_out_today_is_a_difference(office: Office) -> None:
    transform(office, BREAKS)
    office.accepted()
    transform(office, WRITES.format("001"))

    done = office("replay", "--state", "dead", *REASON, "--dry-run", "--diff")

    assert f"bytes to {TOWN}, where it was dead: transform_failed" in done.out
    assert states(office) == ["dead"]


def test_another_verdict_today_is_a_difference(office: Office) -> None:
    office.keep(office.message(dead="refused"))
    office.change("may_send: [antrag/*]", "may_send: [xbau/*]")
    shutil.rmtree(office.folder / "tests")
    office.config.write_text(office.config.read_text("utf-8").partition("\ntests:")[0], encoding="utf-8")

    done = office("replay", "--state", "dead", *REASON, "--dry-run", "--diff")

    assert "verdict: accepted → rejected: sender_may_not" in done.out


def test_a_rejected_message_that_would_be_accepted_today_is_a_difference(office: Office) -> None:
    office("send", str(office.bad), "--sender", "portal")
    office.change("checks: [xsd]  ", "checks: []  ")
    office.config.write_text(office.config.read_text("utf-8").partition("\ntests:")[0], encoding="utf-8")

    done = office("replay", "--state", "rejected", *REASON, "--dry-run", "--diff")

    assert "verdict: rejected: schema_violation → accepted" in done.out


def test_a_difference_needs_the_dry_run(office: Office) -> None:
    (kept,) = office.keep(office.message(dead="refused"))

    done = office("replay", kept.message.id, *REASON, "--diff")

    assert (done.code, states(office)) == (2, ["dead"])
    assert "--dry-run" in done.err


def test_a_replay_and_what_it_replaces_name_each_other(office: Office) -> None:
    (kept,) = office.keep(office.message(dead="refused"))
    office("replay", kept.message.id, *REASON)

    old, new = office("messages", "show", kept.message.id, "--json").json["deliveries"]

    assert (old["replayed_as"], new["replay_of"]) == ([new["id"]], old["id"])
    assert (new["replayed_as"], old["replay_of"]) == ([], None)


def test_who_compares_with_what_the_running_hub_has_not_read_hears_it(office: Office) -> None:
    transform(office, WRITES.format("001"))
    in_service = office.accepted()["snapshot"]
    with ControlDoor(office.folder / "var", lambda _asked: {"ok": True, "snapshot": in_service}):
        same = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff")
        transform(office, WRITES.format("002"))
        changed = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff")
    stopped = office("replay", "--state", "waiting", *REASON, "--dry-run", "--diff")

    assert "has not read it so: transforms/vorgang.xsl. First: xoev-hub reload" in changed.err
    assert "reload" not in same.err + stopped.err
