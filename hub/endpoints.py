"""From configured endpoints to running adapters: what each is lent, and whether its secrets have changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any

from pydantic import BaseModel

from hub import plugins, secrets, tls
from hub.certificates import Expiry, own
from hub.deployment import Deployment, Destination, Source
from hub.files import Files
from hub.log import get_log
from hub.plugin import Adapter, Context, OutboundAdapter, Room, SecretRef, SenderDesk, Settings, TlsSettings
from hub.xml import guard
from hub.xml.transform import INSIDE


class Endpoints:
    """Builds the adapters of one deployment. Construction has no side effects; ``open`` and ``listen`` do."""

    def __init__(self, deployment: Deployment, files: Files, clock: Callable[[], datetime]) -> None:
        self._deployment, self._files, self._clock = deployment, files, clock
        self._secrets = secrets.Secrets(deployment.base)
        self.shown: Callable[[str, bytes], None] = lambda _place, _der: None
        self._references: dict[int, tuple[Settings, tuple[SecretRef, ...]]] = {}

    def outbound(self, destination: Destination) -> OutboundAdapter:
        """Return the adapter behind a destination, not opened yet."""
        adapter = plugins.find_adapter(destination.adapter, "out")
        assert adapter.outbound is not None
        made: OutboundAdapter = adapter.outbound(destination.settings, self._destination_context(destination))
        return made

    def inbound(self, source: Source, desk: SenderDesk, room: Room) -> tuple[Adapter, Any]:
        """Return what offers the source's adapter, and the listener or poller itself."""
        adapter = plugins.find_adapter(source.adapter, "in")
        factory = adapter.listener or adapter.poller
        assert factory is not None
        return adapter, factory(source.settings, self._source_context(source, desk, room))

    def fingerprint(self, settings: Settings) -> str:
        """Return a value that changes when a secret or certificate file of these settings changes.

        It is this object's own: those of two objects say nothing of each other.
        """
        total = hashlib.sha256()
        for reference in self._referred(settings):
            total.update(self._secrets.version(reference).encode())
        return total.hexdigest()

    def _referred(self, settings: Settings) -> tuple[SecretRef, ...]:
        """Return what secrets and certificates settings name; looked up once, as each attempt asks for it."""
        known = self._references.get(id(settings))
        if known is None or known[0] is not settings:
            certificates = (SecretRef("file", path) for path in _certificates_of(settings))
            known = self._references[id(settings)] = (settings, (*_secrets_of(settings), *certificates))
        return known[1]

    def _destination_context(self, destination: Destination) -> Context:
        # One guard for what goes out, whose size its source has judged, and for replies, which are capped by max_reply.
        return Context(
            name=destination.name,
            limits=destination.limits,
            environment=destination.environment,
            insecure=destination.insecure,
            municipality=destination.municipality,
            service=destination.service,
            **self._lent(destination.name, INSIDE),
        )

    def _source_context(self, source: Source, desk: SenderDesk, room: Room) -> Context:
        return Context(
            name=source.name,
            limits=source.limits,
            environment=source.environment,
            insecure=source.insecure,
            sender=source.senders[0] if len(source.senders) == 1 else None,
            on_reject=source.on_reject,
            on_accept=source.on_accept,
            desk=desk,
            room=room,
            server_tls=partial(tls.server_context, base=self._deployment.base),
            **self._lent(
                source.name, guard.XmlLimits(max_body=source.limits.max_body, max_text=source.limits.max_text)
            ),
        )

    def expiries(self) -> Iterator[Expiry]:
        """Yield the certificates that lie here: own ones, trusted ones, and those among the secrets."""
        endpoints: list[Destination | Source] = [*self._deployment.destinations.values()]
        endpoints += self._deployment.sources.values()
        named = ((one.name, role, file) for one in endpoints for role, file in self._files_of(one))
        return own(named, self._deployment.base)

    def _files_of(self, endpoint: Destination | Source) -> Iterator[tuple[str, str]]:
        mine = "client" if isinstance(endpoint, Destination) else "server"
        for model in _models(endpoint.settings):
            if isinstance(model, TlsSettings):
                yield from ((role, file) for role, file in ((mine, model.certificate), ("ca", model.ca)) if file)
                yield from [("ca", model.client_ca)] if model.client_ca else []
        yield from (("secret", one.name) for one in _secrets_of(endpoint.settings) if one.kind == "file")

    def _lent(self, name: str, xml: guard.XmlLimits) -> dict[str, Any]:
        return {
            "log": get_log("adapters"),
            "clock": self._clock,
            "base": self._deployment.base,
            "read": self._files.read,
            "secret": self._secrets.read,
            "parse": partial(guard.parse, limits=xml),
            "tls": partial(tls.client_context, base=self._deployment.base, shown=lambda der: self.shown(name, der)),
        }


def _models(settings: object) -> Iterator[BaseModel]:
    if isinstance(settings, BaseModel):
        yield settings
        for name in type(settings).model_fields:
            yield from _models(getattr(settings, name))
    elif isinstance(settings, dict):
        for value in settings.values():
            yield from _models(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _models(value)


def _secrets_of(settings: object) -> Iterator[SecretRef]:
    for model in _models(settings):
        for name in type(model).model_fields:
            value = getattr(model, name)
            values = value if isinstance(value, list | tuple) else [value]
            yield from (one for one in values if isinstance(one, SecretRef))


def _certificates_of(settings: object) -> Iterator[str]:
    for model in _models(settings):
        if isinstance(model, TlsSettings):
            yield from (path for path in (model.certificate, model.key, model.ca, model.client_ca) if path)
