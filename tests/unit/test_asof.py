"""``check --as-of``: what of a configuration still holds on a day to come."""

import pytest

from tests import umzug

ROUTE = """
  umzug:
    match: {type: umzug/%s/*}
    deliver_to: ["{municipality}/antrag"]
"""


def routed(office, *versions):
    umzug.write(office.folder)
    routes = "".join(ROUTE.replace("umzug:", f"umzug{one[0].replace('*', '')}:") % one for one in versions)
    office.change("\nroutes:\n", f"\nroutes:\n{routes}")


@pytest.mark.parametrize(
    ("at", "code"),
    [
        ("2026-05-31T23:59", 0),  # the days of a profile are Berlin's, and so is a time without a zone
        ("2026-05-31T21:59:59Z", 0),
        ("2026-05-31T22:00:00Z", 78),
        ("2026-06-01", 78),
    ],
)
def test_a_route_lives_as_long_as_documents_of_its_version_are_taken(office, at, code):
    routed(office, "1.0")

    done = office("check", "--as-of", at, TZ="America/New_York")

    assert done.code == code
    assert ("dead route at 2026-06-01T00:00" in done.err) == (code == 78)


def test_a_dead_route_is_named_with_its_line_and_with_what_is_served_then(office):
    routed(office, "1.0")

    (problem,) = office("check", "--as-of", "2026-07-01", "--json").json["items"]

    line = office.config.read_text().splitlines()[problem["line"] - 1]
    assert (problem["path"], problem["level"]) == ("routes.umzug1", "error")
    assert "umzug/1.0" in line
    assert problem["text"] == (
        "dead route at 2026-07-01T00:00: umzug/1.0 is served until 2026-06-01; "
        "served then: umzug/2.0, which no route takes"
    )


def test_where_another_versions_route_takes_over_the_old_one_is_a_warning(office):
    routed(office, "1.0", "2.0")

    before, after = (office("check", "--as-of", at, "--json") for at in ("2026-04-01", "2026-07-01"))

    assert [done.code for done in (before, after)] == [0, 0]
    assert [(one["path"], one["level"]) for one in before.json["items"]] == [("routes.umzug2", "warning")]
    assert [(one["path"], one["level"]) for one in after.json["items"]] == [("routes.umzug1", "warning")]


def test_a_route_for_all_versions_outlives_each(office):
    routed(office, "*")

    assert office("check", "--as-of", "2035-01-01", "--json").json["items"] == []


def test_without_a_date_it_is_now(office):
    umzug.write(office.folder, umzug.V1, windows={umzug.V1: "valid_to: 2001-01-01\n"})
    office.change("\nroutes:\n", f"\nroutes:\n{ROUTE % '1.0'}")

    done = office("check")

    assert done.code == 78
    assert "no other version is here (xoev-hub schemas import)" in done.err
    assert "^" in done.err


def test_what_is_no_time_is_a_usage_error(office):
    assert office("check", "--as-of", "bald").code == 2
