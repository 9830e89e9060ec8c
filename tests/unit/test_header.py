"""The header reader: each form of XOEV.md §3, and nothing from anywhere else in a document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.files import Files
from hub.xml.forms import AUTHORITY, UUID
from hub.xml.header import Reading, comparable, read
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from tests.standards import MESSAGES, NOW, NS, PROFILE, XSD, load, parsed, write

ID = "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d0001"
TIME = "2026-03-02T09:15:00+01:00"

REGISTRY, _ = Registry.load(Files(Path("/nonexistent")))


def shipped(text: str) -> Reading:
    root = parsed(text)
    return read(root, REGISTRY.identify(root, NOW))


def own(tmp_path: Path, form: str) -> Profile:
    text = PROFILE.replace("header: {form: none}", form)
    registry, problems = load(write(tmp_path, {"profile.yaml": text, "notiz.xsd": XSD}))
    assert problems == []
    return registry.profiles["notiz", "1"]


def xmeld(head: str, body: str = "", attributes: str = "") -> str:
    name = "x:datenabruf.freieSuche.suchanfrage.1332"
    return f"""<{name} xmlns:x="http://www.osci.de/xmeld2511a" version="25.11a" {attributes}>
{head}
{body}</{name}>"""


def head_a(reader: str = "ags:03101000", id_: str = ID, code: str = "1332") -> str:
    return f"""<nachrichtenkopf.g2g><identifikation.nachricht><nachrichtenUUID>{id_}</nachrichtenUUID>
<nachrichtentyp><code>{code}</code></nachrichtentyp><erstellungszeitpunkt>{TIME}</erstellungszeitpunkt>
</identifikation.nachricht>
<leser><kennung>{reader}</kennung></leser><autor><kennung>dbs:0600</kennung></autor></nachrichtenkopf.g2g>"""


def antrag(ags: str) -> str:
    return f"""<a:antrag.0101 xmlns:a="urn:xoev-de:beispiel:standard:antrag_1.0"><a:nachrichtenkopf>
<a:nachrichtenUUID>{ID}</a:nachrichtenUUID><a:nachrichtentyp>0101</a:nachrichtentyp>
<a:erstellungszeitpunkt>{TIME}</a:erstellungszeitpunkt><a:leser><a:ags>{ags}</a:ags></a:leser>
</a:nachrichtenkopf><a:inhalt/></a:antrag.0101>"""


# --- the forms ----------------------------------------------------------------------------------------------------


def test_form_a_has_its_header_in_no_namespace():
    reading = shipped(xmeld(head_a()))

    assert reading.findings == ()
    assert str(reading.header.type) == "xmeld/25.11a/datenabruf.freieSuche.suchanfrage.1332"
    assert reading.header.message_id == ID
    assert reading.header.type_code == "1332"
    assert reading.header.created_at == TIME
    assert (reading.header.reader, reading.header.author) == ("ags:03101000", "dbs:0600")


@pytest.mark.parametrize(("form", "prefix", "namespace"), [("C", "", ""), ("C2", "n:", f' xmlns:n="{NS}"')])
def test_forms_c_and_c2_write_prefix_and_number_apart(form, prefix, namespace, tmp_path):
    def authority(name: str, word: str, number: str) -> str:
        return (
            f"<p:{name}><p:behoerdenkennung><p:praefix><code>{word}</code></p:praefix>"
            f"<p:kennung><code>{number}</code></p:kennung></p:behoerdenkennung></p:{name}>"
        )

    text = f"""<q:notiz xmlns:q="{NS}"{namespace}><p:nachrichtenkopf><p:identifikation.nachricht>
      <p:nachrichtenUUID>{ID}</p:nachrichtenUUID><p:nachrichtentyp><code>0300</code></p:nachrichtentyp>
      <p:erstellungszeitpunkt>{TIME}</p:erstellungszeitpunkt></p:identifikation.nachricht>
      {authority("leser", "töj", "03103000")}{authority("autor", "MELDID", "12052000")}
      </p:nachrichtenkopf></q:notiz>"""
    root = parsed(text.replace("p:", prefix))

    reading = read(root, own(tmp_path, f"header: {{form: {form}}}"))

    assert reading.findings == ()
    assert (reading.header.reader, reading.header.author) == ("töj:03103000", "MELDID:12052000")


def test_xdomea_has_names_and_nobody_is_addressed_by_them():
    reading = shipped((Path(__file__).parent.parent / "messages/aussonderung-wolfsburg.xml").read_text())

    assert (reading.header.author, reading.header.reader) == ("Stadt Wolfsburg", "Stadtarchiv Wolfsburg")
    assert not REGISTRY.profiles["xdomea", "3.0.0"].has_reader


def test_a_name_that_looks_like_an_authority_key_is_none():
    text = (Path(__file__).parent.parent / "messages/aussonderung-wolfsburg.xml").read_text()

    reading = shipped(text.replace("<xdomea:Name>Stadt Wolfsburg<", "<xdomea:Name>ags:03101000<"))

    assert reading.header.author is None
    assert [(one.path.rpartition("/")[2], one.level) for one in reading.findings] == [("xdomea:Name", "warning")]


def test_the_buyer_reference_of_an_invoice_is_a_leitweg_id():
    messages = Path(__file__).parent.parent / "messages"

    for name, key in [
        ("rechnung-braunschweig-ubl.xml", "leitweg:03101000-10001-21"),
        ("gutschrift-wolfsburg-ubl.xml", "leitweg:03103000-10002-17"),
        ("rechnung-salzgitter-cii.xml", "leitweg:03102000-10003-63"),
    ]:
        assert shipped((messages / name).read_text()).header.reader == key


def test_a_profile_may_say_itself_where_everything_stands(tmp_path):
    profile = own(
        tmp_path,
        """header:
  form: none
  namespaces: {n: "urn:test:notiz"}
  message_id: /n:notiz/@id
  reader: {xpath: /n:notiz/n:an, prefix: psw}
  references: {antwort_auf: /n:notiz/n:bezug}
