"""The grammar of routes.yaml (INTERFACE §3), entry by entry. Shapes only: what a name refers to is checked later.

Every scalar arrives as text; :mod:`hub.config.scalars` says how it is read. Short forms (``keep_rejected: 7d``, one
name where a list may stand) are widened before they are checked. A default that is an entry is made unchecked
(``model_construct``): to check it would build the entry's validator wherever this module is loaded.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hub.config.scalars import (
    SEVERAL,
    Ags,
    Amount,
    Authority,
    BoundedSpan,
    Environment,
    Grammar,
    Insecure,
    Moment,
    OfficeText,
    Order,
    PartnerAuthority,
    RateText,
    Span,
    Text,
    Texts,
    TypeGlob,
    TypeGlobs,
    WeeklyText,
    several,
    widened,
)
from hub.config.validate import unknown
from hub.plugin import Flag, Size

# --- files, senders, municipalities, partners ---------------------------------------------------------------------


class Include(Grammar):
    """Another file. ``path`` may be a glob; ``only: "{name}"`` means the file's name without its suffix."""

    path: str
    only: Text | None = None


class SenderEntry(Grammar):
    may_send: TypeGlobs = ("*/*/*",)
    may_address: Texts = ("*",)
    municipality: Text | None = None
    return_to: Text | None = None
    environment: Environment = "production"
    rate: RateText | None = None


class MunicipalityEntry(Grammar):
    name: Text
    ags: Ags
    authorities: tuple[Authority, ...] = ()
    members: tuple[Text, ...] = ()
    values: dict[str, str] = Field(default_factory=dict)
    procedures: dict[str, Any] = Field(default_factory=dict)


class PartnerEntry(Grammar):
    authorities: tuple[PartnerAuthority, ...] = ()


# --- steps and checks ---------------------------------------------------------------------------------------------


class ConvertEntry(Grammar):
    from_: Text = Field(alias="from")
    to: Text
    fidelity: Literal["lossless", "lossy"]
    xslt: Text | None = None
    python: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> ConvertEntry:
        if (self.xslt is None) == (self.python is None):
            raise ValueError("expected exactly one of xslt and python")
        return self


class StepEntry(Grammar):
    xslt: Text | None = None
    python: Text | None = None
    validate_: Text | None = Field(default=None, alias="validate")
    convert: ConvertEntry | None = None

    @model_validator(mode="before")
    @classmethod
    def _kinds(cls, value: object) -> object:
        if not isinstance(value, dict | StepEntry):
            raise ValueError("expected a mapping of one of xslt, python, validate and convert")
        return value

    @model_validator(mode="after")
    def _one(self) -> StepEntry:
        if len(self.model_fields_set) != 1 or not (self.value or self.convert):
            raise ValueError("expected exactly one of xslt, python, validate and convert")
        return self

    @property
    def kind(self) -> Literal["xslt", "python", "validate"]:
        return "xslt" if self.xslt else "python" if self.python else "validate"

    @property
    def value(self) -> str:
        return self.xslt or self.python or self.validate_ or ""


class PlainCheckEntry(Grammar):
    """A check without settings."""


class SchematronEntry(Grammar):
    files: Texts = ()
    phase: Text | None = None


class SignatureEntry(Grammar):
    trust: Texts = Field(min_length=1)
    covers: Text | None = None


class CheckEntry(Grammar):
    xsd: Literal["full", "header"] | None = None  # `xsd: full` is the long form of `xsd`
    idref: PlainCheckEntry | None = None
    din91379: PlainCheckEntry | None = None
    codelists: Literal["lenient", "strict"] | None = None
    schematron: SchematronEntry | None = None
    signature: SignatureEntry | None = None

    @model_validator(mode="after")
    def _one(self) -> CheckEntry:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"expected exactly one of {', '.join(type(self).model_fields)}")
        return self


_SHORT: dict[str, Any] = {"xsd": "full", "idref": {}, "din91379": {}, "codelists": "lenient", "schematron": {}}
"""What the name of a check alone means."""


def _check(value: Any) -> Any:
    names = [value] if isinstance(value, str) else list(value) if isinstance(value, dict) else []
    for name in names:
        if name not in CheckEntry.model_fields:
            raise ValueError(unknown("check", name, CheckEntry.model_fields))
    if isinstance(value, str) and value not in _SHORT:
        raise ValueError(f"found {value!r} alone, expected `{value}: {{trust: FILE.pem}}`")
    return {value: _SHORT[value]} if isinstance(value, str) else value


_CheckName = Literal["xsd", "idref", "din91379", "codelists", "schematron"]
Steps: TypeAlias = tuple[StepEntry, ...]
Checks: TypeAlias = tuple[Annotated[CheckEntry, BeforeValidator(_check, _CheckName | CheckEntry)], ...]


