"""From files to a compiled snapshot: configuration, schemas, stylesheets, bindings. All problems in one run.

Only worker processes and one-snapshot commands (``check``, ``test``, ``explain``) call this; the daemon never imports
steps or bindings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hub.config
from hub.config import Reading
from hub.config.standards import fitting
from hub.deployment import CheckSpec, Deployment, StepSpec
from hub.errors import ConfigError, Problem, Rejected
from hub.files import Files
from hub.inspection import Plan, Rejection, Snapshot, inspect
from hub.message import Incoming, MessageType
from hub.plugin import Step
from hub.routing import Directory
from hub.steps import compile_step
from hub.versions import versions
from hub.xml import bindings, guard, trees
from hub.xml.checks.table import Checks
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs

if TYPE_CHECKING:
    from hub.xml.answers import Answering


@dataclass(frozen=True, slots=True)
class Compiled:
    """A snapshot, or the problems that stand in its way; warnings may come with a snapshot."""

    snapshot: Snapshot | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "error")


def compile_snapshot(
    files: Files,
    main: str,
    *,
    stage: str,
    state_dir: Path,
    deployment: Deployment | None = None,
    document: bytes | None = None,
) -> Compiled:
    """Compile everything that a deployment names, and report all problems at once.

    A ``deployment`` that is given was read from these files already, and its problems are known. For one ``document``
    only the standards that it may be of are compiled; the snapshot is the same, since all of them are read.
    """
    if deployment is None:
        reading = hub.config.read(files, main, stage=stage, thorough=document is None)
    else:
        reading = Reading(deployment, *_standards(files))
    registry, problems, deployment = reading.registry, list(reading.problems), reading.deployment
    if deployment is None:
        return Compiled(None, tuple(problems))
    profiles = tuple(registry.profiles.values() if document is None else _possible(document, registry))
    problems += _compile_schemas(registry, profiles)
    answering: Mapping[MessageType, Answering] = {}
    try:
        answering = _bind(files, deployment, registry, state_dir, answers=document is None)
    except ConfigError as error:
        problems += error.problems
    programs = Programs()
    checks = Checks(files, registry, programs)
    problems += _prepare_checks(checks, deployment, registry, profiles)
    steps: dict[tuple[str, str], Step] = {}
    for spec in _specs(deployment):
        try:
            steps[spec.key] = compile_step(spec, files, registry, programs)
        except ConfigError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if any(problem.level == "error" for problem in problems):
        return Compiled(None, tuple(problems))
    digest = files.digest(*(f"{name} {version}" for name, version in sorted(versions().items())))
    snapshot = Snapshot(digest, deployment, Directory(deployment), registry, steps, checks, answering, programs)
    return Compiled(snapshot, tuple(problems))


def proved(compiled: Compiled) -> Compiled:
    """Return a snapshot with what only each process can compile for itself compiled, or without it for the problems."""
    problems = compiled.snapshot.programs.compile() if compiled.snapshot else []
    return Compiled(None if problems else compiled.snapshot, (*compiled.problems, *problems))


def _bind(
    files: Files, deployment: Deployment, registry: Registry, state_dir: Path, *, answers: bool
) -> Mapping[MessageType, Answering]:
    """Activate the bindings, and return what answers senders in their standard's form; a single look needs none."""
    rejections: Mapping[MessageType, Profile] = {}
    speaking = any(source.speaks_standard for source in deployment.sources.values())
    if speaking:
        from hub.rejecting import load, profiles_of

        rejections = profiles_of(deployment, registry)
    folder = bindings.prepare(files, _bound(registry, rejections.values()), state_dir)
    if folder:
        bindings.activate(folder)
    return load(rejections, registry) if speaking and answers else {}


def _standards(files: Files) -> tuple[tuple[Problem, ...], Registry]:
    registry, problems = Registry.load(files)
    return tuple(problems), registry


def _possible(document: bytes, registry: Registry) -> Iterable[Profile]:
    """Return the profiles that a document may be of; none, if it is not even XML."""
    try:
        root = trees.parse(document, limits=guard.DEFAULT_LIMITS)
    except Rejected:
        return ()
    return [profile for profile in registry.related(root) if profile.fits(root)]


def _compile_schemas(registry: Registry, profiles: Iterable[Profile]) -> Iterator[Problem]:
    # Also those that no route asks for: a message of theirs is checked before it is called unroutable.
    for profile in profiles:
        try:
            registry.schema(profile)
        except ConfigError as error:
            yield from error.problems


def _prepare_checks(
    checks: Checks, deployment: Deployment, registry: Registry, wanted: Collection[Profile]
) -> list[Problem]:
    """Prepare every check for every profile of which a document may come to its route; of others read the files."""
    problems: dict[Problem, None] = {}
    for route in deployment.routes:
        profiles = list(fitting(route.match.type, registry))
        for spec in route.checks:
            for profile in profiles if spec.check.name != "xsd" else ():  # the schemas are compiled already
                if profile not in wanted:
                    checks.read(spec.check, profile)
                    continue
                try:
                    checks.prepared(spec.check, profile)
                except ConfigError as error:
                    problems |= dict.fromkeys(_at(spec, one) for one in error.problems)
    return list(problems)


def _at(spec: CheckSpec, problem: Problem) -> Problem:
    where = ":".join(str(part) for part in (problem.file, problem.line) if part)
    text = f"{where}: {problem.text}" if where else problem.text
    mark = spec.mark
    return Problem(mark.file, mark.line, mark.column, mark.path or spec.check.name, text)


def _bound(registry: Registry, more: Iterable[Profile]) -> Iterable[Profile]:
    wanting = [profile for profile in registry.profiles.values() if profile.bindings]
    return {(one.standard, one.version): one for one in (*wanting, *more)}.values()


def _specs(deployment: Deployment) -> Iterable[StepSpec]:
    """Return each step once, however many destinations take it."""
    found: dict[tuple[str, str], StepSpec] = {}
    for route in deployment.routes:
        for spec in (*route.steps, *(spec for target in route.deliver_to for spec in target.steps)):
            found.setdefault(spec.key, spec)
    for destination in deployment.destinations.values():
        for spec in destination.steps:
            found.setdefault(spec.key, spec)
    return found.values()


class OneSnapshot:
    """Inspects in this very process: for commands that look at one snapshot and end."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def inspect(self, incoming: Incoming, on_stall: Callable[[], None] = lambda: None) -> Plan | Rejection:  # noqa: ARG002
        return inspect(incoming, self.snapshot)

    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        from hub import rejecting

        return rejecting.document(incoming, rejection, self.snapshot)
