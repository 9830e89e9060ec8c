"""Whose message it is, which route it takes, and where that leads. Pure functions over the deployment.

    header ─▶ addressee (municipality or partner) ─▶ route (the highest priority that matches) ─▶ destinations

Only what the profile names steers the hub (INTERFACE §3, "Whose message").
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from hub.config.lookup import destination_for
from hub.deployment import Deployment, Destination, Match, Municipality, Route, Sender, StepSpec, Target
from hub.message import Header, MessageType

AGS = re.compile(r"[0-9]{2,12}", re.ASCII)
MUNICIPALITY = "{municipality}"


@dataclass(frozen=True, slots=True)
class Addressee:
    """A municipality or a partner, by its key."""

    key: str
    is_partner: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What routes are matched against. ``sender`` is ``None`` where nobody said it (explain, route tests)."""

    type: MessageType
    addressee: Addressee | None
    sender: str | None
    author: str | None
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Considered:
    """One route that was looked at, and why it did or did not match."""

    name: str
    matched: bool
    why: str
    misses: int = 0  # conditions that failed: the nearest miss has the fewest


def type_matches(pattern: str, type_: MessageType) -> bool:
    """Tell whether globs per segment fit; missing trailing segments are ``*``."""
    standard, version, name = _segments(pattern)
    return _fits(type_.standard, standard) and _fits(type_.version, version) and _fits(type_.name, name)


@lru_cache(maxsize=4096)
def _segments(pattern: str) -> tuple[str, str, str]:
    standard, version, name, *_ = *pattern.split("/", 2), "*", "*"
    return standard, version, name


def _fits(name: str, glob: str) -> bool:
    return glob in ("*", name) or fnmatchcase(name, glob)  # no name has a character that means something in a glob


class Directory:
    """Finds municipalities and partners by their authority keys. Built once per deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._exact: dict[str, Addressee] = {}
        self._prefixes: dict[str, Addressee] = {}
        self._numbers: dict[str, str] = {}
        for municipality in deployment.municipalities.values():
            self._add_municipality(municipality)
        for partner in deployment.partners.values():
            for authority in partner.authorities:
                if authority.endswith(":*"):
                    self._prefixes[authority.removesuffix("*")] = Addressee(partner.key, is_partner=True)
                else:
                    self._exact[authority] = Addressee(partner.key, is_partner=True)

    def _add_municipality(self, municipality: Municipality) -> None:
        for authority in municipality.authorities:
            self._exact[authority] = Addressee(municipality.key)
        self._exact[f"ags:{municipality.ags}"] = Addressee(municipality.key)
        self._numbers[municipality.ags] = municipality.key
        for member in municipality.members:
            if AGS.fullmatch(member) and member not in self._deployment.municipalities:
                self._numbers.setdefault(member, municipality.key)

    def find(self, authority: str | None) -> Addressee | None:
        """Return whom an authority key (``prefix:number``) or a bare AGS or ARS names, if anybody."""
        if not authority:
            return None
        if authority in self._exact:
            return self._exact[authority]
        prefix, _, number = authority.partition(":")
        if not number:
            prefix, number = "ags", authority
        if prefix == "leitweg":
            number = number.partition("-")[0]
        if prefix in ("ags", "leitweg") and AGS.fullmatch(number) and (key := self._by_number(number)):
            return Addressee(key)
        return self._prefixes.get(prefix + ":")

    def _by_number(self, number: str) -> str | None:
        if len(number) == 12:  # ARS: Land, Regierungsbezirk, Kreis, Verband, Gemeinde; the AGS leaves the Verband out
            number = number[:5] + number[9:]
        return self._numbers.get(number) or self._numbers.get(number[:5])

    def named(self, name: str) -> Addressee | None:
        """Return whom a ``Recipient`` names: by key, or by authority key."""
        if name in self._deployment.municipalities:
            return Addressee(name)
        if name in self._deployment.partners:
            return Addressee(name, is_partner=True)
        return self.find(name)

    def addressee(
        self, header: Header, *, has_reader: bool, sender: Sender | None, recipient: str | None
    ) -> Addressee | None:
        """Return whose message it is: by the document's reader, else as the sender says or as it is configured."""
        if has_reader:
            return self.find(header.reader)
        if recipient:
            return self.named(recipient)
        return Addressee(sender.municipality) if sender and sender.municipality else None

    def owner(self, addressee: Addressee | None, header: Header, sender: Sender | None) -> str | None:
        """Return the tenant of a message: the recipient if it is a municipality, else the author, else the sender's."""
        if addressee and not addressee.is_partner:
            return addressee.key
        author = self.find(header.author)
        if author and not author.is_partner:
            return author.key
        return sender.municipality if sender else None


def may_send(sender: Sender, type_: MessageType) -> bool:
    return any(type_matches(pattern, type_) for pattern in sender.may_send)


def may_address(sender: Sender, addressee: Addressee) -> bool:
    return any(_fits(addressee.key, pattern) for pattern in sender.may_address)


def choose(deployment: Deployment, facts: Facts) -> Route | None:
    """Return the route that counts: of those whose every condition holds, the one with the highest priority."""
    for route in deployment.routes:  # highest priority first
        if next(_misses(deployment, route, facts), None) is None:
            return route
    return None