keys: {az: {xpath: /n:notiz/n:az, pattern: "[0-9]{1,4}/[0-9]{2}"}}""",
    )

    reading = read(
        parsed(f'<notiz xmlns="{NS}" id="N-1"><an>0815</an><bezug>N-0</bezug><az>17/26</az></notiz>'), profile
    )
    assert (reading.header.message_id, reading.header.reader) == ("N-1", "psw:0815")
    assert (dict(reading.header.references), dict(reading.header.keys)) == ({"antwort_auf": "N-0"}, {"az": "17/26"})
    assert reading.findings == ()

    reading = read(parsed(f'<notiz xmlns="{NS}" id="N-1"><an>0815</an><az>17/26 oder so</az></notiz>'), profile)
    assert (dict(reading.header.references), dict(reading.header.keys)) == ({}, {})
    assert [one.path for one in reading.findings] == ["/notiz/az"]


# --- what is and what is not a header -----------------------------------------------------------------------------


def test_a_header_further_down_is_part_of_the_body():
    reading = shipped(xmeld(head_a("ags:03101000"), f"<anlage>{head_a('ags:03103000')}</anlage>"))

    assert reading.findings == ()
    assert reading.header.reader == "ags:03101000"


def test_a_header_in_another_namespace_is_none():
    reading = shipped(xmeld(f'<f:huelle xmlns:f="urn:fremd" xmlns="urn:fremd">{head_a()}</f:huelle>'))

    assert reading.header.reader is None
    assert {one.text for one in reading.findings} == {
        f"{name}: is missing" for name in ("type code", "time of creation", "message id", "author", "reader")
    }


@pytest.mark.parametrize("prefix", ["xga:", "q:", ""], ids=["xga", "q", "default"])
def test_what_is_missing_is_told_by_the_documents_own_prefix(prefix):
    body = (MESSAGES / "gewerbeanmeldung-wolfsburg.xml").read_text("utf-8")
    text = re.sub("(?s)<xga:leser>.*</xga:leser>", "", body).replace("xmlns:xga", f"xmlns:{prefix}".rstrip(":"))

    reading = shipped(re.sub("(?<=[</])xga:", prefix, text))

    (path,) = (one.path for one in reading.findings if one.text == "reader: is missing")
    assert path.endswith(f"/{prefix}nachrichtenkopf/{prefix}leser/{prefix}behoerdenkennung/{prefix}kennung/code")


def test_two_headers_are_no_header():
    reading = shipped(xmeld(head_a("ags:03101000") + "\n" + head_a("ags:03103000")))

    assert (reading.header.reader, reading.header.message_id) == (None, None)
    doubled = next(one for one in reading.findings if one.text.startswith("reader"))
    assert doubled.path == "/x:datenabruf.freieSuche.suchanfrage.1332/nachrichtenkopf.g2g[2]/leser/kennung"
    assert doubled.line == 9
    assert {one.level for one in reading.findings} == {"error"}


@pytest.mark.parametrize("key", ["<![CDATA[0310]]>1000", "0310<?x y?>1000", "&#48;3101000"])
def test_a_key_is_its_whole_text(key):
    assert shipped(antrag(key)).header.reader == "ags:03101000"


@pytest.mark.parametrize(
    "key",
    [
        " ", " 03101000", "03101000 ", "03101000\n", "0310\u200b1000", "０３１０１０００", "../../etc/passwd", "#.*",
        "' OR 1=1;--", "03101000:", "a:03101000", "0310<x/>1000", "0310<!-- x -->1000", "<!-- x -->03101000", "0" * 101,
    ],
)  # fmt: skip
def test_what_is_no_key_is_a_finding_and_no_key(key):
    reading = shipped(antrag(key))

    assert reading.header.reader is None
    assert [(one.rule, one.level, one.path) for one in reading.findings] == [
        ("header", "error", "/a:antrag.0101/a:nachrichtenkopf/a:leser/a:ags")
    ]
    assert len(reading.findings[0].text) < 200


def test_an_empty_key_names_nobody_and_that_is_told():
    reading = shipped(antrag(""))

    assert reading.header.reader is None
    assert [(one.rule, one.level, one.path, one.text) for one in reading.findings] == [
        ("header", "warning", "/a:antrag.0101/a:nachrichtenkopf/a:leser/a:ags", "reader: is empty, so it names nobody")
    ]


def test_an_empty_type_code_is_one_that_does_not_fit_the_root():
    (found,) = shipped(xmeld(head_a(code=""))).findings

    assert (found.level, found.text) == ("warning", "type code: found nothing, which is not of the form expected here")


def test_white_space_around_codes_and_times_means_nothing():
    reading = shipped(xmeld(head_a(code="\n  1332\n").replace(TIME, f" {TIME} ")))

    assert reading.findings == ()
    assert (reading.header.type_code, reading.header.created_at) == ("1332", TIME)


def test_a_time_may_be_as_exact_as_its_type_lets_it():
    time = TIME.replace("+", f".{'123456789' * 4}+") if "." not in TIME else TIME.replace(".", f".{'123456789' * 4}")

    reading = shipped(xmeld(head_a().replace(TIME, time)))

    assert (reading.findings, reading.header.created_at) == ((), time)


def test_a_uuid_is_read_as_it_stands_and_compared_without_its_case():
    assert shipped(xmeld(head_a(id_=ID.upper()))).header.message_id == ID.upper()
    assert comparable(ID.upper()) == comparable(ID) == ID
    assert comparable("Rechnung-A") != comparable("rechnung-a")


@pytest.mark.parametrize("id_", ["", "1", ID + "0", ID.replace("-", ""), "8d2f4a10-3c5b-4e6d-9f70-1a2b3c4d00Ö1"])
def test_what_is_no_uuid_identifies_no_message(id_):
    reading = shipped(xmeld(head_a(id_=id_)))

    assert reading.header.message_id is None
    assert [one.level for one in reading.findings] == ["error"]


@pytest.mark.parametrize("value", ["", "false", "Referenznachricht"])
def test_the_attribute_test_makes_a_test_message_whatever_its_value(value):
    assert shipped(xmeld(head_a(), attributes=f'test="{value}"')).header.test
    assert not shipped(xmeld(head_a(), attributes=f'xmlns:f="urn:fremd" f:test="{value}"')).header.test


def test_a_type_code_that_differs_from_the_roots_name_is_only_a_warning():
    reading = shipped(xmeld(head_a(code="0401")))

    assert reading.header.type.name.endswith(".1332")
    assert [one.level for one in reading.findings] == ["warning"]


# --- anything at all ----------------------------------------------------------------------------------------------

XML_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs", "Cc")), max_size=40)
NAMES = [
    "nachrichtenkopf.g2g", "identifikation.nachricht", "nachrichtenUUID", "nachrichtentyp", "code", "leser", "autor",
    "kennung", "erstellungszeitpunkt", "{urn:fremd}leser",
]  # fmt: skip


@given(XML_TEXT)
def test_no_text_becomes_a_key_that_is_not_one(text):
    root = parsed(antrag("x"))
    root[0][3][0].text = text

    reading = read(root, REGISTRY.identify(root, NOW))

    if reading.header.reader is None:
        assert reading.findings
    else:
        assert reading.findings == ()
        assert reading.header.reader == f"ags:{text}"
        assert re.fullmatch(AUTHORITY, reading.header.reader, re.ASCII)


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> etree._Element:
    node = etree.Element(draw(st.sampled_from(NAMES)))
    node.text = draw(st.sampled_from(["", ID, "1332", TIME, "ags:03101000", "ags:03101000 "]))
    if depth:
        node.extend(draw(st.lists(trees(depth - 1), max_size=3)))
    return node


@given(st.lists(trees(), max_size=3))
def test_no_document_makes_the_reader_fail_and_no_error_goes_unsaid(children):
    root = etree.Element(
        "{http://www.osci.de/xmeld2511a}datenabruf.freieSuche.suchanfrage.1332", version="25.11a", test="x"
    )
    root.extend(children)

    reading = read(root, REGISTRY.identify(root, NOW))

    facts = [getattr(reading.header, name) for name in ("message_id", "type_code", "created_at", "author", "reader")]
    told = [one.text.partition(":")[0] for one in reading.findings if "the type code is" not in one.text]
    second_head = ["nachrichtenkopf.g2g"] * (sum(child.tag == "nachrichtenkopf.g2g" for child in children) > 1)
    missing = [
        said
        for said, fact in zip(("message id", "type code", "time of creation", "author", "reader"), facts, strict=True)
        if fact is None
    ]
    assert sorted(told) == sorted([*missing, *second_head])
    assert all(one.level == "error" for one in reading.findings if "is missing" in one.text or "times" in one.text)
    assert reading.header.message_id is None or re.fullmatch(UUID, reading.header.message_id)
