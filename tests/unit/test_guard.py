"""The guard: what it takes, what it refuses under which name, and that it says so without quoting."""

from __future__ import annotations

import traceback

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

from hub.errors import Rejected
from hub.xml.guard import XmlLimits, parse

SMALL = XmlLimits(depth=8, nodes=50, attributes=5, all_attributes=20, namespaces=4, tag=200)


def refused(body: bytes, **arguments) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse(body, **arguments)
    return caught.value


def code(body: bytes, **arguments) -> str:
    try:
        parse(body, **arguments)
    except Rejected as error:
        return error.code
    return "accepted"


def test_a_document_keeps_its_text_comments_and_instructions():
    root = parse("<?xml version='1.0'?>\n<?a b?><r x='1'>Müßig<!--c--><k/></r>".encode())

    assert root.tag == "r"
    assert root.text == "Müßig"
    assert etree.tostring(root.getroottree()) == b'<?a b?><r x="1">M&#252;&#223;ig<!--c--><k/></r>'


# --- encoding


@pytest.mark.parametrize(
    ("python", "declared", "text"),
    [
        ("utf-8", None, "Müßig €"),
        ("utf-8", "UTF-8", "Müßig €"),
        ("utf-8-sig", "utf-8", "Müßig €"),
        ("utf-8-sig", None, "Müßig €"),
        ("utf-16", "UTF-16", "Müßig € 𝔐"),
        ("utf-16", None, "Müßig € 𝔐"),
        ("iso-8859-1", "ISO-8859-1", "Müßig"),
        ("iso-8859-15", "iso-8859-15", "Müßig €"),
        ("cp1252", "Windows-1252", "Müßig € „x“"),
        ("ascii", "us-ascii", "Muessig"),
    ],
)
@pytest.mark.parametrize("comment", ["", "<!-- <!DOCTYPE r> -->"], ids=["gate", "pre-scan"])
def test_the_encodings_of_the_list_are_read_without_damage(python, declared, text, comment):
    head = f"<?xml version='1.0' encoding='{declared}'?>" if declared else ""

    root = parse(f"{head}<r>{text}{comment}</r>".encode(python))

    assert root.text == text


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        (b"\xff\xfe\x00\x00<\x00\x00\x00", None),
        (b"\x00\x00\xfe\xff\x00\x00\x00<", None),
        (b"<?xml version='1.0' encoding='utf-16'?><r/>", None),
        (b"\xef\xbb\xbf<?xml version='1.0' encoding='iso-8859-1'?><r/>", None),
        ("<?xml version='1.0' encoding='utf-8'?><r/>".encode("utf-16"), None),
        (b"<?xml version='1.0' encoding='UTF-7'?><r/>", None),
        (b"<?xml version='1.0' encoding='ebcdic-de'?><r/>", None),
        (b"<?xml version='1.1'?><r/>", None),
        (b"<?xml version='1.0' encoding='utf-8\"?><r/>", None),
        (b"<?xml version='1.0'" + b" " * 1000 + b"?><r/>", None),
        (b"<r/>", "iso-8859-1"),
        (b"<r/>", "utf-7"),
        (b"<r/>", ""),
        (b"<?xml version='1.0' encoding='iso-8859-1'?><r/>", "utf-8"),
    ],
)
def test_an_encoding_off_the_list_or_contradicted_is_refused(body, charset):
    assert code(body, charset=charset) == "encoding"


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "UTF8"])
def test_a_charset_that_agrees_is_no_contradiction(charset):
    assert parse(b"<r/>", charset=charset).tag == "r"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}",
        b"<",
        b"<r",
        b"<r>",
        b"<r/><r/>",
        b"<r/>junk",
        b"junk<r/>",
        b"<r>\xff</r>",
        b"<r>\xc0\xaf</r>",
        b"<r>\xed\xa0\x80</r>",
        b"<r>\x00</r>",
        b"<r>\x1b</r>",
        b"<r>&#xD800;</r>",
        b"<r>&x;</r>",
        b"<r a='1' a='2'/>",
        b"<a:r/>",
        b" <?xml version='1.0'?><r/>",
        b"<?xml-stylesheet href='x'?>",
        b"<!doctype r><r/>",
        "<r/>".encode("utf-16-le"),
        "<r/>".encode("utf-16-be"),
        "<r/>".encode("utf-32-le"),
        "<r/>".encode("cp037"),
        "\ufeff<r/>".encode("utf-16") + b"\x00",
        b"\xff\xfe\x00\xd8<\x00",
        b"<?xml version='1.0' encoding='windows-1252'?><r>\x81</r>",
        b"<?xml version='1.0' encoding='us-ascii'?><r>\xe4</r>",
        b"\x1f\x8b\x08\x00",
    ],
)
def test_what_is_not_xml_is_not_well_formed(body):
    error = refused(body)

    assert error.code == "not_well_formed"
    assert error.findings[0].text


