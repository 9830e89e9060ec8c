"""The heart: what a document is, whether it is acceptable, and what is to be sent where. Pure.

    guard → parse → identify → read header → check → address → match  ═▶ Verdict
                                                    └─ per destination: steps → target check ═▶ bytes to send

Intake, ``explain``, route tests, dry runs and replays all call :func:`inspect`; nothing else knows these rules.
A worker process calls the two halves, :func:`examine` and :func:`perform`, so that the verdict is out before the
first step runs. Neither clock nor chance is asked: ids and times come with the document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from lxml import etree

from hub.checking import run_checks
from hub.conversion import NOT_ACCEPTED, not_accepted, way
from hub.deployment import Deployment, Route, Sender, Source
from hub.errors import Rejected
from hub.message import (
    NOTHING,
    Checked,
    DeliveryId,
    Finding,
    Header,
    Incoming,
    Message,
    MessageType,
    Outgoing,
    derived_id,
)
from hub.outcome import Reason
from hub.plugin import Step
from hub.routing import (
    Addressee,
    Considered,
    Directory,
    Facts,
    Leg,
    choose,
    consider,
    legs,
    may_address,
    may_send,
    order_key,
)
from hub.xml import detection, guard, header, trees
from hub.xml.checks.table import Checks
from hub.xml.checks.values import Check, Document
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs

if TYPE_CHECKING:
    from hub.xml.answers import Answering

FINDINGS_MAX = 100

_limits = cache(guard.XmlLimits)  # there are as few as sources


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One immutable, hashed state of configuration, schemas and stylesheets, compiled and ready."""

    digest: str
    deployment: Deployment
    directory: Directory
    registry: Registry
    steps: Mapping[tuple[str, str], Step] = field(repr=False)  # by (kind, value)
    checks: Checks = field(repr=False)
    answering: Mapping[MessageType, Answering] = field(default_factory=dict, repr=False)  # rejections that can be built
    programs: Programs = field(default_factory=Programs, repr=False)  # compiled anew in each process


