"""What routes.yaml says of alerts. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, TypeAlias

from hub.plugin import SecretRef


@dataclass(frozen=True, slots=True)
class Webhook:
    """A POST of JSON."""

    url: str
    token: SecretRef | None = None
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail, by SMTP."""

    server: str  # HOST:PORT
    sender: str
    to: tuple[str, ...]
    username: str | None = None
    password: SecretRef | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A program that is given JSON on its standard input."""

    argv: tuple[str, ...]


Channel: TypeAlias = Webhook | Mail | Command


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """Who is told, and from when on something is wrong."""

    tell: Mapping[str, Channel] = field(default_factory=dict)
    oldest_waiting: timedelta = timedelta(hours=1)
    disk_free: int = 2_000_000_000
    rejected_rate: int = 50  # percent of what a sender hands in within an hour
    silence: bool = True