# --- endpoints: the keys that belong to the hub, whatever the adapter ---------------------------------------------


class KeepRejectedEntry(Grammar):
    for_: BoundedSpan = Field(default=timedelta(days=7), alias="for")
    up_to: Size = 1_000_000_000


class OfficeEntry(Grammar):
    authority: Authority
    name: OfficeText
    email: OfficeText
    street: OfficeText
    number: Annotated[str, Field(pattern="^[0-9]{1,4}$")] | None = None
    postal_code: Annotated[str, Field(pattern="^[0-9]{5}$")]
    city: OfficeText


class InboundKeys(Grammar):
    adapter: Text
    max_body: Amount | None = None
    max_text: Amount | None = None
    keep_rejected: Annotated[KeepRejectedEntry, widened("for", KeepRejectedEntry)] = KeepRejectedEntry.model_construct()
    keep_accepted: BoundedSpan | None = None
    sender: Text | None = None
    environment: Environment = "production"
    insecure: Insecure | None = None
    on_reject: Literal["problem", "standard", "both"] = "problem"
    on_accept: Literal["receipt", "standard"] = "receipt"
    rejected_by: OfficeEntry | None = None


class RetryEntry(Grammar):
    first: Span | None = None
    factor: Annotated[float, Field(ge=1, le=100, allow_inf_nan=False)] | None = None
    ceiling: Span | None = None
    give_up_after: Span | None = None


class TimeoutEntry(Grammar):
    connect: Span | None = None
    total: Span | None = None


class AcceptsEntry(Grammar):
    type: TypeGlob
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None

    @model_validator(mode="after")
    def _forward(self) -> AcceptsEntry:
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError("expected an `until` after `from`")
        return self


def _something(entries: tuple[AcceptsEntry, ...]) -> tuple[AcceptsEntry, ...]:
    if not entries:
        raise ValueError("found no type, expected at least one; without the key everything is accepted")
    return entries


AcceptsEntries: TypeAlias = Annotated[
    tuple[Annotated[AcceptsEntry, widened("type", AcceptsEntry)], ...], AfterValidator(_something)
]


class MaintenanceEntry(Grammar):
    every: WeeklyText | None = None
    from_: Moment | None = Field(default=None, alias="from")
    until: Moment | None = None

    @model_validator(mode="after")
    def _one(self) -> MaintenanceEntry:
        once = self.from_ is not None and self.until is not None and self.from_ < self.until
        if once == (self.every is not None) or (self.every is not None and (self.from_ or self.until)):
            raise ValueError("expected hours such as So 02:00-04:00, or `from` and a later `until`")
        return self


class OutboundKeys(Grammar):
    adapter: Text
    environment: Environment = "production"
    retry: RetryEntry = RetryEntry.model_construct()
    on_unclear: Literal["retry", "hold"] | None = None
    max_in_flight: Annotated[int, Field(ge=1, le=256)] | None = None
    ordered_by: Order = "none"
    steps: Steps = ()
    timeout: TimeoutEntry = TimeoutEntry.model_construct()
    max_reply: Amount | None = None
    accepts: AcceptsEntries | None = None
    open: Annotated[tuple[WeeklyText, ...], *SEVERAL] = ()
    maintenance: tuple[Annotated[MaintenanceEntry, widened("every", MaintenanceEntry)], ...] = ()
    insecure: Insecure | None = None


# --- routes and tests ---------------------------------------------------------------------------------------------


class MatchEntry(Grammar):
    type: TypeGlob
    municipality: Texts | None = None
    partner: Texts | None = None
    sender: Texts | None = None
    author: Texts | None = None
    where: dict[str, Texts] = Field(default_factory=dict)


class TargetEntry(Grammar):
    to: Text
    steps: Steps = ()


Targets: TypeAlias = Annotated[
    tuple[Annotated[TargetEntry, widened("to", TargetEntry)], ...],
    BeforeValidator(several, str | list[str | TargetEntry]),
]


class RouteEntry(Grammar):
    match: MatchEntry
    checks: Checks | None = None
    accept: dict[Text, Literal["error", "warning"]] = Field(default_factory=dict)
    steps: Steps = ()
    allow_lossy: Flag = False
    deliver_to: Targets = Field(min_length=1)
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0


class ExpectEntry(Grammar):
    route: Text | None = None
    deliver_to: Texts | None = None
    rejected: Text | None = None

    @model_validator(mode="after")
    def _one(self) -> ExpectEntry:
        if (self.rejected is None) == (self.route is None and self.deliver_to is None):
            raise ValueError("expected either `rejected: CODE`, or `route` and `deliver_to`")
        return self


class TestEntry(Grammar):
    name: Text
    message: Text
    sender: Text | None = None
    expect: ExpectEntry