def consider(deployment: Deployment, facts: Facts) -> Sequence[Considered]:
    """Return for each route why it did or did not match, the nearest miss named. For people: it costs its time."""
    winner = choose(deployment, facts)
    considered: list[Considered] = []
    for route in deployment.routes:
        misses = list(_misses(deployment, route, facts))
        if misses:
            far = 10 if not type_matches(route.match.type, facts.type) else 0  # another type is never the nearest
            considered.append(Considered(route.name, False, "; ".join(misses), len(misses) + far))
        elif route is winner:
            considered.append(
                Considered(route.name, True, "; ".join(["every condition holds", *_unasked(route, facts)]))
            )
        elif winner is not None:
            considered.append(Considered(route.name, False, f"matches, but {winner.name} has a higher priority"))
    if winner is None and considered:
        nearest = min(considered, key=lambda one: one.misses)
        position = considered.index(nearest)
        considered[position] = Considered(nearest.name, False, f"nearest miss: {nearest.why}", nearest.misses)
    return considered


def _unasked(route: Route, facts: Facts) -> list[str]:
    asked = route.match.sender is not None and facts.sender is None
    return ["sender not given, its condition was not checked"] if asked else []


def _misses(deployment: Deployment, route: Route, facts: Facts) -> Iterator[str]:
    """Yield each condition that does not hold, the cheapest first."""
    match = route.match
    right_type = type_matches(match.type, facts.type)
    if not right_type:
        yield f"type is {facts.type}, the route asks for {match.type}"
    if facts.addressee is None:
        yield "addressed to nobody of this hub"
    addressed = list(_misaddressed(match, facts.addressee))
    yield from addressed
    if right_type and facts.addressee is not None and match.municipality is None and not addressed:
        gap = _gap(deployment, route, facts.addressee)
        if gap:
            yield gap
    if match.sender is not None and facts.sender is not None and facts.sender not in match.sender:
        yield f"sender is {facts.sender}, the route asks for {_list(match.sender)}"
    if match.author is not None and not any(fnmatchcase(facts.author or "", glob) for glob in match.author):
        yield f"author is {facts.author or 'missing'}, the route asks for {_list(match.author)}"
    for key, globs in match.where.items():
        # The value itself stays unsaid: keys may hold a citizen's data.
        if not any(fnmatchcase(facts.keys.get(key, ""), glob) for glob in globs):
            state = "differs" if key in facts.keys else "is missing"
            yield f"{key} {state}, the route asks for {_list(globs)}"


def _misaddressed(match: Match, addressee: Addressee | None) -> Iterator[str]:
    whom = addressee.key if addressee else "nobody"
    if match.partner is not None:
        if not (addressee and addressee.is_partner and addressee.key in match.partner):
            yield f"addressed to {whom}, the route asks for partner {_list(match.partner)}"
    elif addressee and addressee.is_partner:
        yield f"addressed to partner {whom}, the route serves municipalities"
    if match.municipality is not None and not (
        addressee and not addressee.is_partner and addressee.key in match.municipality
    ):
        yield f"addressed to {whom}, the route asks for {_list(match.municipality)}"


def _gap(deployment: Deployment, route: Route, addressee: Addressee | None) -> str | None:
    if addressee is None or addressee.is_partner:
        return None
    wanted = [target.to for target in route.deliver_to if target.to.startswith(MUNICIPALITY + "/")]
    missing = [to for to in wanted if not resolve(deployment, to, addressee)]
    return f"{addressee.key} has no destination {missing[0].partition('/')[2]}" if missing else None


def _list(values: Sequence[str]) -> str:
    return " or ".join(values)


def resolve(deployment: Deployment, to: str, addressee: Addressee | None) -> str | None:
    """Return the name of the destination that ``deliver_to`` means for this addressee; ``None``: there is none."""
    if not to.startswith(MUNICIPALITY + "/"):
        return to if to in deployment.destinations else None
    if addressee is None or addressee.is_partner:
        return None
    service = to.partition("/")[2]
    found = destination_for(deployment.municipalities, deployment.destinations, addressee.key, service)
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class Leg:
    """One destination of a message, with all steps on the way there."""

    destination: Destination
    steps: tuple[StepSpec, ...]
    allow_lossy: bool = False


def legs(
    deployment: Deployment, route: Route, addressee: Addressee | None, *, test: bool
) -> tuple[Sequence[Leg], Sequence[str]]:
    """Return where a route leads, and the destinations left out because they are of the other environment."""
    wanted = "test" if test else "production"
    found: dict[str, Leg] = {}
    left_out: list[str] = []
    for target in route.deliver_to:
        name = resolve(deployment, target.to, addressee)
        if name is None or name in found:
            continue
        destination = deployment.destinations[name]
        if environment(deployment, destination.environment) != wanted:
            left_out.append(name)
            continue
        found[name] = leg(route, target, destination)
    return tuple(found.values()), left_out


def environment(deployment: Deployment, own: str) -> str:
    """Return the environment of a sender or destination: a hub on the test stage is test altogether."""
    return "test" if deployment.stage == "test" else own


def leg(route: Route, target: Target, destination: Destination) -> Leg:
    """Return the way that a route takes to one of its destinations."""
    return Leg(destination, (*route.steps, *target.steps, *destination.steps), route.allow_lossy)


def order_key(leg: Leg, facts: Facts) -> str | None:
    """Return what deliveries of a leg are ordered by; ``None``: by nothing."""
    match (leg.destination.ordered_by or "").partition(":"):
        case ("sender", _, _):
            return f"sender:{facts.sender}"
        case ("recipient", _, _):
            return f"recipient:{facts.addressee.key if facts.addressee else ''}"
        case ("key", _, name):
            # Hashed: the key may hold a citizen's data, and this column is never erased.
            value = facts.keys.get(name, "")
            return f"{name}:{hashlib.sha256(value.encode()).hexdigest()[:32]}"
        case _:
            return None
