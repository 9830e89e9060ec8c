"""Which destination {municipality}/SERVICE means, and what two globs have in common."""

from fnmatch import fnmatchcase
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from hub.config.globs import covers, meet, types_meet
from hub.config.lookup import destination_for, part_of
from hub.deployment import Municipality


def world(*municipalities):
    around = part_of(municipalities)
    return {
        one.key: Municipality(one.key, one.name, one.ags, members=one.members, part_of=around[one.key])
        for one in municipalities
    }


WITTINGEN = Municipality("wittingen", "Wittingen", "03151040")
GIFHORN = Municipality("gifhorn", "Gifhorn", "03151", members=("wittingen",))
SAMTGEMEINDE = Municipality("samtgemeinde", "Samtgemeinde", "03151999", members=("03151040",))
VERBAND = Municipality("verband", "Verband", "03999001", members=("wittingen",))


def test_wittingens_own_trade_office_and_gifhorns_building_office():
    places = world(WITTINGEN, GIFHORN)
    destinations = {"wittingen/gewerbe", "gifhorn/gewerbe", "gifhorn/bau"}

    assert destination_for(places, destinations, "wittingen", "gewerbe") == ("wittingen/gewerbe",)
    assert destination_for(places, destinations, "wittingen", "bau") == ("gifhorn/bau",)
    assert destination_for(places, destinations, "gifhorn", "gewerbe") == ("gifhorn/gewerbe",)


def test_nobody_has_it_and_nobody_is_called_so_are_gaps():
    assert destination_for(world(WITTINGEN), set(), "wittingen", "bau") == ()
    assert destination_for(world(WITTINGEN), {"x/bau"}, "nirgends", "bau") == ()


def test_a_county_of_five_digits_covers_numbers_that_it_does_not_list():
    places = world(WITTINGEN, Municipality("gifhorn", "Gifhorn", "03151"))

    assert destination_for(places, {"gifhorn/bau"}, "wittingen", "bau") == ("gifhorn/bau",)


def test_the_narrower_of_two_comes_first():
    places = world(WITTINGEN, GIFHORN, SAMTGEMEINDE)

    assert places["wittingen"].part_of == ("gifhorn", "samtgemeinde")
    assert destination_for(places, {"gifhorn/bau", "samtgemeinde/bau"}, "wittingen", "bau") == ("samtgemeinde/bau",)


def test_two_that_are_equally_narrow_are_a_tie():
    places = world(WITTINGEN, GIFHORN, VERBAND)

    found = destination_for(places, {"gifhorn/bau", "verband/bau"}, "wittingen", "bau")

    assert sorted(found) == ["gifhorn/bau", "verband/bau"]


GLOBS = st.text(alphabet="ab*?", max_size=5)
TEXTS = ["".join(chars) for length in range(7) for chars in product("abc", repeat=length)]


@given(GLOBS, GLOBS)
def test_two_globs_meet_if_some_text_fits_both(one, other):
    some = any(fnmatchcase(text, one) and fnmatchcase(text, other) for text in TEXTS)

    assert meet(one, other) == some or len(one) + len(other) > 6


@given(GLOBS, GLOBS)
def test_a_glob_that_covers_another_misses_none_of_its_texts(wide, narrow):
    if covers(wide, narrow):
        assert all(fnmatchcase(text, wide) for text in TEXTS if fnmatchcase(text, narrow))


def test_types_are_compared_segment_by_segment():
    assert types_meet("xmeld/*", "xmeld/25.11a/x.1332")
    assert not types_meet("xmeld/2.4.3/*", "xmeld/25.11a")
    assert not types_meet("xbau", "xmeld")
