"""The grammar of a whole routes.yaml, for what describes it: it is read entry by entry (:mod:`hub.config.model`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from hub.config.alerts_model import AlertsEntry
from hub.config.model import Include, MunicipalityEntry, PartnerEntry, RouteEntry, SenderEntry, TestEntry
from hub.config.scalars import Grammar, widened


class RoutesFile(Grammar):
    """A whole file, for the JSON Schema; entries are validated one by one, so that a broken one hides no other."""

    version: Literal["1"]
    include: tuple[Annotated[Include, widened("path", Include)], ...] = ()
    senders: dict[str, SenderEntry] = Field(default_factory=dict)
    inbound: dict[str, Any] = Field(default_factory=dict)
    municipalities: dict[str, MunicipalityEntry] = Field(default_factory=dict)
    partners: dict[str, PartnerEntry] = Field(default_factory=dict)
    procedures: dict[str, Any] = Field(default_factory=dict)
    destinations: dict[str, Any] = Field(default_factory=dict)
    routes: dict[str, RouteEntry]
    alerts: AlertsEntry = AlertsEntry.model_construct()
    tests: tuple[TestEntry, ...] = ()
