"""With what a source tells its senders that a document is not taken: which messages that takes, and are they here."""

from __future__ import annotations

from collections.abc import Iterator

from hub.config.document import Node
from hub.config.run import Run
from hub.config.standards import fitting
from hub.deployment import Deployment, Source
from hub.message import MessageType
from hub.xml.profile import Profile
from hub.xml.registry import Registry


def wanted(source: Source, deployment: Deployment, registry: Registry) -> tuple[MessageType, ...]:
    """Return the rejections that a source may have to send: those of all that its senders may hand in."""
    if source.on_reject == "problem":
        return ()
    found: dict[MessageType, None] = {}
    for name in source.senders:
        for profile in may_send(name, deployment, registry):
            found |= dict.fromkeys(rejection for _, rejection in profile.reject_with)
    return tuple(found)


def may_send(sender: str, deployment: Deployment, registry: Registry) -> Iterator[Profile]:
    """Yield the profiles of which a sender may hand something in."""
    known = deployment.senders.get(sender)
    for glob in known.may_send if known else ():
        yield from fitting(glob, registry)


def ready(type_: MessageType, registry: Registry) -> Profile | None:
    """Return the profile by which a rejection can be built and proved; ``None``: the full schema is not here."""
    profile = registry.profiles.get((type_.standard, type_.version))
    return profile if profile and profile.level == "full" and type_.name in profile.names else None


def check_rejections(source: Source, node: Node, deployment: Deployment, run: Run) -> None:
    """Note what stands in the way of rejections in the standard's own form."""
    if source.on_reject == "problem":
        return
    place = node.items["on_reject"].place
    if source.rejected_by is None:
        run.report.add(place, f"`{source.on_reject}` needs `rejected_by`: the authority that signs the rejections")
    types = wanted(source, deployment, run.registry)
    if not types:
        text = "no standard that may come here has a rejection of its own: senders get the problem document"
        run.report.add(place, text, level="warning")
    for type_ in types:
        profile = ready(type_, run.registry)
        if profile is None:
            text = f"`{source.on_reject}` needs the full schema of {type_.standard}/{type_.version} for {type_.name}"
            instead = "until it is here (xoev-hub schemas import), senders get the problem document"
            run.report.add(place, f"{text}; {instead}", level="warning")
        elif type_.name not in profile.answers:
            text = f"{profile.folder}/profile.yaml does not say under `answers` how {type_.name} is filled"
            run.report.add(place, text)
