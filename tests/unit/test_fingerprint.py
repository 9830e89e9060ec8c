"""Equal failures have one fingerprint, different ones have different ones, and no value of a document is in any."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from hub.fingerprint import PATTERN, Failure, fingerprint, first_finding, plain_path

ONE = Failure(
    "transform_failed", "none", "dropped", "/a:antrag/a:person[2]/a:name", "antrag/1.0/antrag.0101", "wob/bau"
)


def test_it_is_the_same_on_every_node_and_in_every_release():
    # Written down: notes are kept by it, and a changed formula would lose them.
    assert fingerprint(ONE) == "c8ffeb21c234"
    assert PATTERN.fullmatch(fingerprint(Failure("no_route")))


@pytest.mark.parametrize("name", [field.name for field in fields(Failure)])
def test_each_part_tells_failures_apart(name: str):
    assert fingerprint(replace(ONE, **{name: "/andere"})) != fingerprint(ONE)


def test_which_of_several_elements_it_was_and_whose_prefix_it_has_makes_no_difference():
    third = replace(ONE, path="/x:antrag/x:person[3]/x:name")

    assert fingerprint(third) == fingerprint(ONE)


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("/a:nachricht/a:person[2]/@x:id", "/nachricht/person/@id"),
        ("/n/p[@name='Müßig']/q", "/n/p/q"),
        ("/n[a/b=1]/c", "/n/c"),
        ("", ""),
    ],
    ids=["prefixes", "a value in a predicate", "a path in a predicate", "none"],
)
def test_of_a_path_remain_names_alone(path: str, plain: str):
    assert plain_path(path) == plain


@pytest.mark.parametrize(
    ("kept", "first"),
    [(b'[{"rule": "r", "path": "/p"}, {"rule": "s"}]', ("r", "/p")), (b"[]", ("", "")), (b"{", ("", ""))],
    ids=["two", "none", "broken"],
)
def test_the_first_finding_counts(kept: bytes, first: tuple[str, str]):
    assert first_finding(kept) == first
