"""Two documents compared as XML: where they differ without a value, and what a person reads."""

from __future__ import annotations

import pytest

from hub.xml.difference import BYTES_MAX, LINES_MAX, Change, changes, lines

BEFORE = b"<a><b k='1'>eins</b><b k='2'>zwei</b><c/></a>"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (b"<a><b k='1'>eins</b><b k='2'>drei</b><c/></a>", [Change("/a/b", "text")]),
        (b"<a><b k='1'>eins</b><b k='3'>zwei</b><c/></a>", [Change("/a/b/@k", "attribute")]),
        (b"<a><b k='1'>eins</b><b>zwei</b><c/></a>", [Change("/a/b/@k", "attribute")]),
        (b"<a><b k='1'>eins</b><c/></a>", [Change("/a/b", "removed")]),
        (b"<a><b k='1'>eins</b><b k='2'>zwei</b><c/><d/></a>", [Change("/a/d", "added")]),
        (b"<a><c/><b k='1'>eins</b><b k='2'>zwei</b></a>", [Change("", "order")]),
        (b"<a xmlns:n='urn:n'><b k='1'>eins</b><b k='2'>zwei</b><n:c/></a>", [Change("/a/c", "namespace")]),
        (b'<?xml version="1.0"?>\n<a>\n <b k="1">eins</b>\n <b k="2">zwei</b><c></c>\n</a>', [Change("", "notation")]),
        (b"kein XML", [Change("", "bytes")]),
        (b"<a>" + b"x" * BYTES_MAX + b"</a>", [Change("", "bytes")]),
    ],
    ids=["text", "value", "attribute", "removed", "added", "order", "namespace", "notation", "no-xml", "too-large"],
)
def test_where_two_documents_differ(after: bytes, expected: list[Change]) -> None:
    assert list(changes(BEFORE, after)) == expected


def test_where_they_differ_never_quotes_them() -> None:
    found = changes(b"<a><name>Erika Musterfrau</name></a>", b"<a><name>Otto Beispiel</name><ort>Leer</ort></a>")

    assert found == (Change("/a/name", "text"), Change("/a/ort", "added"))
    assert not any(word in repr(found) for word in ("Erika", "Otto", "Leer"))


def test_a_person_reads_the_canonical_forms_line_by_line() -> None:
    found = lines(b"<a><b k='1'>eins</b><c/></a>", b"<a>\n <b   k='1'>zwei</b>\n <c/></a>")

    assert [line for line in found if line[0] in "+-"][2:] == ['-<b k="1">eins</b>', '+<b k="1">zwei</b>']


def test_a_long_difference_is_cut_and_says_so() -> None:
    many = [b"<a>" + b"".join(b"<b>%d</b>" % (n * factor) for n in range(1, 200)) + b"</a>" for factor in (1, 7)]

    found = lines(*many)

    assert len(found) == LINES_MAX + 1
    assert found[-1].startswith("… and ")
