"""From files to a compiled snapshot: configuration, schemas, stylesheets, bindings. All problems in one run.

Only worker processes and one-snapshot commands (``check``, ``test``, ``explain``) call this; the daemon never imports
steps or bindings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import hub.config
from hub import rejecting
from hub.config import Reading
from hub.config.standards import fitting
from hub.deployment import CheckSpec, Deployment, StepSpec
from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.inspection import Plan, Rejection, Snapshot, inspect
from hub.message import Incoming, MessageType
from hub.plugin import Step
from hub.routing import Directory
from hub.steps import compile_step
from hub.versions import versions
from hub.xml import bindings
from hub.xml.answers import Answering
from hub.xml.checks.table import Checks
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs


@dataclass(frozen=True, slots=True)
class Compiled:
    """A snapshot, or the problems that stand in its way; warnings may come with a snapshot."""

    snapshot: Snapshot | None
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.level == "error")


def compile_snapshot(
    files: Files, main: str, *, stage: str, state_dir: Path, deployment: Deployment | None = None
) -> Compiled:
    """Compile everything that a deployment names, and report all problems at once.

    A ``deployment`` that is given was read from these files already, and its problems are known.
    """
    reading = Reading(deployment, ()) if deployment else hub.config.read(files, main, stage=stage)
    registry, found = Registry.load(files)
    problems = [*reading.problems, *(problem for problem in found if problem not in reading.problems)]
    deployment = reading.deployment
    if deployment is None:
        return Compiled(None, tuple(problems))
    problems += _compile_schemas(registry)
    answering: Mapping[MessageType, Answering] = {}
    try:
        rejections = rejecting.profiles_of(deployment, registry)
        folder = bindings.prepare(files, _bound(registry, rejections.values()), state_dir)
        if folder:
            bindings.activate(folder)
        answering = rejecting.load(rejections, registry)
    except ConfigError as error:
        problems += error.problems
    programs = Programs()
    checks = Checks(files, registry, programs)
    problems += _prepare_checks(checks, deployment, registry)
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


def _compile_schemas(registry: Registry) -> Iterator[Problem]:
    # All of them, also those that no route asks for: a message of theirs is checked before it is called unroutable.
    for profile in registry.profiles.values():
        try:
            registry.schema(profile)
        except ConfigError as error:
            yield from error.problems


def _prepare_checks(checks: Checks, deployment: Deployment, registry: Registry) -> list[Problem]:
    """Prepare every check for every profile of which a document may come to its route."""
    problems: dict[Problem, None] = {}
    for route in deployment.routes:
        profiles = list(fitting(route.match.type, registry))
        for spec in route.checks:
            for profile in profiles if spec.check.name != "xsd" else ():  # the schemas are compiled already
                try:
                    checks.prepared(spec.check, profile)
                except ConfigError as error:
                    problems |= dict.fromkeys(_at(spec, one) for one in error.problems)
    return list(problems)


def _at(spec: CheckSpec, problem: Problem) -> Problem:
    where = ":".join(str(part) for part in (problem.file, problem.line) if part)
    text = f"{where}: {problem.text}" if where else problem.text
    return Problem(spec.mark.file, spec.mark.line, spec.mark.column, spec.check.name, text)


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

    def inspect(self, incoming: Incoming) -> Plan | Rejection:
        return inspect(incoming, self.snapshot)

    def document(self, incoming: Incoming, rejection: Rejection) -> bytes | None:
        return rejecting.document(incoming, rejection, self.snapshot)
