"""The smallest documents that are beyond a limit: the guard counts nothing in those that are smaller still."""

from __future__ import annotations

import string
from collections.abc import Callable

import pytest

from hub.errors import Rejected
from hub.xml.guard import XmlLimits, parse

NAMES = string.ascii_letters


def nested(count: int) -> bytes:
    return b"<a>" * (count - 1) + b"<a/>" + b"</a>" * (count - 1)


def nodes(count: int) -> bytes:
    return b"<a>" + b"<a/>" * (count - 1) + b"</a>"


def attributes(count: int) -> bytes:
    return b"<a" + b"".join(b' %c=""' % ord(name) for name in NAMES[:count]) + b"/>"


def namespaces(count: int) -> bytes:
    return b'<a xmlns="x"' + b"".join(b' xmlns:%c="x"' % ord(name) for name in NAMES[: count - 1]) + b"/>"


@pytest.mark.parametrize("most", [1, 2, 5, 20, 50])
@pytest.mark.parametrize(
    ("limit", "smallest"),
    [
        ("depth", nested),
        ("nodes", nodes),
        ("attributes", attributes),
        ("all_attributes", attributes),
        ("namespaces", namespaces),
    ],
)
def test_the_smallest_document_beyond_a_limit_is_refused(
    limit: str, smallest: Callable[[int], bytes], most: int
) -> None:
    limits = XmlLimits(**{limit: most})

    accepted = parse(smallest(most), limits=limits)
    with pytest.raises(Rejected) as caught:
        parse(smallest(most + 1), limits=limits)

    assert accepted.tag.endswith("a")
    assert caught.value.code == "limit"
