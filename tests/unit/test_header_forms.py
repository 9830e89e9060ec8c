"""Every header form is read the same, however its document is written; and what is not fit to be a key never is one."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.inspection import Rejection
from hub.message import Header, Incoming, MessageId, new_id
from hub.xml import guard
from hub.xml.detection import beside, detect
from hub.xml.forms import FORMS, HeaderForm
from hub.xml.header import Reading, read
from hub.xml.profile import Profile, Root
from tests.forms import OSCI, SAMPLES, Sample
from tests.rewriting import rewritten
from tests.standards import MESSAGES
from tests.world import World

EVERY = pytest.mark.parametrize("sample", SAMPLES, ids=lambda one: one.form)
KEYED = [one for one in SAMPLES if one.reader and not one.reader.startswith(("[", "Archiv"))]
DVDV = ["ags", "psw", "azr", "bab", "dbs", "ag", "MELDID", "töj", "xyz", "unbekannt"]


def profile(root: etree._Element, form: HeaderForm) -> Profile:
    name = etree.QName(root)
    one = Root(name.namespace or "", frozenset({name.localname}), "probe.xsd", form)
    return Profile("probe", "1", "Probe", "full", (one,), "schemas/xoev/probe/1")


def by_profile(document: str | bytes, form: str) -> Reading:
    root = guard.parse(document if isinstance(document, bytes) else document.encode())
    return read(root, profile(root, FORMS[form]))


def facts(header: Header) -> dict[str, str | None]:
    return {
        "message_id": header.message_id,
        "type_code": header.type_code,
        "created_at": header.created_at,
        **header.references,
    }


@EVERY
@settings(max_examples=60)
@given(data=st.data())
def test_a_header_is_read_however_its_document_is_written(sample: Sample, data: st.DataObject):
    author, reader = sample.author, sample.reader
    if sample in KEYED and author and reader and sample.form not in ("E", "F"):
        author, reader = (
            f"{data.draw(st.sampled_from(DVDV))}:{data.draw(st.from_regex('[0-9]{2,12}', fullmatch=True))}"
            for _ in range(2)
        )
    document = sample.written(author, reader)
    expected = (sample.facts, _with_digit(sample, author), _with_digit(sample, reader))

    body = data.draw(rewritten(document))

    detected = detect(guard.parse(body))
    assert detected.form == sample.form
    assert detected.reading.header.type.version == sample.version
    assert detected.reading.header.type.standard == sample.standard
    for reading in (detected.reading, by_profile(body, sample.form)):
        header = reading.header
        assert (facts(header), header.author, header.reader) == expected
        assert reading.findings == ()
        assert header.test == ("test=" in sample.document)


def _with_digit(sample: Sample, key: str | None) -> str | None:
    return f"{key}0" if key and sample.form == "F" else key


# --- what is not fit to be a key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", KEYED, ids=lambda one: one.form)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: f"{key[:-2]}<!-- x -->{key[-2:]}",
        lambda key: f"<!-- x -->{key}",
        lambda key: f" {key}",
        lambda key: f"{key}\n",
        lambda key: f"{key[:-1]}\u200b{key[-1:]}",
        lambda key: f"{key}\u00a0",
        lambda key: key[:-1] + "\uff10",  # fullwidth digit
        lambda key: key[:-1] + "\u0663",  # arabic-indic digit
        lambda key: f"{key[:-1]}<x/>{key[-1:]}",
        lambda key: f"../{key}",
        lambda key: f"{key}/#",
    ],
    ids=["comment", "comment first", "blank", "line", "zero width", "nbsp", "fullwidth", "arabic", "element", "path",
         "wildcard"],
)  # fmt: skip
def test_what_is_no_key_is_refused(sample: Sample, spoil):
    number = sample.reader.rpartition(":")[2]
    good = sample.written()
    place = good.index(number, good.index("XP_Gemeinde") if sample.form == "H" else 0)
    document = good[:place] + spoil(number) + good[place + len(number) :]

    for reading in (by_profile(document, sample.form), detect(guard.parse(document.encode())).reading):
        assert reading.header.reader is None
        assert [one.level for one in reading.findings] == ["error"]


@pytest.mark.parametrize("sample", KEYED, ids=lambda one: one.form)
def test_an_empty_key_names_nobody(sample: Sample):
    good = sample.written()
    value = sample.reader if f">{sample.reader}<" in good else sample.reader.rpartition(":")[2]
    place = good.index(f">{value}<", good.index("XP_Gemeinde") if sample.form == "H" else 0)
    document = good[: place + 1] + good[place + 1 + len(value) :]

    for reading in (by_profile(document, sample.form), detect(guard.parse(document.encode())).reading):
        assert reading.header.reader is None
        assert [(one.level, one.text) for one in reading.findings] == [
            ("warning", "reader: is empty, so it names nobody")
        ]


@pytest.mark.parametrize("sample", [one for one in KEYED if one.form != "H"], ids=lambda one: one.form)
def test_a_doubled_reader_is_none(sample: Sample):
    number = sample.reader.rpartition(":")[2]
    root = guard.parse(sample.written().encode())
    element = next(one for one in root.iter("*") if (one.text or "").endswith(number))
    other = copy.deepcopy(element)
    other.text = element.text.replace(number, "03151040")
    element.addnext(other)

    reading = by_profile(etree.tostring(root), sample.form)

    assert reading.header.reader is None
    assert [one.level for one in reading.findings] == ["error"]


@pytest.mark.parametrize("sample", [one for one in SAMPLES if FORMS[one.form].head], ids=lambda one: one.form)
@pytest.mark.parametrize("before", [True, False])
def test_a_second_header_in_another_namespace_is_refused(sample: Sample, before: bool):
    root = guard.parse(sample.written().encode())
    smuggled = etree.Element("{urn:fremd}" + FORMS[sample.form].head)
    if before:
        root.insert(0, smuggled)
    else:
        root.append(smuggled)

    reading = by_profile(etree.tostring(root), sample.form)

    assert "error" in [one.level for one in reading.findings]


# --- what is special to one form -----------------------------------------------------------------------------------

OF = {one.form: one for one in SAMPLES}


def test_a_party_of_justice_may_be_a_plain_name_and_nobody_is_addressed_by_it():
    document = re.sub(
        r"<j:gericht.*?</j:gericht>", "<j:sonstige>Kanzlei Probe</j:sonstige>", OF["E"].written(), flags=re.DOTALL
    )

    reading = by_profile(document, "E")
    assert (reading.header.reader, reading.findings) == ("Kanzlei Probe", ())

    reading = by_profile(document.replace("Kanzlei Probe", "ags:03103000"), "E")
    assert reading.header.reader is None


def test_a_plan_of_several_towns_is_addressed_to_the_first():
    document = OF["H"].written().replace("</x:gemeinde>", "</x:gemeinde><x:gemeinde><x:XP_Gemeinde><x:ags>03151040"
                                         "</x:ags></x:XP_Gemeinde></x:gemeinde>", 1)  # fmt: skip

    reading = by_profile(document, "H")

    assert reading.header.reader == "ags:03103000"
    assert [one.level for one in reading.findings] == ["warning"]


def test_empty_references_are_none_and_broken_ones_a_warning():
    sample = SAMPLES[1]
    document = sample.written().replace("urn:dienst", "").replace("<referenzUUID>8d2f", "<referenzUUID>xxxx")

    reading = by_profile(document, "A")

    assert reading.header.references == {}
    assert [(one.level, one.path.rpartition("/")[2]) for one in reading.findings] == [("warning", "referenzUUID")]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_a_type_code_that_differs_is_as_bad_as_the_profile_says(level):
    root = guard.parse(OF["A"].written().replace("<code>0401<", "<code>0402<").encode())

    reading = read(root, profile(root, replace(FORMS["A"], type_mismatch=level)))

    assert reading.header.type_code == "0402"
    assert [one.level for one in reading.findings] == [level]


# --- metadata beside a payload -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "soap", ["http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"]
)
def test_metadata_beside_a_payload_are_found_in_the_header_of_a_soap_message(soap):
    metadata = OF["K"].written()
    document = f"""<s:Envelope xmlns:s="{soap}"><s:Header>{metadata}</s:Header><s:Body>
      <c:GenericContentContainer xmlns:c="http://xoev.de/transport/xta/211">{metadata}</c:GenericContentContainer>
      </s:Body></s:Envelope>"""
    root = guard.parse(document.encode())

    reading = beside(root)

    assert reading is not None
    assert reading.header == detect(root).reading.header == detect(guard.parse(metadata.encode())).reading.header
    assert (reading.header.author, reading.header.reader) == (OF["K"].author, OF["K"].reader)
    assert beside(guard.parse(document.replace(metadata, metadata * 2, 1).encode())) is None
    assert beside(guard.parse(document.replace(metadata, "", 1).encode())) is None


@pytest.mark.parametrize(("value", "test"), [("true", True), ("1", True), (" true ", True), ("false", False)])
def test_metadata_say_themselves_whether_they_are_a_test(value, test):
    metadata = OF["K"].written().replace('TestMsg="false"', f'TestMsg="{value}"')

    reading = beside(guard.parse(metadata.encode()))

    assert reading is not None
    assert reading.header.test == test


def test_metadata_in_another_namespace_are_none():
    assert beside(guard.parse(OF["K"].written().replace(OSCI, "urn:fremd").encode())) is None


# --- documents of no form ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document", ["<xy/>", '<x:xy xmlns:x="urn:x"><x:leser><kennung>ags:03103000</kennung></x:leser></x:xy>']
)
def test_a_document_without_a_header_has_none(document):
    found = detect(guard.parse(document.encode()))

    assert found.form == "none"
    assert (found.reading.header.reader, found.reading.findings) == (None, ())
    assert found.reading.header.type.name == "xy"


# --- and all that through the inspection ---------------------------------------------------------------------------

WITH_HEAD = [
    "antrag-wolfsburg", "bauantrag-gifhorn", "beteiligung-salzgitter", "gewerbeanmeldung-wolfsburg",
    "meldeauskunft-braunschweig",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


def judged(world: World, body: bytes) -> str:
    result = world.inspect(Incoming(body, "online", "formular", id=MessageId(new_id()), received_at=world.clock()))
    return result.code if isinstance(result, Rejection) else "accepted"


@pytest.mark.parametrize("name", WITH_HEAD)
def test_a_header_smuggled_through_a_lax_wildcard_is_a_rejection(name: str, world: World):
    root = guard.parse((MESSAGES / f"{name}.xml").read_bytes())
    assert judged(world, etree.tostring(root)) != "schema_violation"
    head = next(child for child in root.iter("*") if etree.QName(child).localname.startswith("nachrichtenkopf"))
    smuggled = copy.deepcopy(head)
    smuggled.tag = "{urn:fremd}" + etree.QName(head).localname
    root.append(smuggled)

    assert judged(world, etree.tostring(root)) == "schema_violation"


@pytest.mark.parametrize("name", WITH_HEAD)
def test_a_comment_in_a_key_is_a_rejection(name: str, world: World):
    root = guard.parse((MESSAGES / f"{name}.xml").read_bytes())
    assert judged(world, etree.tostring(root)) != "schema_violation"
    key = next(
        (one for one in root.iter("*") if re.fullmatch("([a-z]{3}:)?03[0-9]{6}", one.text or "") and not len(one)), None
    )
    assert key is not None
    text = key.text or ""
    key.text = text[:-2]
    comment = etree.Comment("x")
    comment.tail = text[-2:]
    key.append(comment)

    assert judged(world, etree.tostring(root)) == "schema_violation"
