"""What routes.yaml says, checked and ready to use. Values only; nothing here is compiled or connected.

``hub.config`` builds it, ``hub.routing`` reads it. Every cross reference in it exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from hub.alerts.settings import AlertSettings
from hub.hours import Hours
from hub.plugin import Limits, Settings
from hub.rate import Rate
from hub.retry import RetryPolicy
from hub.xml.checks.values import Check
from hub.xml.office import Office

Environment = Literal["production", "test"]
Level = Literal["error", "warning"]
OnReject = Literal["problem", "standard", "both"]
OnAccept = Literal["receipt", "standard"]


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something stands in the configuration."""

    file: str
    line: int
    column: int
    path: str = field(default="", compare=False)  # of keys, such as routes.bau.steps[0].xslt

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Sender:
    """Who may hand in; one name over all sources. Patterns are globs over ``standard/version/name``."""

    name: str
    may_send: tuple[str, ...] = ("*",)
    may_address: tuple[str, ...] = ("*",)  # names of municipalities and partners, globs
    municipality: str | None = None
    return_to: str | None = None
    environment: Environment = "production"
    rate: Rate | None = None  # None: as fast as it likes


@dataclass(frozen=True, slots=True)
class KeepRejected:
    """How long, and up to how many bytes in all, the bodies of rejected documents stay."""

    for_: timedelta = timedelta(days=7)
    up_to: int = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Source:
    """A configured inbound endpoint."""

    name: str
    adapter: str
    settings: Settings
    senders: tuple[str, ...]  # who may hand in here
    limits: Limits = field(default_factory=Limits)
    keep_rejected: KeepRejected = field(default_factory=KeepRejected)
    keep_accepted: timedelta | None = None  # after nothing is open any more; None: for good
    environment: Environment = "production"
    insecure: str | None = None
    every: timedelta | None = None  # of a poller
    on_reject: OnReject = "problem"
    on_accept: OnAccept = "receipt"
    rejected_by: Office | None = None  # the authority that signs rejections and receipts in a standard's own form

    @property
    def speaks_standard(self) -> bool:
        """Whether senders are told in their standard's own form what became of a document."""
        return self.on_reject != "problem" or self.on_accept == "standard"


@dataclass(frozen=True, slots=True)
class Municipality:
    """A tenant: city, county or member municipality. ``authorities`` include ``ags:<ags>``."""

    key: str
    name: str
    ags: str
    authorities: tuple[str, ...] = ()
    members: tuple[str, ...] = ()  # keys of municipalities, or bare AGS
    part_of: tuple[str, ...] = ()  # those whose member it is (hub.config.lookup fills it)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Partner:
    """An addressee that is no tenant. ``authorities`` are exact keys or ``prefix:*``."""

    key: str
    authorities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """From one version of a standard to another, each written ``STANDARD/VERSION``."""

    from_: str
    to: str
    lossy: bool

    def __str__(self) -> str:
        return f"{self.from_} to {self.to}, {'lossy' if self.lossy else 'lossless'}"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step as written: ``xslt: PATH``, ``python: REF`` or ``validate: STANDARD/VERSION``.

    ``convert:`` is a step of the kind that does it, with ``conversion``; it is taken only where it is needed.
    """

    kind: Literal["xslt", "python", "validate"]
    value: str
    mark: Mark
    conversion: Conversion | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Names what is compiled of it: the same for all places that write the same."""
        return self.kind, self.value if self.conversion is None else f"{self.value} ({self.conversion})"


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One check of a route, and where it stands."""

    check: Check
    mark: Mark


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a destination takes, and when: ``from_`` on, and before ``until``. ``type`` is three globs."""

    type: str
    from_: datetime | None = None
    until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        return (self.from_ is None or self.from_ <= at) and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True)
class Destination:
    """A municipality's specialist procedure behind an outbound adapter. ``name`` is ``wolfsburg/gewerbe``."""

    name: str
    municipality: str | None  # None: a destination of the long form whose first segment is no municipality
    service: str
    adapter: str
    settings: Settings
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    limits: Limits = field(default_factory=Limits)
    ordered_by: str | None = None  # None | sender | recipient | key:NAME
    steps: tuple[StepSpec, ...] = ()  # run after the route's and the target's steps
    accepts: tuple[Accepts, ...] = ()  # none: whatever its routes bring
    hours: Hours = field(default_factory=Hours)
    environment: Environment = "production"
    insecure: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One entry of ``deliver_to``: a destination's name, or ``{municipality}/SERVICE``."""

    to: str
    steps: tuple[StepSpec, ...] = ()
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """What a route asks of a message. ``None`` means: not asked."""

    type: str  # three globs, "standard/version/name"; missing trailing segments are "*"
    municipality: tuple[str, ...] | None = None
    partner: tuple[str, ...] | None = None
    sender: tuple[str, ...] | None = None
    author: tuple[str, ...] | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """match → checks → steps → destinations. Of several that match, the one with the highest priority counts."""

    name: str
    match: Match
    checks: tuple[CheckSpec, ...]
    steps: tuple[StepSpec, ...]
    deliver_to: tuple[Target, ...]
    accept: Mapping[str, Level] = field(default_factory=dict)  # by rule, or a pattern of rules; the first that fits
    allow_lossy: bool = False  # whether conversions that leave something out may be taken
    priority: int = 0
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class RouteTest:
    """One entry of ``tests:``. Exactly one of ``deliver_to`` (with ``route``) and ``rejected`` is expected."""

    name: str
    message: str  # path from routes.yaml
    sender: str | None = None
    route: str | None = None
    deliver_to: tuple[str, ...] | None = None
    rejected: str | None = None
    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One whole configuration."""

    base: Path
    stage: Environment
    senders: Mapping[str, Sender]
    sources: Mapping[str, Source]
    municipalities: Mapping[str, Municipality]
    partners: Mapping[str, Partner]
    destinations: Mapping[str, Destination]
    routes: tuple[Route, ...]  # highest priority first
    tests: tuple[RouteTest, ...] = ()
    alerts: AlertSettings = field(default_factory=AlertSettings)

    def limits_of(self, source: str) -> Limits:
        """Return the limits of a source; of none, or one that is gone, the widest that any has."""
        if source in self.sources or not self.sources:
            return self.sources[source].limits if self.sources else Limits()
        every = [one.limits for one in self.sources.values()]
        return Limits(max_body=max(one.max_body for one in every), max_text=max(one.max_text for one in every))
