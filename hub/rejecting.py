"""Which message of its standard tells a sender what became of its document. Only worker processes build one.

rejected: its profile's reject_with; not known: those with  ─┐
its root, else all that its sender may hand in, if they agree├─▶ Answering ─▶ bytes, or none: the hub's own word
on disk: its profile's receipt_with ─────────────────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from lxml import etree

from hub.config.rejections import may_send, ready, wanted
from hub.deployment import Deployment, Source
from hub.errors import Rejected
from hub.inspection import Rejection, Snapshot
from hub.message import Header, Incoming, MessageType, derived_id
from hub.versions import versions
from hub.xml import guard, header, trees
from hub.xml.answers import Answering, Judgement, Original, bound
from hub.xml.profile import Profile
from hub.xml.registry import Registry


def profiles_of(deployment: Deployment, registry: Registry) -> Mapping[MessageType, Profile]:
    """Return the messages that may have to be built and can be, with the profiles to bind for them."""
    found: dict[MessageType, Profile] = {}
    for source in deployment.sources.values():
        for type_ in wanted(source, deployment, registry):
            profile = ready(type_, registry)
            if profile is not None and type_.name in profile.answers:
                found[type_] = bound(profile)
    return found


def load(profiles: Mapping[MessageType, Profile], registry: Registry) -> Mapping[MessageType, Answering]:
    """Return what builds each message, once the bindings are active in this process."""
    version = versions()["hub"]
    return {type_: Answering(type_, one, registry.schema(one), version) for type_, one in profiles.items()}


def wants(incoming: Incoming, snapshot: Snapshot) -> bool:
    """Tell whether a document's source sends messages in the standard's own form, and some can be built."""
    source = snapshot.deployment.sources.get(incoming.source)
    return source is not None and source.speaks_standard and bool(snapshot.answering)


def document(incoming: Incoming, rejection: Rejection, snapshot: Snapshot) -> bytes | None:
    """Return the rejection in the standard's own form, or the receipt of what is on disk: that has no code.

    ``None``: the source wants none, or there is none. It may carry the original, hence it goes back to its sender and
    nowhere else.
    """
    source = snapshot.deployment.sources.get(incoming.source)
    if source is None or source.rejected_by is None or not _wanted(rejection, source):
        return None
    root = _root(incoming, rejection, snapshot)
    profile = _profile(rejection, snapshot.registry)
    type_ = _answer(incoming, rejection, root, profile, snapshot)
    answering = snapshot.answering.get(type_) if type_ else None
    if answering is None:
        return None
    original = Original(
        body=incoming.body,
        sender=incoming.sender,
        header=rejection.header if rejection.code else _header(root, profile),
        root=root,
        type_list=(profile.type_list, profile.version) if profile else ("", ""),
        test=rejection.test,
    )
    at = incoming.received_at or datetime.now(UTC)
    name = "rejection" if rejection.code else "receipt"
    judgement = Judgement(derived_id(incoming.id, name), at, rejection.code, rejection.findings)
    return answering.document(original, judgement, source.rejected_by)


def _wanted(rejection: Rejection, source: Source) -> bool:
    return source.on_reject != "problem" if rejection.code else source.on_accept == "standard"


def _answer(
    incoming: Incoming,
    rejection: Rejection,
    root: etree._Element | None,
    profile: Profile | None,
    snapshot: Snapshot,
) -> MessageType | None:
    if profile is None:
        return _agreed(incoming, root, snapshot) if rejection.code else None
    return profile.rejection_of(_name(rejection)) if rejection.code else profile.receipt_of(_name(rejection))


def _header(root: etree._Element | None, profile: Profile | None) -> Header | None:
    """Return what a message says that is on disk: the daemon has not kept its header."""
    if root is None or profile is None:
        return None
    try:
        return header.read(root, profile).header
    except (Rejected, LookupError):  # the profile has changed since
        return None


def _root(incoming: Incoming, rejection: Rejection, snapshot: Snapshot) -> etree._Element | None:
    """Return the document as a tree; ``None``: it is none that the guard lets in."""
    if rejection.header is None and rejection.type is None:  # nothing was read of it
        return None
    own = snapshot.deployment.limits_of(incoming.source)
    try:
        return trees.again(incoming.body, limits=guard.XmlLimits(max_body=own.max_body, max_text=own.max_text))
    except Rejected:
        return None


def _profile(rejection: Rejection, registry: Registry) -> Profile | None:
    type_ = rejection.type
    return registry.profiles.get((type_.standard, type_.version)) if type_ else None


def _name(rejection: Rejection) -> str:
    return rejection.type.name if rejection.type else ""


def _agreed(incoming: Incoming, root: etree._Element | None, snapshot: Snapshot) -> MessageType | None:
    """Return the rejection for a document whose standard or version is not known here."""
    registry = snapshot.registry
    if root is not None and (related := registry.related(root)):
        return _one({profile.rejection_of(etree.QName(root).localname) for profile in related})
    allowed = may_send(incoming.sender, snapshot.deployment, registry)
    return _one({profile.rejection_of("") for profile in allowed})


def _one(types: Iterable[MessageType | None]) -> MessageType | None:
    found = list(types)
    return found[0] if len(found) == 1 else None
