"""Sources and destinations: the hub's own keys, the adapter's settings, and what a procedure lends to both.

as written ─▶ merged with its procedure ─▶ placeholders filled ─┬▶ keys of the hub ─────────┬▶ Destination
                                                                └▶ settings of the adapter ─┘
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, NoReturn

from pydantic import ValidationError

from hub.config.document import Node
from hub.config.include import inside
from hub.config.inherit import values_of, with_procedure
from hub.config.model import InboundKeys, KeepRejectedEntry, OutboundKeys
from hub.config.network import check_addresses
from hub.config.placeholders import Filling
from hub.config.report import Place
from hub.config.run import Run
from hub.config.standards import check_type
from hub.config.steps import read_steps
from hub.config.validate import found, locate, note_all, validated
from hub.deployment import Accepts, Destination, KeepRejected, Municipality, Source
from hub.hours import Hours, Window, read_weekly
from hub.plugin import RESERVED_IN, RESERVED_OUT, Adapter, Context, Limits, SecretRef, Settings
from hub.plugins import check_settings, read_settings
from hub.retry import RetryPolicy
from hub.xml import guard
from hub.xml.office import Office

WARNING = "warning: "  # how an adapter's check marks advice
UNCLEAR_MUST_BE_WRITTEN = frozenset({"soap"})  # a repeated document may be taken twice: somebody must decide that


@dataclass(slots=True)
class Endpoints:
    """Reads the endpoints of one configuration; each adapter is looked for once."""

    run: Run
    municipalities: Mapping[str, Municipality]
    _adapters: dict[tuple[str, str], Adapter | str] = field(default_factory=dict)

    # --- destinations
    def effective(self, name: str, node: Node) -> Node | None:
        """Return all keys of the destination ``name``, merged and filled, or ``None`` after noting why not."""
        owner, _, service = name.partition("/")
        if not isinstance(node.value, dict):
            self.run.report.add(node.place, f"found {found(node)}, expected a mapping such as {{like: PROCEDURE}}")
            return None
        merged = with_procedure(node, self.run)
        if merged is None:
            return None
        adapter = self.adapter(merged, "out")
        if adapter is None:
            return None
        return self._filling(owner, service, node.key_place, adapter).fill(merged, self.run.report)

    def destination(self, name: str, node: Node) -> Destination | None:
        """Return a destination, or ``None`` after noting every problem of it."""
        filled = self.effective(name, node)
        adapter = self.adapter(filled, "out") if filled is not None else None
        if filled is None or adapter is None:
            return None
        hub_part, own_part = _split(filled, RESERVED_OUT)
        keys = validated(OutboundKeys, hub_part, self.run.report)
        settings = self._settings(adapter, own_part)
        if keys is None or settings is None:
            return None
        owner, _, service = name.partition("/")
        destination = Destination(
            name=name,
            municipality=owner if owner in self.municipalities else None,
            service=service,
            adapter=adapter.name,
            settings=settings,
            retry=self._retry(keys, filled),
            limits=self._outbound_limits(keys, filled),
            ordered_by=self._ordered_by(keys, filled),
            steps=read_steps(keys.steps, filled.items.get("steps"), self.run),
            accepts=self._accepts(keys, filled),
            hours=_hours(keys),
            environment=keys.environment,
            insecure=keys.insecure,
        )
        check_addresses(own_part, keys.insecure, self.run.report)
        context = replace(
            self._context(name, destination.limits, keys.environment, keys.insecure),
            municipality=destination.municipality,
            service=service,
        )
        self._own_check(adapter, settings, context, own_part)
        return destination

    def _filling(self, owner: str, service: str, used_at: Place, adapter: Adapter) -> Filling:
        names = {"service": service}
        is_municipality = owner in self.run.names("municipalities")
        if is_municipality:
            names["municipality"] = owner
            names |= {f"municipality.values.{key}": value for key, value in self._values(owner).items()}
        return Filling(names, adapter.placeholders, used_at, owner if is_municipality else None)

    def _values(self, owner: str) -> Mapping[str, str]:
        municipality = self.municipalities.get(owner)
        if municipality is not None:
            return values_of(municipality, self.municipalities)
        # Something else is wrong with it; its procedures are checked all the same.
        values = self.run.names("municipalities")[owner].items.get("values")
        return {key: node.text or "" for key, node in (values.items if values is not None else {}).items()}

    def _retry(self, keys: OutboundKeys, node: Node) -> RetryPolicy:
        if keys.on_unclear is None and keys.adapter in UNCLEAR_MUST_BE_WRITTEN:
            at = node.items["adapter"]
            text = (
                "'on_unclear' is missing; for soap it must be written: `retry` may deliver twice, `hold` asks a person"
            )
            self.run.report.add(at.place, text)
        given = {key: value for key, value in keys.retry.model_dump().items() if value is not None}
        policy = RetryPolicy(**given, on_unclear=keys.on_unclear or "retry")
        if policy.ceiling < policy.first:
            at = node.items["retry"]
            self.run.report.add(at.place, "expected a `ceiling` that is not shorter than `first`")
        return policy

    def _outbound_limits(self, keys: OutboundKeys, node: Node) -> Limits:
        usual = Limits()
        limits = Limits(
            connect=keys.timeout.connect or usual.connect,
            total=keys.timeout.total or usual.total,
            max_in_flight=keys.max_in_flight or usual.max_in_flight,
            max_reply=keys.max_reply or usual.max_reply,
        )
        if limits.connect > limits.total:
            if keys.timeout.connect is not None:
                self.run.report.add(node.items["timeout"].place, "expected `connect` not to be longer than `total`")
            limits = replace(limits, connect=limits.total)
        return limits

    def _ordered_by(self, keys: OutboundKeys, node: Node) -> str | None:
        name = keys.ordered_by.removeprefix("key:")
        if name != keys.ordered_by:
            known = {key for profile in self.run.registry.profiles.values() for key in profile.keys}
            self.run.known("key", name, known, node.items["ordered_by"])
        return None if keys.ordered_by == "none" else keys.ordered_by

    def _accepts(self, keys: OutboundKeys, node: Node) -> tuple[Accepts, ...]:
        written = node.items.get("accepts")
        items = written.value if written is not None and isinstance(written.value, list) else []
        for entry, item in zip(keys.accepts or (), items, strict=True):
            # A version may be named before its schema is here: what comes next is agreed on early.
            check_type(entry.type, item.items.get("type", item), self.run, unknown_version="warning")
        return tuple(Accepts(one.type, one.from_, one.until) for one in keys.accepts or ())

    # --- sources
    def source(self, name: str, node: Node) -> Source | None:
        """Return a source, or ``None`` after noting every problem of it."""
        report = self.run.report
        if not isinstance(node.value, dict):
            report.add(node.place, f"found {found(node)}, expected a mapping")
            return None
        adapter = self.adapter(node, "in")
        if adapter is None:
            return None
        hub_part, own_part = _split(node, RESERVED_IN)
        keys = validated(InboundKeys, hub_part, report)
        settings = self._settings(adapter, own_part)
        if keys is None or settings is None:
            return None
        limits = Limits(max_body=keys.max_body or Limits().max_body, max_text=keys.max_text or Limits().max_text)
        check_addresses(own_part, keys.insecure, report)
        senders = self._senders(keys, settings, node)
        context = replace(self._context(name, limits, keys.environment, keys.insecure), sender=keys.sender)
        self._own_check(adapter, settings, context, own_part)
        return Source(
            name=name,
            adapter=adapter.name,
            settings=settings,
            senders=senders,
            limits=limits,
            keep_rejected=_kept(keys.keep_rejected),
            keep_accepted=keys.keep_accepted,
            environment=keys.environment,
            insecure=keys.insecure,
            every=getattr(settings, "every", None),
            on_reject=keys.on_reject,
            on_accept=keys.on_accept,
            rejected_by=Office(**keys.rejected_by.model_dump()) if keys.rejected_by else None,
        )

    def _senders(self, keys: InboundKeys, settings: Settings, node: Node) -> tuple[str, ...]:
        senders = self.run.names("senders")
        if keys.sender is not None:
            self.run.known("sender", keys.sender, senders, node.items["sender"])
            return (keys.sender,)
        named = getattr(settings, "senders", None)
        if not isinstance(named, Mapping) or not named:
            self.run.report.add(node.key_place, "nobody may hand in here: expected `sender` or `senders`")
            return ()
        for name, entry in node.items["senders"].items.items():
            self.run.known("sender", name, senders, replace(entry, line=entry.key[0], column=entry.key[1]))
        return tuple(str(name) for name in named)

    # --- both
    def adapter(self, node: Node, direction: str) -> Adapter | None:
        """Return the adapter that a node names, or ``None`` after noting why there is none."""
        at = node.items.get("adapter")
        if at is None:
            expected = "`adapter` or `like`" if direction == "out" else "`adapter`"
            self.run.report.add(node.key_place, f"'adapter' is missing, expected {expected}")
            return None
        if not at.text:
            self.run.report.add(at.place, f"found {found(at)}, expected the name of an adapter")
            return None
        known = self._adapters.get((at.text, direction))
        if known is None:
            try:
                known = self.run.find_adapter(at.text, direction)
            except LookupError as error:
                known = str(error)
            self._adapters[at.text, direction] = known
        if isinstance(known, str):
            self.run.report.add(at.place, known)
            return None
        return known

    def _settings(self, adapter: Adapter, node: Node) -> Settings | None:
        settings = read_settings(adapter, node.plain())
        if isinstance(settings, ValidationError):
            note_all(settings, node, adapter.settings, self.run.report)
            return None
        if isinstance(settings, str):
            self.run.report.add(node.key_place, settings)
            return None
        return settings

    def _own_check(self, adapter: Adapter, settings: Settings, context: Context, node: Node) -> None:
        told = []
        for path, text in check_settings(adapter, settings, context, thorough=self.run.thorough):
            at = locate(node, path)
            place = at.key_place if at is node else at.place
            if not self.run.report.has(place):  # one fault, one problem, even if both of us see it
                told.append((place, _at(path, text) if path and at is node else text))
        for place, text in told:
            is_advice = text.startswith(WARNING)
            self.run.report.add(place, text.removeprefix(WARNING), level="warning" if is_advice else "error")

    def _context(self, name: str, limits: Limits, environment: str, insecure: str | None) -> Context:
        return Context(
            name=name,
            log=_Silent(),
            clock=partial(datetime.now, UTC),
            base=self.run.files.base,
            read=self._read,
            secret=_no_secret,
            parse=partial(guard.parse, limits=guard.XmlLimits(max_body=limits.max_body)),
            tls=_no_tls,
            limits=limits,
            environment=environment,
            insecure=insecure,
        )

    def _read(self, path: str) -> bytes:
        name = inside(path)
        if name is None:
            raise PermissionError(1, "expected a path inside the folder of routes.yaml", path)
        return self.run.files.read(name)


def _split(node: Node, reserved: Iterable[str]) -> tuple[Node, Node]:
    """Return the keys that belong to the hub, and those that belong to the adapter."""
    hub_part = {key: child for key, child in node.items.items() if key in reserved}
    own_part = {key: child for key, child in node.items.items() if key not in reserved}
    return node.with_value(hub_part), node.with_value(own_part)


def _kept(entry: KeepRejectedEntry) -> KeepRejected:
    return KeepRejected(entry.for_, entry.up_to)


def _hours(keys: OutboundKeys) -> Hours:
    weekly = tuple(span for text in keys.open for span in read_weekly(text))
    down = tuple(span for one in keys.maintenance if one.every for span in read_weekly(one.every))
    once = tuple(Window(one.from_, one.until) for one in keys.maintenance if one.from_ and one.until)
    return Hours(weekly, down, once, _said(keys))


def _said(keys: OutboundKeys) -> str:
    """Return when it is open and when it is not, as people have written it; nothing where it always is."""
    spans = [f"{one.from_:%Y-%m-%d %H:%M} to {one.until:%Y-%m-%d %H:%M}" if one.from_ and one.until else one.every
             for one in keys.maintenance]  # fmt: skip
    said = ", ".join(keys.open)
    return f"{said or 'always'}, but not {', '.join(filter(None, spans))}" if spans else said


class _Silent:
    """A log for checks: what is wrong becomes a problem and not an event."""

    def debug(self, event: str, **keys: Any) -> None:
        """Say nothing."""

    info = warning = error = debug


def _no_secret(_: SecretRef) -> NoReturn:
    raise KeyError("secrets are not read while the configuration is checked")


def _no_tls(_: object) -> NoReturn:
    raise OSError(1, "certificates are not read while the configuration is checked")


def _at(path: Sequence[str], text: str) -> str:
    """Return what an adapter says of a key that is not written, with the key's name and its mark kept in front."""
    advice = text.removeprefix(WARNING)
    return f"{WARNING if advice != text else ''}{'.'.join(path)}: {advice}"
