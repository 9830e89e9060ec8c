"""``send`` where no daemon runs: the same intake as any other source, under the store's lock."""

import pytest

from hub.store import StoreBusy
from tests.command import TOWN, command

SENDER = ("--sender", "portal")


def test_what_is_sent_gets_its_receipt_and_a_store(office):
    done = office("send", str(office.good), *SENDER)

    assert (done.code, done.err) == (0, "")
    id_, verdict, name = done.out.split()
    assert (verdict, name) == ("accepted", str(office.good))
    (message,) = office.listed()
    assert (message["id"], message["sender"], message["source"]) == (id_, "portal", "online")


def test_what_was_sent_before_gets_the_same_receipt(office):
    body = office.document()
    first = office("send", "-", *SENDER, stdin=body)

    again = office("send", "-", *SENDER, stdin=body)

    assert again.code == 0
    assert again.out == f"{first.out.split()[0]}  duplicate, open  -\n"


def test_a_document_that_is_rejected_is_exit_code_65_with_its_findings(office):
    done = office("send", str(office.bad), *SENDER)

    assert (done.code, done.out) == (65, "")
    (message,) = office.listed()
    assert f"{office.bad}: rejected schema_violation {message['id']}\n" in done.err
    assert "SCHEMAV_ELEMENT_CONTENT line 11 /a:antrag.0101/a:inhalt/a:bemerkung" in done.err


def test_of_several_the_good_ones_are_taken(office):
    done = office("send", str(office.bad), str(office.good), str(office.bad), *SENDER)

    assert done.code == 65
    assert len(done.out.splitlines()) == 1
    assert {one["status"] for one in office.listed()} == {"open", "rejected"}


def test_other_content_under_the_same_key_is_a_conflict(office):
    office("send", "-", *SENDER, "--idempotency-key", "k-1", stdin=office.document())

    done = office("send", "-", *SENDER, "--idempotency-key", "k-1", stdin=office.document())

    assert done.code == 65
    assert "conflict, the same identity has other content" in done.err


def test_a_reference_finds_it_again(office):
    office("send", "-", *SENDER, "--reference", "AZ 4711/Ü", stdin=office.document())

    assert len(office.listed("--reference", "AZ 4711/Ü")) == 1


def test_a_sender_may_send_what_it_may_send(office):
    office.change("may_send: [antrag/*]", "may_send: [xbau/*]")

    done = office("send", str(office.good), *SENDER)

    assert done.code == 77
    assert "rejected sender_may_not" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["send"],
        ["send", "GOOD"],
        ["send", "GOOD", "--sender", "niemand"],
        ["send", "GOOD", "--sender", "\udcff"],
        ["send", "GOOD", *SENDER, "--source", "nirgends"],
        ["send", "there-is-no-such-file.xml", *SENDER],
        ["send", ".", *SENDER],
        ["send", "", *SENDER],
        ["send", "GOOD", "GOOD", *SENDER, "--idempotency-key", "k"],
        ["send", "GOOD", *SENDER, "--idempotency-key", "ü"],
        ["send", "GOOD", *SENDER, "--idempotency-key", ""],
        ["send", "GOOD", *SENDER, "--reference", "x" * 201],
        ["send", "GOOD", *SENDER, "--recipient", "a\nb"],
        ["send", "GOOD", *SENDER, "--url", "hub.example"],
        ["send", "GOOD", *SENDER, "--url", "http:///v1/messages"],
    ],
)
def test_nothing_is_sent_that_makes_no_sense(office, arguments):
    done = office(*(str(office.good) if one == "GOOD" else one for one in arguments))

    assert done.code == 2
    assert not (office.folder / "var" / "hub.db").exists()


def test_a_broken_configuration_takes_nothing(office):
    office.change("version: 1", "version: 2")

    assert office("send", str(office.good), *SENDER).code == 78
    assert not (office.folder / "var" / "hub.db").exists()


def test_the_snapshot_of_what_was_planned_is_kept(office):
    message = office.accepted()

    store = office.store()
    kept = store.snapshot(message["snapshot"])
    store.close()

    assert kept is not None
    assert kept["routes.yaml"] == office.config.read_bytes()


def test_another_source_can_be_named(office):
    office("send", "-", *SENDER, "--source", "eingang", stdin=office.document())

    assert [one["source"] for one in office.listed()] == ["eingang"]


def test_where_the_store_is_taken_and_nobody_answers_the_store_is_unavailable(office):
    office.change("listen: 127.0.0.1:8080", "listen: 127.0.0.1:1")
    somebody = office.store()

    done = office("send", str(office.good), *SENDER)

    assert done.code == 69
    assert "http://127.0.0.1:1/v1/messages does not answer as a hub does" in done.err
    somebody.close()
    assert office.listed() == []


def test_a_token_that_cannot_be_read_is_not_permitted_and_names_where_it_should_be(office):
    somebody = office.store()

    done = command("-c", str(office.config), "send", str(office.good), *SENDER, PORTAL_TOKEN="")

    assert done.code == 77
    assert "env:PORTAL_TOKEN" in done.err
    somebody.close()


def test_a_source_without_an_address_cannot_be_reached(office):
    somebody = office.store()

    done = office("send", str(office.good), *SENDER, "--source", "eingang")

    assert done.code == 69
    assert "say --url" in done.err
    somebody.close()


def test_the_lock_is_given_back(office):
    office.accepted()

    try:
        office.store().close()
    except StoreBusy:
        pytest.fail("the command kept the lock")


def test_what_is_sent_goes_where_the_routes_say(office):
    message = office.accepted(office.document(town="09999001"))

    assert [one["destination"] for one in message["deliveries"]] == [TOWN]
