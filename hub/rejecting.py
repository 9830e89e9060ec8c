"""Which message of its standard tells a sender that its document is not taken. Only worker processes build one.

standard of the document ─▶ its profile's reject_with ─┐
not known: those with its root, else all that its      ├─▶ Answering ─▶ bytes, or none: the problem document
sender may hand in, if they agree on one ──────────────┘
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from lxml import etree

from hub.config.rejections import may_send, ready, wanted
from hub.deployment import Deployment
from hub.errors import Rejected
from hub.inspection import Rejection, Snapshot
from hub.message import Incoming, MessageType, derived_id
from hub.versions import versions
from hub.xml import guard, trees
from hub.xml.answers import Answering, Judgement, Original, bound
from hub.xml.profile import Profile
from hub.xml.registry import Registry


def profiles_of(deployment: Deployment, registry: Registry) -> Mapping[MessageType, Profile]:
    """Return the rejections that may have to be built and can be, with the profiles to bind for them."""
    found: dict[MessageType, Profile] = {}
    for source in deployment.sources.values():
        for type_ in wanted(source, deployment, registry):
            profile = ready(type_, registry)
            if profile is not None and type_.name in profile.answers:
                found[type_] = bound(profile)
    return found


def load(profiles: Mapping[MessageType, Profile], registry: Registry) -> Mapping[MessageType, Answering]:
    """Return what builds each rejection, once the bindings are active in this process."""
    version = versions()["hub"]
    return {type_: Answering(type_, one, registry.schema(one), version) for type_, one in profiles.items()}


def wants(incoming: Incoming, snapshot: Snapshot) -> bool:
    """Tell whether a document's source sends rejections in the standard's own form, and some can be built."""
    source = snapshot.deployment.sources.get(incoming.source)
    return source is not None and source.on_reject != "problem" and bool(snapshot.answering)


def document(incoming: Incoming, rejection: Rejection, snapshot: Snapshot) -> bytes | None:
    """Return the rejection in the standard's own form; ``None``: the source wants none, or there is none.

    It carries the original, hence it goes back to its sender and nowhere else.
    """
    source = snapshot.deployment.sources.get(incoming.source)
    if source is None or source.rejected_by is None or not wants(incoming, snapshot):
        return None
    root = _root(incoming, rejection, snapshot)
    profile = _profile(rejection, snapshot.registry)
    type_ = profile.rejection_of(_name(rejection)) if profile else _agreed(incoming, root, snapshot)
    answering = snapshot.answering.get(type_) if type_ else None
    if answering is None:
        return None
    original = Original(
        body=incoming.body,
        sender=incoming.sender,
        header=rejection.header,
        root=root,
        type_list=(profile.type_list, profile.version) if profile else ("", ""),
        test=rejection.test,
    )
    at = incoming.received_at or datetime.now(UTC)
    judgement = Judgement(derived_id(incoming.id, "rejection"), at, rejection.code, rejection.findings)
    return answering.document(original, judgement, source.rejected_by)


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
