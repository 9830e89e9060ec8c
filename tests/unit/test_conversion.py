"""Which way a document takes to a destination that accepts some versions at some times."""

from datetime import UTC, datetime, timedelta

import pytest

from hub.conversion import not_accepted, way
from hub.deployment import Accepts, Conversion, Destination, StepSpec
from hub.message import MessageType
from hub.plugin import Settings
from hub.routing import Leg
from tests.world import HERE

SWITCH = datetime(2026, 5, 2, 16, tzinfo=UTC)
BEFORE, AFTER = SWITCH - timedelta(seconds=1), SWITCH
OLD, NEW = (MessageType("umzug", version, "meldung.0101") for version in ("1.0", "2.0"))
SWITCHING = (Accepts("umzug/1.0/*", until=SWITCH), Accepts("umzug/2.0/*", from_=SWITCH))


def convert(from_: str, to: str, *, lossy: bool = False) -> StepSpec:
    return StepSpec("xslt", f"{from_}-{to}.xsl", HERE, Conversion(f"umzug/{from_}", f"umzug/{to}", lossy))


PLAIN = StepSpec("xslt", "ziel.xsl", HERE)
FORWARD, BACK = convert("1.0", "2.0"), convert("2.0", "1.0", lossy=True)


def leg(*steps: StepSpec, accepts: tuple[Accepts, ...] = SWITCHING, allow_lossy: bool = True) -> Leg:
    destination = Destination("wolfsburg/umzug", "wolfsburg", "umzug", "folder", Settings(), accepts=accepts)
    return Leg(destination, steps, allow_lossy)


@pytest.mark.parametrize(
    ("type_", "at", "taken"),
    [
        (OLD, BEFORE, [PLAIN]),
        (OLD, AFTER, [FORWARD, PLAIN]),
        (NEW, BEFORE, [BACK, PLAIN]),
        (NEW, AFTER, [PLAIN]),
    ],
)
def test_a_conversion_is_taken_only_where_the_version_is_not_accepted_at_that_time(type_, at, taken):
    assert way(leg(FORWARD, BACK, PLAIN), type_, at) == taken


def test_who_accepts_whatever_comes_needs_no_conversion():
    steps = (FORWARD, BACK, PLAIN)

    assert way(leg(*steps, accepts=()), OLD, AFTER) == [PLAIN]
    assert way(leg(PLAIN, accepts=()), OLD, AFTER) == (PLAIN,)


def test_without_a_conversion_nothing_brings_it_there_and_the_finding_says_what_is_accepted():
    assert way(leg(PLAIN), NEW, BEFORE) is None
    assert not_accepted(leg(PLAIN), NEW, BEFORE).text == (
        "wolfsburg/umzug does not accept umzug/2.0/meldung.0101 at that time, and no conversion leads to what it "
        "does: umzug/1.0"
    )


def test_a_lossy_conversion_needs_the_permission_of_the_route():
    assert way(leg(BACK, allow_lossy=False), NEW, BEFORE) is None
    assert way(leg(FORWARD, allow_lossy=False), OLD, AFTER) == [FORWARD]


def test_conversions_are_chained_and_dead_ends_are_left():
    dead_end, first, second = convert("0.8", "0.7"), convert("0.8", "0.9"), convert("0.9", "1.0")
    old = MessageType("umzug", "0.8", "meldung.0101")

    assert way(leg(dead_end, first, second), old, BEFORE) == [first, second]
    assert way(leg(second, first), old, BEFORE) is None  # steps run in the order in which they are written


def test_a_destination_may_accept_some_messages_of_a_version_only():
    narrow = (Accepts("umzug/1.0/meldung.02*"),)

    assert way(leg(PLAIN, accepts=narrow), OLD, BEFORE) is None
    assert way(leg(PLAIN, accepts=(*narrow, Accepts("*/*/*.0101"))), OLD, BEFORE) == [PLAIN]
