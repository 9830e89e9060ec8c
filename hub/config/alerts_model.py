"""The grammar of the section ``alerts`` of routes.yaml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from hub.config.scalars import Grammar, Insecure, Span, Text, Texts
from hub.plugin import Flag, Secret, Size

_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}", re.ASCII)


def _server(text: str) -> str:
    if not _SERVER.fullmatch(text) or int(text.rpartition(":")[2]) > 65535:
        raise ValueError(f"found {text[:60]!r}, expected HOST:PORT such as mail.example:587")
    return text


class WebhookEntry(Grammar):
    url: Text
    token: Secret | None = None
    ca: Text | None = None
    insecure: Insecure | None = None


class MailEntry(Grammar):
    server: Annotated[str, AfterValidator(_server)]
    from_: Text = Field(alias="from")
    to: Annotated[Texts, Field(min_length=1, json_schema_extra={"minLength": 1})]
    username: Text | None = None
    password: Secret | None = None
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca: Text | None = None
    insecure: Insecure | None = None


class ChannelEntry(Grammar):
    webhook: WebhookEntry | None = None
    mail: MailEntry | None = None
    command: tuple[Text, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> ChannelEntry:
        if len(self.model_fields_set) != 1 or not (self.webhook or self.mail or self.command):
            raise ValueError("expected exactly one of webhook, mail and command")
        return self


class AlertsEntry(Grammar):
    tell: dict[str, ChannelEntry] = Field(default_factory=dict)
    oldest_waiting: Span | None = None
    disk_free: Annotated[Size, Field(ge=0)] | None = None
    rejected_rate: Annotated[int, Field(ge=1, le=100)] | None = None
    silence: Flag = True
