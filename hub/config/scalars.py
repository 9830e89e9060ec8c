"""How the scalars of routes.yaml are read: each arrives as text, and says what was expected if it is something else."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from hub.config.globs import segments
from hub.hours import read_weekly
from hub.plugin import Duration, Size
from hub.rate import read_rate
from hub.xml.office import plain
from hub.xml.profile_file import BERLIN


class Grammar(BaseModel):
    """Base of everything here: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_AGS = re.compile(r"[0-9]{2}|[0-9]{3}|[0-9]{5}|[0-9]{8}|[0-9]{12}", re.ASCII)
_AUTHORITY = re.compile(r"[^\s:*?]+:[^\s*?]+")
_PARTNER_AUTHORITY = re.compile(r"[^\s:*?]+:(\*|[^\s*?]+)")
_GLOB = re.compile(r"[^\s/\[\]]+(/[^\s/\[\]]+){0,2}")
_LONGEST = timedelta(days=3660)


def _ags(text: str) -> str:
    if not _AGS.fullmatch(text):
        raise ValueError(f"found {text!r}, expected an AGS such as 03103000, a county's such as 03151, or an ARS")
    return text


def _authority(text: str) -> str:
    if not _AUTHORITY.fullmatch(text):
        raise ValueError(f"found {text!r}, expected an authority key PREFIX:NUMBER such as psw:03103000")
    return text


def _partner_authority(text: str) -> str:
    if not _PARTNER_AUTHORITY.fullmatch(text):
        raise ValueError(f"found {text!r}, expected an authority key such as bap:4711, or a whole prefix such as bap:*")
    return text


def _type(text: str) -> str:
    if not _GLOB.fullmatch(text):
        raise ValueError(f"found {text!r}, expected globs STANDARD/VERSION/NAME such as xgewerbeanzeige/2.2/*")
    return "/".join(segments(text))


def _positive(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST:
        raise ValueError("expected a duration of more than nothing and at most ten years")
    return value


def _bounded(value: timedelta) -> timedelta:
    if value > _LONGEST:
        raise ValueError("expected a duration of at most ten years")
    return value


def _reason(text: str) -> str:
    if text.lower() in ("", "true", "false", "yes", "no", "on", "off", "1", "0"):
        raise ValueError(f"found {text!r}, expected the reason why plaintext is acceptable here")
    return text


def _order(text: str) -> str:
    if text not in ("none", "sender", "recipient") and not re.fullmatch(r"key:\S+", text):
        raise ValueError(f"found {text!r}, expected none, sender, recipient or key:NAME")
    return text


def _moment(value: Any) -> Any:
    try:
        at = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"found {value!r}, expected a date or time such as 2026-05-02T18:00 (in Berlin)") from None
    return at if at.tzinfo else at.replace(tzinfo=BERLIN)


def _office_text(text: str) -> str:
    if text != plain(text) or not 0 < len(text) <= 100:
        raise ValueError(f"found {text!r}, expected 1 to 100 plain letters, digits and signs")
    return text


def several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


SEVERAL = (
    BeforeValidator(several),
    # Written out: of types, pydantic would make this for each field before it reads anything.
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
)
"""One text where a list may stand."""


def widened(key: str, entry: Any) -> BeforeValidator:
    """Let a text stand for ``{key: text}``; editors are told both forms."""
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value, str | entry)


def _weekly(text: str) -> str:
    read_weekly(text)
    return text


def _rate(text: str) -> str:
    read_rate(text)
    return text


Ags: TypeAlias = Annotated[str, AfterValidator(_ags)]
Authority: TypeAlias = Annotated[str, AfterValidator(_authority)]
PartnerAuthority: TypeAlias = Annotated[str, AfterValidator(_partner_authority)]
Order: TypeAlias = Annotated[str, AfterValidator(_order)]
BoundedSpan: TypeAlias = Annotated[Duration, AfterValidator(_bounded)]
Span: TypeAlias = Annotated[Duration, AfterValidator(_positive)]
TypeGlob: TypeAlias = Annotated[str, AfterValidator(_type)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]
OfficeText: TypeAlias = Annotated[str, AfterValidator(_office_text)]
Texts: TypeAlias = Annotated[tuple[Text, ...], *SEVERAL]
TypeGlobs: TypeAlias = Annotated[tuple[TypeGlob, ...], *SEVERAL]
Amount: TypeAlias = Annotated[Size, Field(ge=1, le=4_000_000_000)]
Environment: TypeAlias = Literal["production", "test"]
Moment: TypeAlias = Annotated[datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string"})]
WeeklyText: TypeAlias = Annotated[str, AfterValidator(_weekly)]
RateText: TypeAlias = Annotated[str, AfterValidator(_rate)]
Insecure: TypeAlias = Annotated[str, AfterValidator(_reason)]
