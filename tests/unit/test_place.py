"""Where an element begins: what a sender is told of a finding's place."""

from __future__ import annotations

import pytest

from hub.xml import guard
from hub.xml.place import path_of, positions

TEXT = """<?xml version="1.0"?>
<!-- <b> ist keines -->
<a:wurzel xmlns:a="urn:a"
    art="x">
  <b>ü<c/></b><![CDATA[<b>]]><b><?b <c?><c n=">"/></b>
  <a:b
     n="1"/>
</a:wurzel>"""
PLACES = {
    "/a:wurzel": (3, 1),
    "/a:wurzel/b[1]": (5, 3),
    "/a:wurzel/b[1]/c": (5, 7),
    "/a:wurzel/b[2]": (5, 30),
    "/a:wurzel/b[2]/c": (5, 41),
    "/a:wurzel/a:b": (6, 3),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_place_is_where_the_start_tag_begins_whatever_looks_like_one_before_it(encoding):
    body = TEXT.encode(encoding)
    root = guard.parse(body)

    assert {path_of(one) for one in root.iter("*")} == PLACES.keys()
    assert positions(root, body, PLACES) == PLACES


def test_a_path_that_leads_nowhere_has_no_place():
    root = guard.parse(b"<a><b/></a>")

    assert positions(root, b"<a><b/></a>", ["/a/b", "/a/c", "/a/b[2]", ""]) == {"/a/b": (1, 4)}
    assert positions(root, b"", ["/a"]) == {}
