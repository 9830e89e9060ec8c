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


DESTINATION = "destinations:\n  stadt/umzug: {adapter: folder, path: ausgang, accepts: %s}\n"
SWITCHING = "[{type: umzug/1.0, until: 2026-05-02T18:00}, {type: umzug/2.0, from: 2026-05-02T18:00}]"
NOT_ACCEPTED = "stadt/umzug: {} is not accepted at {}, and no conversion leads to what is: {}"


def accepting(office, accepts, *versions):
    routed(office, *versions)
    text = office.config.read_text().replace("{municipality}/antrag", "stadt/umzug", len(versions))
    office.config.write_text(text + DESTINATION % accepts)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-04-30", []),
        # 1.0 is taken until 1 June, and 2.0 from 1 May on; the destination changes in between.
        ("2026-05-01", [("warning", "umzug/2.0", "umzug/1.0")]),
        ("2026-05-02T17:59", [("warning", "umzug/2.0", "umzug/1.0")]),
        ("2026-05-02T18:00", [("warning", "umzug/1.0", "umzug/2.0")]),
        ("2026-06-01", []),
    ],
)
def test_a_version_that_a_destination_does_not_accept_then_is_told_with_what_it_does(office, at, told):
    accepting(office, SWITCHING, "*")

    done = office("check", "--as-of", at, "--json")

    assert done.code == 0
    assert [(one["path"], one["level"], one["text"]) for one in done.json["items"]] == [
        ("routes.umzug", level, NOT_ACCEPTED.format(refused, at if "T" in at else f"{at}T00:00", instead))
        for level, refused, instead in told
    ]


def test_a_route_whose_destination_accepts_nothing_of_it_then_is_an_error(office):
    accepting(office, "[{type: umzug/2.0, from: 2026-05-02T18:00}]", "1.0", "2.0")

    before, between, after = (office("check", "--as-of", at) for at in ("2026-04-30", "2026-05-02", "2026-05-03"))

    assert (before.code, between.code, after.code) == (78, 78, 78)
    assert "routes.umzug1: stadt/umzug: umzug/1.0 is not accepted at 2026-04-30T00:00" in before.err
    assert "leads to what is: nothing" in between.err
    assert "routes.umzug2: stadt/umzug: umzug/2.0 is not accepted" in between.err
    assert "routes.umzug1: stadt/umzug: umzug/1.0 is not accepted" in after.err
    assert "routes.umzug2: stadt" not in after.err


def test_where_a_conversion_leads_to_what_is_accepted_nothing_is_said(office):
    accepting(office, "[umzug/2.0], steps: [{convert: {from: umzug/1.0, to: umzug/2.0, fidelity: lossless, xslt: transforms/vorwaerts.xsl}}]", "1.0", "2.0")  # fmt: skip

    done = office("check", "--as-of", "2026-05-03", "--json")

    assert (done.code, done.json["items"]) == (0, [])


def test_a_message_that_a_destination_leaves_out_is_named(office):
    accepting(office, "[umzug/1.0/meldung.02*]", "1.0")
    profile = office.folder / "schemas/xoev/umzug/1.0/profile.yaml"
    profile.write_text(profile.read_text().replace("[meldung.0101]", "[meldung.0101, meldung.0201]"))
    xsd = profile.with_name("umzug.xsd")
    xsd.write_text(xsd.read_text().replace("</xs:schema>", '<xs:element name="meldung.0201"/></xs:schema>'))

    done = office("check", "--as-of", "2026-04-30")

    assert done.code == 0
    assert "stadt/umzug: umzug/1.0 (meldung.0101) is not accepted" in done.err


def test_without_a_date_it_is_now(office):
    umzug.write(office.folder, umzug.V1, windows={umzug.V1: "valid_to: 2001-01-01\n"})
    office.change("\nroutes:\n", f"\nroutes:\n{ROUTE % '1.0'}")

    done = office("check")

    assert done.code == 78
    assert "no other version is here (xoev-hub schemas import)" in done.err
    assert "^" in done.err


def test_what_is_no_time_is_a_usage_error(office):
    assert office("check", "--as-of", "bald").code == 2
