"""Of a document that no standard of the hub knows, people still learn what it is and how the hub can learn it."""

from __future__ import annotations

import pytest

from hub.message import Incoming, MessageId, new_id
from tests.command import Office
from tests.forms import SAMPLES, Sample
from tests.standards import MESSAGES
from tests.world import World

IMPORT = "xoev-hub schemas import FILE.zip"
UNKNOWN = [one for one in SAMPLES if one.form not in ("G-UBL", "G-CII")]  # XRechnung is shipped


@pytest.mark.parametrize("sample", UNKNOWN, ids=lambda one: one.form)
def test_explain_shows_the_header_of_a_document_without_a_profile(sample: Sample, office: Office):
    done = office("explain", "-", "--json", stdin=sample.written().encode())

    shown = done.json
    assert (done.code, shown["rejected"], shown["type"], shown["routes"]) == (65, "unknown_type", None, [])
    header = shown["header"]
    assert sample.document.startswith(f"<{sample.document[1]}:{header['name']} ")
    assert (header["standard"], header["version"]) == (sample.standard, sample.version)
    assert header["message_id"] == sample.facts["message_id"]
    assert header["reader"] == (f"{sample.reader}0" if sample.form == "F" else sample.reader)
    assert header["test"] == ("test=" in sample.document)
    assert IMPORT in shown["findings"][0]["text"]


def test_explain_tells_people_root_version_and_header(office: Office):
    told = office("explain", "-", stdin=SAMPLES[0].written().encode()).out

    for line in ("type       unknown", "root       probe.0401", "standard   XProbe", "version    25.11a",
                 "reader     ags:03103000", "verdict    rejected: unknown_type"):  # fmt: skip
        assert line in told.splitlines()
    assert IMPORT in told


def test_another_version_of_a_known_standard_is_explained_as_well(office: Office):
    body = (MESSAGES / "meldeauskunft-braunschweig.xml").read_bytes().replace(b'version="25.11a"', b'version="26.05"')

    shown = office("explain", "-", "--json", stdin=body).json

    assert shown["rejected"] == "version_not_served"
    assert (shown["header"]["version"], shown["header"]["reader"]) == ("26.05", "ags:03101000")
    assert IMPORT in shown["findings"][0]["text"]


def test_a_document_of_an_unknown_standard_is_never_accepted_nor_addressed(tmp_path):
    world = World(tmp_path)
    body = SAMPLES[0].written(reader="ags:03103000").encode()

    result = world.inspect(Incoming(body, "online", "formular", id=MessageId(new_id()), received_at=world.clock()))

    assert (result.code, result.type, result.recipient, result.owner) == ("unknown_type", None, None, None)
    assert result.header is not None
    assert result.header.reader == "ags:03103000"


def test_names_and_namespaces_of_any_length_leave_room_for_the_hint(office: Office):
    body = f'<x:{"a" * 3000} xmlns:x="urn:{"b" * 3000}"/>'.encode()

    shown = office("explain", "-", "--json", stdin=body).json

    assert shown["findings"][0]["text"].endswith(IMPORT)
    assert len(shown["findings"][0]["text"]) <= 500
