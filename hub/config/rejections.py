"""With what a source tells its senders what became of a document: which messages that takes, and are they here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from hub.config.document import Node
from hub.config.run import Run
from hub.config.standards import fitting
from hub.deployment import Deployment, Source
from hub.message import MessageType
from hub.xml.profile import Profile
from hub.xml.registry import Registry


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of messages to senders: the key that asks for it, and what there is without it."""

    key: Literal["on_reject", "on_accept"]
    name: str
    instead: str

    def asked(self, source: Source) -> str:
        """Return what the source says, if that asks for messages of this kind."""
        said = getattr(source, self.key)
        return "" if said in ("problem", "receipt") else str(said)

    def of(self, profile: Profile) -> tuple[MessageType, ...]:
        pairs = profile.reject_with if self.key == "on_reject" else profile.receipt_with
        return tuple(type_ for _, type_ in pairs)


REJECTION = _Kind("on_reject", "rejection", "the problem document")
RECEIPT = _Kind("on_accept", "receipt", "the hub's own receipt")


def wanted(source: Source, deployment: Deployment, registry: Registry) -> tuple[MessageType, ...]:
    """Return the messages that a source may have to send: those for all that its senders may hand in."""
    found: dict[MessageType, None] = {}
    for kind in (REJECTION, RECEIPT):
        found |= dict.fromkeys(_wanted(kind, source, deployment, registry))
    return tuple(found)


def _wanted(kind: _Kind, source: Source, deployment: Deployment, registry: Registry) -> tuple[MessageType, ...]:
    if not kind.asked(source):
        return ()
    found: dict[MessageType, None] = {}
    for name in source.senders:
        for profile in may_send(name, deployment, registry):
            found |= dict.fromkeys(kind.of(profile))
    return tuple(found)


def may_send(sender: str, deployment: Deployment, registry: Registry) -> Iterator[Profile]:
    """Yield the profiles of which a sender may hand something in."""
    known = deployment.senders.get(sender)
    for glob in known.may_send if known else ():
        yield from fitting(glob, registry)


def ready(type_: MessageType, registry: Registry) -> Profile | None:
    """Return the profile by which a message can be built and proved; ``None``: the full schema is not here."""
    profile = registry.profiles.get((type_.standard, type_.version))
    return profile if profile and profile.level == "full" and type_.name in profile.names else None


def check_rejections(source: Source, node: Node, deployment: Deployment, run: Run) -> None:
    """Note what stands in the way of rejections and receipts in the standard's own form."""
    for kind in (REJECTION, RECEIPT):
        if kind.asked(source):
            _check(kind, source, node, deployment, run)


def _check(kind: _Kind, source: Source, node: Node, deployment: Deployment, run: Run) -> None:
    place, said = node.items[kind.key].place, kind.asked(source)
    if source.rejected_by is None:
        run.report.add(place, f"`{said}` needs `rejected_by`: the authority that signs the {kind.name}s")
    types = _wanted(kind, source, deployment, run.registry)
    if not types:
        text = f"no standard that may come here has a {kind.name} of its own: senders get {kind.instead}"
        run.report.add(place, text, level="warning")
    for type_ in types:
        profile = ready(type_, run.registry)
        if profile is None:
            text = f"`{said}` needs the full schema of {type_.standard}/{type_.version} for {type_.name}"
            instead = f"until it is here (xoev-hub schemas import), senders get {kind.instead}"
            run.report.add(place, f"{text}; {instead}", level="warning")
        elif type_.name not in profile.answers:
            text = f"{profile.folder}/profile.yaml does not say under `answers` how {type_.name} is filled"
            run.report.add(place, text)
        elif profile.answers[type_.name].tells != kind.name:
            text = f"{profile.folder}/profile.yaml fills {type_.name} as a {profile.answers[type_.name].tells}"
            run.report.add(place, f"{text}, not as a {kind.name}")