def test_an_empty_body_is_called_empty():
    assert refused(b"").findings[0].text == "not XML: it is empty"


# --- DOCTYPE


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE r><r/>",
        b"\n<!DOCTYPE r []><r/>",
        b"<!-- --><!DOCTYPE r SYSTEM 'file:///etc/hostname'><r/>",
        b"<?xml version='1.0' encoding='iso-8859-15'?><!DOCTYPE r><r/>",
        b"<?xml version='1.0' encoding='windows-1252'?><!DOCTYPE r><r/>",
        "<!DOCTYPE r><r/>".encode("utf-16"),
        b"\xef\xbb\xbf<!DOCTYPE r><r/>",
        b"<!DOCTYPE r [<!ENTITY x '" + b"x" * 100_000 + b"'>]><r>&x;</r>",
        b"<!DOCTYPE r SYSTEM '" + b"x" * 100_000 + b"'><r/>",
    ],
)
def test_any_doctype_is_refused(body):
    assert code(body) == "doctype_forbidden"


@pytest.mark.parametrize(
    "body", [b"<r><!-- <!DOCTYPE r> --></r>", b"<r><![CDATA[<!DOCTYPE r>]]></r>", b"<r><?p <!DOCTYPE ?></r>"]
)
def test_the_word_doctype_where_it_is_only_text_is_none(body):
    assert code(body) == "accepted"


# --- limits


def attributes(count: int) -> bytes:
    return b" ".join(b"a%d=''" % number for number in range(count))


def nested(depth: int) -> bytes:
    return b"<a>" * depth + b"</a>" * depth


