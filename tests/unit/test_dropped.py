"""What of a document does not arrive in its conversion."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.xml import guard
from hub.xml.dropped import dropped


def lost(before: str, after: str) -> list[str]:
    return [one.path for one in dropped(guard.parse(before.encode()), guard.parse(after.encode()))]


@pytest.mark.parametrize(
    ("before", "after", "paths"),
    [
        ("<a><b>x</b><c>y</c></a>", "<a><b>x</b></a>", ["/a/c"]),
        ("<a><b>x</b></a>", "<z><y> x\n</y></z>", []),  # renamed and indented, yet there
        ("<a><b>1</b><c>1</c></a>", "<a><c>1</c></a>", ["/a/b"]),  # the same text stands for one of them only
        ("<a><b>1</b><b>1</b></a>", "<a><b>1</b></a>", ["/a/b[2]"]),
        ("<a><b>M</b></a>", "<a><b>1</b></a>", ["/a/b"]),  # another code is another text
        ("<a><b k='x'>t</b></a>", "<a><b>t</b></a>", ["/a/b/@k"]),
        ("<a><b k='x'/></a>", "<a><k>x</k></a>", []),
        ("<a><b/><c> </c></a>", "<a/>", []),
        ("<a>eins<b/>zwei</a>", "<a>eins</a>", ["/a"]),
        ("<a version='2' test='x'><b>t</b></a>", "<a version='1'><b>t</b></a>", []),
        ("<a><b listURI='u' listVersionID='2'>t</b></a>", "<a><b listURI='v' listVersionID='1'>t</b></a>", []),
    ],
)
def test_texts_are_looked_for_by_name_and_then_by_themselves(before, after, paths):
    assert lost(before, after) == paths


def test_findings_are_warnings_with_a_line_and_without_the_text():
    (found,) = dropped(guard.parse(b"<a>\n <b>Erika Beispiel</b></a>"), guard.parse(b"<a/>"))

    assert (found.rule, found.level, found.line, found.path) == ("dropped", "warning", 2, "/a/b")
    assert "Erika" not in found.text


def test_there_is_a_limit():
    assert len(lost("<a>" + "<b>x</b>" * 1000 + "</a>", "<a/>")) == 100


@given(st.lists(st.tuples(st.sampled_from("bcd"), st.sampled_from(["x", "y", "zz"]))), st.randoms())
def test_order_and_names_never_matter(texts, chance):
    before = "<a>" + "".join(f"<{name}>{text}</{name}>" for name, text in texts) + "</a>"
    chance.shuffle(texts)
    after = "<a>" + "".join(f"<e><{name}2>{text}</{name}2></e>" for name, text in texts) + "</a>"

    assert lost(before, after) == []