@dataclass(frozen=True, slots=True)
class Heading:
    """Where one delivery will go: all that is known before the first step runs."""

    id: DeliveryId
    destination: str | None
    route: str | None
    order_key: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An acceptable document: what it is, whose it is, and where it will go."""

    header: Header
    identity: str
    recipient: str | None
    owner: str | None
    test: bool
    route: str | None
    checks: tuple[Checked, ...]
    findings: tuple[Finding, ...]  # warnings
    headings: tuple[Heading, ...]
    snapshot: str
    business_keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examined:
    """A verdict, and the way to each of its destinations: what the second half needs of the first."""

    verdict: Verdict
    legs: Sequence[Leg]  # one for each heading; none, where no route leads anywhere


@dataclass(frozen=True, slots=True)
class Planned:
    """One delivery of a plan: the bytes to send, or the reason why it is born dead.

    ``body`` is ``None`` where the original bytes go out unchanged. Findings beside bytes are warnings.
    """

    heading: Heading
    body: bytes | None = field(default=None, repr=False)
    content_type: str = "application/xml"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    reason: str = ""
    code: str = ""  # the rule of the first finding
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What the hub will do with an accepted document. ``deliveries`` is never empty."""

    verdict: Verdict
    deliveries: tuple[Planned, ...]


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a document is not acceptable, and what was known of it until then."""

    code: str  # none: it is acceptable and on disk, and its sender shall be told so by a worker
    findings: tuple[Finding, ...] = ()
    header: Header | None = None
    type: MessageType | None = None
    recipient: str | None = None
    owner: str | None = None
    test: bool = False
    snapshot: str = ""
    checks: tuple[Checked, ...] = ()
    document: bytes | None = field(default=None, repr=False)  # the same in the standard's form; carries the original


def inspect(incoming: Incoming, snapshot: Snapshot) -> Plan | Rejection:
    """Return what is to be done with a document, or why it is not acceptable."""
    examined = examine(incoming, snapshot)
    if isinstance(examined, Rejection):
        return examined
    return Plan(examined.verdict, tuple(perform(incoming, examined, snapshot)))


# --- first half: the verdict -------------------------------------------------------------------------------------


def examine(incoming: Incoming, snapshot: Snapshot) -> Examined | Rejection:
    """Return the verdict on a document, before any step has run."""
    examination = _Examination(incoming, snapshot)
    try:
        return examination.examined()
    except Rejected as rejected:
        return examination.rejection(rejected)


class _Examination:
    """Finds out about one document, step by step; a rejection tells what was known by then."""

    def __init__(self, incoming: Incoming, snapshot: Snapshot) -> None:
        self._incoming, self._snapshot = incoming, snapshot
        self._sender = snapshot.deployment.senders.get(incoming.sender)
        self._source = snapshot.deployment.sources.get(incoming.source)
        self._type: MessageType | None = None
        self._header: Header | None = None
        self._addressee: Addressee | None = None
        self._owner: str | None = None
        self._test = False
        self._checks: tuple[Checked, ...] = ()

    def rejection(self, rejected: Rejected) -> Rejection:
        return Rejection(
            code=rejected.code,
            findings=rejected.findings[:FINDINGS_MAX],
            header=self._header,
            type=self._type,
            recipient=self._addressee.key if self._addressee else None,
            owner=self._owner,
            test=self._test,
            snapshot=self._snapshot.digest,
            checks=self._checks,
        )

    def examined(self) -> Examined:
        """Parse, identify, read the header, address, match, check.

        Raises:
            Rejected: The document is not acceptable.
        """
        own = self._snapshot.deployment.limits_of(self._incoming.source)
        body, charset = self._incoming.body, self._incoming.charset
        root = trees.parse(body, charset=charset, limits=_limits(max_body=own.max_body, max_text=own.max_text))
        profile = self._identify(root)
        reading = header.read(root, profile)
        self._header, self._type = reading.header, reading.header.type
        self._test = _is_test(self._snapshot.deployment, reading.header, self._sender, self._source)
        self._address(reading.header, profile)
        self._refuse_what_the_sender_may_not(self._type)

        facts = _facts(self._incoming, reading.header, self._addressee)
        route = choose(self._snapshot.deployment, facts)
        warnings = self._check(root, profile, route, reading.findings)
        if self._addressee is None:
            raise Rejected("unknown_recipient", [_unknown_recipient(reading, profile)])
        found = self._legs(route)
        verdict = Verdict(
            header=reading.header,
            identity=_identity(self._incoming, reading.header, profile),
            recipient=self._addressee.key,
            owner=self._owner,
            test=self._test,
            route=route.name if route else None,
            checks=self._checks,
            findings=warnings,
            headings=_headings(self._incoming, route.name if route else None, found, facts),
            snapshot=self._snapshot.digest,
            business_keys=tuple(profile.business_keys),
        )
        return Examined(verdict, found)

    def _identify(self, root: etree._Element) -> Profile:
        try:
            return self._snapshot.registry.identify(root, self._incoming.received_at or datetime.now(UTC))
        except Rejected:
            self._header = detection.detect(root).reading.header  # for whoever asks what it might be
            raise

    def _address(self, header_: Header, profile: Profile) -> None:
        directory = self._snapshot.directory
        self._addressee = directory.addressee(
            header_, has_reader=profile.has_reader, sender=self._sender, recipient=self._incoming.recipient
        )
        self._owner = directory.owner(self._addressee, header_, self._sender)

    def _refuse_what_the_sender_may_not(self, type_: MessageType) -> None:
        sender, addressee = self._sender, self._addressee
        if sender and not may_send(sender, type_):
            text = f"{sender.name} may not send {type_}"
            raise Rejected("sender_may_not", [Finding("may_send", text=text)])
        if sender and addressee and not may_address(sender, addressee):
            text = f"{sender.name} may not address {addressee.key}"
            raise Rejected("sender_may_not", [Finding("may_address", text=text)])

    def _check(
        self, root: etree._Element, profile: Profile, route: Route | None, about_header: Sequence[Finding]
    ) -> tuple[Finding, ...]:
        """Return the warnings; a document with an error is rejected, and so is one that could not be checked."""
        checks = [spec.check for spec in route.checks] if route else [Check("xsd", level=profile.level)]
        document = Document(root, profile, self._incoming.received_at or datetime.now(UTC), self._incoming.body)
        accept = route.accept if route else {}
        result = run_checks(checks, document, self._snapshot.checks, accept=accept, about_header=about_header)
        self._checks = result.checks
        if result.code:
            raise Rejected(result.code, result.findings)
        return result.findings

    def _legs(self, route: Route | None) -> Sequence[Leg]:
        if route is None:
            return ()
        found, left_out = legs(self._snapshot.deployment, route, self._addressee, test=self._test)
        if self._test and left_out and not found:
            text = f"a test message; {', '.join(left_out)} serves production only"
            raise Rejected("test_message", [Finding("test_message", text=text)])
        return found


def considered(incoming: Incoming, result: Plan | Rejection, deployment: Deployment) -> Sequence[Considered]:
    """Return for each route why it did or did not match the document of a result. For people: messages pay nothing."""
    header_ = result.header if isinstance(result, Rejection) else result.verdict.header
    if header_ is None or (isinstance(result, Rejection) and result.type is None):
        return ()
    recipient = result.recipient if isinstance(result, Rejection) else result.verdict.recipient
    addressee = Directory(deployment).named(recipient) if recipient else None
    return consider(deployment, _facts(incoming, header_, addressee))


def _facts(incoming: Incoming, header_: Header, addressee: Addressee | None) -> Facts:
    return Facts(header_.type, addressee, incoming.sender or None, header_.author, header_.keys)


def _is_test(deployment: Deployment, header_: Header, sender: Sender | None, source: Source | None) -> bool:
    own = [one.environment for one in (sender, source) if one]
    return header_.test or deployment.stage == "test" or "test" in own


def _unknown_recipient(reading: header.Reading, profile: Profile) -> Finding:
    if not profile.has_reader:
        return Finding("unknown_recipient", text="the document names no reader; send the header Recipient")
    path, line = reading.reader_at
    reader = reading.header.reader
    text = f"{reader} is no authority of this hub" if reader else "the document names nobody as its reader"
    return Finding("unknown_recipient", path, line, text)


def _identity(incoming: Incoming, header_: Header, profile: Profile) -> str:
    if incoming.idempotency_key:
        return f"key:{incoming.idempotency_key}"
    if profile.identity == "message_id" and header_.message_id:
        # Hashed: some standards let people write the id, and this column is never erased.
        return f"id:{hashlib.sha256(header.comparable(header_.message_id).encode()).hexdigest()}"
    return f"sha256:{incoming.digest}"


def _headings(incoming: Incoming, route: str | None, found: Sequence[Leg], facts: Facts) -> tuple[Heading, ...]:
    origin = incoming.plan_id or incoming.id
    if not found:
        return (Heading(DeliveryId(derived_id(origin, "")), None, route),)
    names = [(leg, leg.destination.name) for leg in found]
    return tuple(
        Heading(DeliveryId(derived_id(origin, name)), name, route, order_key(leg, facts)) for leg, name in names
    )


# --- second half: the bytes to send ------------------------------------------------------------------------------


def perform(
    incoming: Incoming, examined: Examined, snapshot: Snapshot, *, skip: Mapping[str, str] = NOTHING
) -> Iterator[Planned]:
    """Yield each delivery as its steps have run. ``skip`` names destinations whose steps killed a worker, and why."""
    verdict = examined.verdict
    if not examined.legs:
        yield Planned(verdict.headings[0], reason=Reason.NO_ROUTE)
        return
    type_, at = verdict.header.type, incoming.planned_at or incoming.received_at or datetime.now(UTC)
    ways = [way(leg, type_, at) for leg in examined.legs]
    message = message_of(incoming, verdict) if any(ways) else None  # its digest costs as much as its header
    for heading, leg, specs in zip(verdict.headings, examined.legs, ways, strict=True):
        if leg.destination.name in skip:
            yield Planned(heading, reason=Reason.TRANSFORM_FAILED, code=skip[leg.destination.name])
        elif specs is None:
            finding = not_accepted(leg, type_, at)
            yield Planned(heading, reason=Reason.TARGET_INVALID, code=NOT_ACCEPTED, findings=(finding,))
        elif message is None:
            yield Planned(heading)
        else:
            yield _run([snapshot.steps[spec.key] for spec in specs], heading, message, incoming)


def message_of(incoming: Incoming, verdict: Verdict) -> Message:
    """Return the accepted message that a document becomes."""
    return Message(
        id=incoming.id,
        header=verdict.header,
        source=incoming.source,
        sender=incoming.sender,
        owner=verdict.owner,
        recipient=verdict.recipient,
        received_at=incoming.received_at or datetime.now(UTC),
        sha256=incoming.digest,
        snapshot=verdict.snapshot,
        test=verdict.test,
        sender_reference=incoming.sender_reference,
        body=incoming.body,
    )


def _run(steps: Sequence[Step], heading: Heading, message: Message, incoming: Incoming) -> Planned:
    outgoing = Outgoing(
        delivery_id=heading.id,
        destination=heading.destination or "",
        message=message,
        body=incoming.body,
        parts=incoming.parts,
    )
    try:
        for step in steps:
            outgoing = step(outgoing)
    except Rejected as rejected:
        reason = Reason.TARGET_INVALID if rejected.code == "target_invalid" else Reason.TRANSFORM_FAILED
        rule = rejected.findings[0].rule if rejected.findings else rejected.code
        return Planned(heading, reason=reason, code=rule, findings=rejected.findings[:FINDINGS_MAX])
    return Planned(
        heading,
        body=outgoing.body if outgoing.body != incoming.body else None,
        content_type=outgoing.content_type,
        headers=dict(outgoing.headers),
        findings=outgoing.findings[:FINDINGS_MAX],
    )