@pytest.mark.parametrize(
    ("within", "beyond"),
    [
        (nested(8), nested(9)),
        (b"<a>" * 8 + b"<!--x-->" * 10 + b"</a>" * 8, b"<a>" * 8 + b"<b/>" * 10 + b"</a>" * 8),
        (b"<r>" + b"<a/>" * 49 + b"</r>", b"<r>" + b"<a/>" * 50 + b"</r>"),
        (b"<r>" + b"<!---->" * 49 + b"</r>", b"<r>" + b"<!---->" * 50 + b"</r>"),
        (b"<r>" + b"<?p?>" * 49 + b"</r>", b"<r>" + b"<?p?>" * 50 + b"</r>"),
        (b"<r>" + b"<![CDATA[<a/><a/><a/>]]>" * 40 + b"</r>", b"<r>" + b"<a></a>" * 50 + b"</r>"),
        (b"<r %b/>" % attributes(5), b"<r %b/>" % attributes(6)),
        (b"<r>a=b=c=d=e=f=g=h</r>", b"<r><a %b/></r>" % attributes(6)),
        (b"<r>" + b"<a %b/>" % attributes(4) * 5 + b"</r>", b"<r>" + b"<a %b/>" % attributes(5) * 5 + b"</r>"),
        (
            b"<r xmlns:a='1' xmlns:b='2'><c xmlns:d='3' xmlns:e='4'/><c xmlns:d='3' xmlns:e='4'/></r>",
            b"<r xmlns:a='1' xmlns:b='2'><c xmlns:d='3' xmlns:e='4' xmlns:f='5'/></r>",
        ),
        (b"<r a='" + b"x" * 180 + b"'/>", b"<r a='" + b"x" * 220 + b"'/>"),
        (b"<r a='>" + b"x" * 180 + b"'/>", b"<r a='>" + b"x" * 220 + b"'/>"),
        (b"<r>" + b"x" * 500 + b"</r>", b"<r><" + b"x" * 500 + b"/></r>"),
        (b"<r>" + b"x" * 500 + b"<b/></r>", b"<r><a b='" + b"x" * 500 + b"'/><a b='" + b"x" * 500 + b"'/></r>"),
        (b"<r><a b='<'/></r>".replace(b"<'", b"&lt;'"), b"<r" + b" " * 300 + b"/>"),
        (
            b"<r><![CDATA[<img src='" + b"x" * 500 + b"'/>]]></r>",
            b"<r><![CDATA[<]]><img src='" + b"x" * 500 + b"'/></r>",
        ),
        (b"<r><!-- <img src='" + b"x" * 500 + b" --></r>", b"<r><!-- < --><img src='" + b"x" * 500 + b"'/></r>"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_each_limit_is_exact(within, beyond, encoding):
    within, beyond = (body.decode().encode(encoding) for body in (within, beyond))

    assert code(within, limits=SMALL) == "accepted"
    assert code(beyond, limits=SMALL) == "limit"


def test_a_body_over_its_limit_is_not_even_looked_at():
    limits = XmlLimits(max_body=10)

    assert code(b"<r>12</r>!", limits=limits) == "not_well_formed"
    assert code(b"<r>12</r>!!", limits=limits) == "body_too_large"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-15"])
def test_a_lower_limit_of_text_counts_from_tag_to_tag(encoding):
    def body(size: int) -> bytes:
        text = "ä" * (size // 2) + "<!-- -->" + "<![CDATA[" + "ä" * (size - size // 2) + "]]>"
        return f"<?xml version='1.0' encoding='{encoding}'?><r><b>{text}</b>{'x' * 50}</r>".encode(encoding)

    assert code(body(100), limits=XmlLimits(max_text=100)) == "accepted"
    assert code(body(101), limits=XmlLimits(max_text=100)) == "limit"


def test_text_above_the_limit_of_libxml2_passes_only_by_the_key():
    def body(size: int) -> bytes:
        return b"<r>" + b"x" * size + b"</r>"

    assert code(body(11_000_000)) == "limit"
    assert code(body(11_000_000), limits=XmlLimits(max_text=12_000_000)) == "accepted"
    assert code(body(12_000_001), limits=XmlLimits(max_text=12_000_000)) == "limit"


def test_the_other_limits_hold_when_that_of_libxml2_is_off():
    limits = XmlLimits(max_text=20_000_000)
    ballast = b"<b>" + b"x" * 11_000_000 + b"</b>"

    assert code(b"<r>" + ballast + nested(127) + b"</r>", limits=limits) == "accepted"
    assert code(b"<r>" + ballast + nested(128) + b"</r>", limits=limits) == "limit"
    assert code(b"<r>" + ballast + nested(3000) + b"</r>", limits=limits) == "limit"


@pytest.mark.parametrize("opener", [b"<r><![CDATA[%b]]></r>", b"<r><!--%b--></r>", b"<r><?p %b?></r>"])
def test_comments_sections_and_instructions_obey_the_limit_of_libxml2(opener):
    assert code(opener % (b"x" * 11_000_000)) == "limit"
    assert code(opener % (b"x" * 11_000_000), limits=XmlLimits(max_text=12_000_000)) == "accepted"
    assert code(opener % (b"x" * 12_000_001), limits=XmlLimits(max_text=12_000_000)) == "limit"


@pytest.mark.parametrize("opener", [b"<r>%b</r>", b"<r><![CDATA[%b]]></r>"])
@pytest.mark.parametrize("limits", [XmlLimits(), XmlLimits(max_text=10_500_000)])
def test_who_sends_a_text_that_is_too_long_is_told_how_long_one_may_be(opener, limits):
    with pytest.raises(Rejected) as caught:
        parse(opener % (b"x" * 11_000_000), limits=limits)

    assert [one.text for one in caught.value.findings] == [f"a text longer than {limits.max_text} characters"]


def test_many_texts_below_the_limit_are_not_one_text():
    body = b"<r>" + (b"<b>" + b"\xe4" * 1_000_000 + b"</b>") * 20 + b"</r>"

    assert code(b"<?xml version='1.0' encoding='iso-8859-1'?>" + body) == "accepted"


# --- findings


@pytest.mark.parametrize(
    ("body", "line", "column"),
    [
        (b"<r>\n  <a></b>\n</r>", 2, 10),
        (b"<r>\n \x00</r>", 2, 2),
        (b"<?xml version='1.0'?>\n<!DOCTYPE r><r/>", 2, 12),
        (b"<r>\n <a " + b"b" * 70_000 + b"/></r>", 2, 2),
        (b"<r>\n" + b"<a>\n" * 130 + b"</a>" * 130 + b"</r>", 129, 0),
    ],
)
def test_a_finding_says_where(body, line, column):
    finding = refused(body).findings[0]

    assert (finding.line, finding.column) == (line, column)


@pytest.mark.parametrize(
    "body",
    [
        b"<r><SECRET></r>",
        b"<r>&SECRET;</r>",
        b"<SECRET:r/>",
        b"<r SECRET='SECRET' SECRET='SECRET'/>",
        b"<r><a xml:id='SECRET'/><a xml:id='SECRET'/></r>",
        b"<?xml version='1.0' encoding='SECRET'?><r/>",
        b"<!DOCTYPE SECRET [<!ENTITY SECRET 'SECRET'>]><SECRET/>",
        b"<r><?SECRET SECRET",
        b"<r xmlns:SECRET=''/>",
        b"<!DOCTYPE r [<!-- SECRET",
        "SECRET".encode("utf-16") + b"\xd8",
    ],
)
def test_nothing_of_the_document_is_quoted_anywhere(body):
    error = refused(body)

    told = [repr(error), *(finding.text for finding in error.findings), *traceback.format_exception(error)]
    assert "SECRET" not in "\n".join(told)
    assert error.__cause__ is None
    assert error.__context__ is None


# --- whatever comes in

FRAGMENTS = [
    b"<", b">", b"/", b"</", b"/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?", b"?>", b"<!DOCTYPE r [", b"<!ENTITY x '", b"]>", b"<r>", b"</r>",
    b"<a b='", b"'", b'"', b"&#0;", b"&amp;", b"&x;", b"xmlns:a='u'", b" a='b'", b"<?xml version='1.0' encoding='", b"utf-16", b"utf-8", b"windows-1252",
    b"iso-8859-15", b"'?>", b"\x00", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3\xa4", b"\xd8", b"x" * 300, b"\n", b"=",
]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join),
        st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(lambda parts: b"<r>" + b"".join(parts) + b"</r>"),
        st.lists(st.sampled_from(FRAGMENTS), max_size=20).map(
            lambda parts: b"".join(parts).decode("latin-1").encode("utf-16")
        ),
    ),
    st.sampled_from([None, "utf-8", "utf-16", "x", "\x00"]),
    st.sampled_from([XmlLimits(), SMALL, XmlLimits(max_text=50), XmlLimits(max_text=20_000_000)]),
)
@example(b"<?xml version='1.0' encoding='windows-1252'?><!DOCTYPE", None, SMALL)
@example(b"\xff\xfe", None, SMALL)
def test_whatever_comes_in_is_an_element_or_rejected(body, charset, limits):
    codes = {"not_well_formed", "doctype_forbidden", "encoding", "limit", "body_too_large"}

    try:
        root = parse(body, charset=charset, limits=limits)
    except Rejected as error:
        assert error.code in codes
        assert len(error.findings) == 1
    else:
        assert root.getroottree().docinfo.doctype == ""
        elements = list(root.iter())
        assert len(elements) <= limits.nodes
        assert max(sum(1 for _ in element.iterancestors()) for element in elements) < limits.depth


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(lambda parts: b"<r>" + b"".join(parts) + b"</r>"))
def test_the_gate_never_lets_pass_what_the_pre_scan_refuses(body):
    limits = XmlLimits(depth=1000, nodes=3, attributes=2, all_attributes=3, namespaces=1, tag=250)
    forced = b"\xef\xbb\xbf" + body  # same document, to be compared with its UTF-16 twin, which is always scanned
    try:
        twin = body.decode().encode("utf-16")
    except UnicodeError:
        return

    assert code(forced, limits=limits) == code(twin, limits=limits)
