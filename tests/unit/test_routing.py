"""Whose message it is, which route it takes, and where that leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hub.deployment import (
    Deployment,
    Destination,
    Mark,
    Match,
    Municipality,
    Partner,
    Route,
    Sender,
    StepSpec,
    Target,
)
from hub.message import Header, MessageType
from hub.plugin import Settings
from hub.routing import (
    Addressee,
    Considered,
    Directory,
    Facts,
    choose,
    legs,
    may_address,
    may_send,
    resolve,
    type_matches,
)
from hub.routing import consider as consider_all

GEWERBE = MessageType("xgewerbeanzeige", "2.2", "abh.gewerbemeldung.0500")
BAU = MessageType("xbau", "2.6", "baugenehmigung.antrag.0200")
HERE = Mark("routes.yaml", 1, 1)


def destination(name: str, **more: object) -> Destination:
    municipality, _, service = name.partition("/")
    return Destination(name, municipality, service, "folder", Settings(), **more)  # type: ignore[arg-type]


def route(name: str, type_: str, to: tuple[str, ...], *, priority: int = 0, **match: object) -> Route:
    return Route(name, Match(type_, **match), (), (), tuple(Target(one) for one in to), priority)  # type: ignore[arg-type]


@pytest.fixture
def deployment() -> Deployment:
    return Deployment(
        base=Path(),
        stage="production",
        senders={"online": Sender("online"), "akten": Sender("akten", municipality="wolfsburg")},
        sources={},
        municipalities={
            "wolfsburg": Municipality("wolfsburg", "Stadt Wolfsburg", "03103000", ("psw:03103000",)),
            "gifhorn": Municipality("gifhorn", "Landkreis Gifhorn", "03151", (), ("wittingen", "03151009")),
            "wittingen": Municipality("wittingen", "Stadt Wittingen", "03151040", part_of=("gifhorn",)),
        },
        partners={"bauportal": Partner("bauportal", ("bap:*",))},
        destinations={
            one.name: one
            for one in (
                destination("wolfsburg/gewerbe"),
                destination("wittingen/gewerbe"),
                destination("gifhorn/bau"),
                destination("statistik/las"),
                destination("wolfsburg/probe", environment="test"),
            )
        },
        routes=(
            route("gewerbe", "xgewerbeanzeige/2.2/*", ("{municipality}/gewerbe", "statistik/las")),
            route("bau", "xbau", ("{municipality}/bau",)),
        ),
    )


@pytest.mark.parametrize(
    ("authority", "key"),
    [
        ("ags:03103000", "wolfsburg"),
        ("psw:03103000", "wolfsburg"),
        ("03103000", "wolfsburg"),
        ("ags:031030000000", "wolfsburg"),
        ("ags:03151009", "gifhorn"),
        ("ags:03151040", "wittingen"),
        ("ags:03151999", "gifhorn"),
        ("leitweg:03103000-12345-03", "wolfsburg"),
        ("leitweg:03151-1-02", "gifhorn"),
        ("bap:0001", "bauportal"),
        ("psw:03151040", None),
        ("ags:99999999", None),
        ("AGS:03103000", None),
        ("ags:3103000", None),
        ("ags:03103000 ", None),
        (None, None),
    ],
)
def test_an_authority_key_names_one_addressee_or_nobody(
    deployment: Deployment, authority: str | None, key: str | None
) -> None:
    found = Directory(deployment).find(authority)

    assert (found.key if found else None) == key


def test_a_standard_without_a_reader_goes_where_the_sender_says_or_belongs(deployment: Deployment) -> None:
    directory = Directory(deployment)
    header = Header(MessageType("xdomea", "3.0.0", "x"), reader="ags:03151040")

    def whose(sender: str, recipient: str | None) -> str | None:
        found = directory.addressee(header, has_reader=False, sender=deployment.senders[sender], recipient=recipient)
        return found.key if found else None

    assert whose("akten", None) == "wolfsburg"
    assert whose("akten", "gifhorn") == "gifhorn"
    assert whose("akten", "ags:03151040") == "wittingen"
    assert whose("online", None) is None
    assert whose("online", "nirgendwo") is None


def test_a_document_that_names_its_reader_is_not_redirected_by_a_header(deployment: Deployment) -> None:
    header = Header(GEWERBE, reader="ags:03103000")

    found = Directory(deployment).addressee(header, has_reader=True, sender=None, recipient="gifhorn")

    assert found == Addressee("wolfsburg")


def test_the_owner_is_recipient_then_author_then_the_senders_municipality(deployment: Deployment) -> None:
    directory = Directory(deployment)
    header = Header(BAU, author="ags:03151")

    assert directory.owner(Addressee("wolfsburg"), header, None) == "wolfsburg"
    assert directory.owner(Addressee("bauportal", is_partner=True), header, None) == "gifhorn"
    assert directory.owner(None, Header(BAU), deployment.senders["akten"]) == "wolfsburg"
    assert directory.owner(None, Header(BAU), None) is None


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("xgewerbeanzeige/2.2/*", True),
        ("xgewerbeanzeige", True),
        ("xgewerbe*/2.*", True),
        ("*/*/abh.*", True),
        ("xgewerbeanzeige/2.1/*", False),
        ("XGewerbeanzeige", False),
        ("xgewerbeanzeige/2.2/abh", False),
    ],
)
def test_types_match_by_globs_per_segment(pattern: str, fits: bool) -> None:
    assert type_matches(pattern, GEWERBE) is fits


def test_a_member_has_its_own_trade_office_and_its_countys_building_office(deployment: Deployment) -> None:
    wittingen = Addressee("wittingen")

    assert resolve(deployment, "{municipality}/gewerbe", wittingen) == "wittingen/gewerbe"
    assert resolve(deployment, "{municipality}/bau", wittingen) == "gifhorn/bau"
    assert resolve(deployment, "{municipality}/wohngeld", wittingen) is None
    assert resolve(deployment, "statistik/las", None) == "statistik/las"


def consider(deployment: Deployment, asked: Facts) -> tuple[Route | None, Sequence[Considered]]:
    """Choose, and look at the reasons: both must be of one mind."""
    winner, considered = choose(deployment, asked), consider_all(deployment, asked)
    assert [one.name for one in considered if one.matched] == ([winner.name] if winner else [])
    return winner, considered


def facts(type_: MessageType = GEWERBE, to: str | None = "wolfsburg", **more: object) -> Facts:
    addressee = Addressee(to) if to else None
    return Facts(type_, addressee, more.get("sender", "online"), more.get("author"), more.get("keys", {}))  # type: ignore[arg-type]


def test_the_route_that_counts_leads_to_the_municipalitys_destination(deployment: Deployment) -> None:
    winner, considered = consider(deployment, facts())

    assert winner is not None
    assert winner.name == "gewerbe"
    assert [one.matched for one in considered] == [True, False]
    found, left_out = legs(deployment, winner, Addressee("wolfsburg"), test=False)
    assert [leg.destination.name for leg in found] == ["wolfsburg/gewerbe", "statistik/las"]
    assert not left_out


def test_of_two_routes_the_higher_priority_counts_and_the_other_says_so(deployment: Deployment) -> None:
    special = route("eilig", "xgewerbeanzeige", ("statistik/las",), priority=10)
    deployment = replace(deployment, routes=(special, *deployment.routes))

    winner, considered = consider(deployment, facts())

    assert winner is special
    assert considered[1].why == "matches, but eilig has a higher priority"


def test_the_nearest_miss_is_of_the_right_type_and_names_what_is_missing(deployment: Deployment) -> None:
    winner, considered = consider(deployment, facts(GEWERBE, "gifhorn"))

    assert winner is None
    nearest = next(one for one in considered if one.why.startswith("nearest miss"))
    assert nearest.name == "gewerbe"
    assert nearest.why == "nearest miss: gifhorn has no destination gewerbe"


def test_conditions_are_all_asked_and_an_unknown_sender_is_said(deployment: Deployment) -> None:
    asked = route(
        "eng",
        "xgewerbeanzeige",
        ("statistik/las",),
        municipality=("wolfsburg",),
        sender=("online",),
        author=("bap:*",),
        where={"art": ("anmeldung",)},
    )
    deployment = replace(deployment, routes=(asked,))

    assert consider(deployment, facts(author="bap:1", keys={"art": "anmeldung"}))[0] is asked
    assert consider(deployment, facts(author="bap:1", keys={"art": "abmeldung"}))[0] is None
    assert consider(deployment, facts(author="psw:1", keys={"art": "anmeldung"}))[0] is None
    assert consider(deployment, facts(to="gifhorn", author="bap:1", keys={"art": "anmeldung"}))[0] is None
    winner, considered = consider(deployment, facts(sender=None, author="bap:1", keys={"art": "anmeldung"}))
    assert winner is asked
    assert "sender not given" in considered[0].why


def test_the_value_of_a_key_is_never_said(deployment: Deployment) -> None:
    asked = route("eng", "xgewerbeanzeige", ("statistik/las",), where={"name": ("x",)})

    _, considered = consider(replace(deployment, routes=(asked,)), facts(keys={"name": "Erika Musterfrau"}))

    assert "Musterfrau" not in considered[0].why


def test_test_messages_and_production_never_meet(deployment: Deployment) -> None:
    both = route("r", "*", ("wolfsburg/probe", "wolfsburg/gewerbe"))

    test, left_of_test = legs(deployment, both, Addressee("wolfsburg"), test=True)
    real, left_of_real = legs(deployment, both, Addressee("wolfsburg"), test=False)

    assert [leg.destination.name for leg in test] == ["wolfsburg/probe"]
    assert [leg.destination.name for leg in real] == ["wolfsburg/gewerbe"]
    assert (left_of_test, left_of_real) == (["wolfsburg/gewerbe"], ["wolfsburg/probe"])


def test_a_hub_on_the_test_stage_delivers_tests_everywhere(deployment: Deployment) -> None:
    both = route("r", "*", ("wolfsburg/gewerbe",))

    found, _ = legs(replace(deployment, stage="test"), both, Addressee("wolfsburg"), test=True)

    assert [leg.destination.name for leg in found] == ["wolfsburg/gewerbe"]


def test_steps_run_in_the_order_route_target_destination(deployment: Deployment) -> None:
    def step(value: str) -> StepSpec:
        return StepSpec("xslt", value, HERE)

    last = destination("wolfsburg/gewerbe", steps=(step("c"),))
    whole = Route("r", Match("*"), (), (step("a"),), (Target("wolfsburg/gewerbe", (step("b"),)),))
    deployment = replace(deployment, destinations={**deployment.destinations, last.name: last})

    (leg,), _ = legs(deployment, whole, None, test=False)

    assert [spec.value for spec in leg.steps] == ["a", "b", "c"]


def test_a_sender_sends_and_addresses_only_what_it_may() -> None:
    sender = Sender("s", may_send=("xbau/*",), may_address=("wolfs*",))

    assert may_send(sender, BAU)
    assert not may_send(sender, GEWERBE)
    assert may_address(sender, Addressee("wolfsburg"))
    assert not may_address(sender, Addressee("gifhorn"))
