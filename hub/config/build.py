"""From the files to the deployment: every step of one reading, in order.

files ─▶ tree of all files ─▶ entries ─▶ endpoints ─▶ cross checks ─▶ Deployment, or all problems at once
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hub.config import entries
from hub.config.alerts import read_alerts
from hub.config.crosscheck import crosscheck
from hub.config.document import Node
from hub.config.endpoints import Endpoints
from hub.config.include import read_tree
from hub.config.report import Place, Report
from hub.config.run import FindAdapter, Run
from hub.config.scalars import NAME
from hub.deployment import Deployment, Environment
from hub.errors import ConfigError, Problem
from hub.files import Files
from hub.plugins import find_adapter
from hub.xml.registry import Registry


@dataclass(frozen=True, slots=True)
class Reading:
    """The deployment, unless an error stands in its way; ``problems`` holds errors and warnings.

    ``registry`` holds the standards that it was read against; their problems are among them.
    """

    deployment: Deployment | None
    problems: tuple[Problem, ...]
    registry: Registry


def load(path: Path, *, files: Files | None = None, stage: str | None = None, thorough: bool = True) -> Deployment:
    """Return the deployment that ``path`` (a routes.yaml) describes; ``thorough`` as for :func:`read`.

    Raises:
        ConfigError: With all problems of one run.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links out of the folder
    files = files or Files(absolute.parent)
    reading = read(files, files.name(absolute), stage=stage, thorough=thorough)
    if reading.deployment is None:
        raise ConfigError(reading.problems)
    return reading.deployment


def read(
    files: Files,
    main: str = "routes.yaml",
    *,
    stage: str | None = None,
    find: FindAdapter = find_adapter,
    thorough: bool = True,
) -> Reading:
    """Read the configuration and check everything that can be known without a network and without secrets.

    Without ``thorough`` adapters prove nothing that only who calls their peers has to know, such as whether a WSDL has
    the operation; the same files are read.
    """
    run = start(files, main, stage=stage, find=find, thorough=thorough)
    municipalities = entries.read_municipalities(run)
    endpoints = Endpoints(run, municipalities)
    run.destinations = dict(destination_nodes(run))
    destinations = (endpoints.destination(name, node) for name, node in run.destinations.items())
    sources = (endpoints.source(name, node) for name, node in entries.named(run, "inbound"))
    routes = entries.read_routes(run, main)
    tests = entries.read_tests(run)
    deployment = Deployment(
        base=files.base,
        stage=run.stage,
        senders=entries.read_entries(run, "senders", entries.read_sender),
        sources={source.name: source for source in sources if source is not None},
        municipalities=municipalities,
        partners=entries.read_entries(run, "partners", entries.read_partner),
        destinations={one.name: one for one in destinations if one is not None},
        routes=routes,
        tests=tuple(test for test, _ in tests.values()),
        alerts=read_alerts(run),
    )
    crosscheck(deployment, {name: node for name, (_, node) in tests.items()}, run)
    return Reading(None if run.report.failed else deployment, run.report.problems(), run.registry)


def start(
    files: Files, main: str, *, stage: str | None = None, find: FindAdapter = find_adapter, thorough: bool = True
) -> Run:
    """Return a run with the tree of all files and the standards read."""
    report = Report()
    tree = read_tree(files, main, report)
    registry, problems = Registry.load(files)
    report.extend(problems)
    wanted = stage or "production"
    if wanted not in ("production", "test"):
        report.add(Place("XOEV_HUB_STAGE", 0, 0, ""), f"found {wanted!r}, expected production or test")
        wanted = "production"
    return Run(files, tree, report, find, cast("Environment", wanted), thorough=thorough, read=registry)


def destination_nodes(run: Run) -> Iterator[tuple[str, Node]]:
    """Yield the destinations of both forms by name; note names that cannot be one, or stand twice."""
    seen: dict[str, Node] = {}
    for owner, node in run.names("municipalities").items():
        procedures = node.items.get("procedures")
        for service, child in (procedures.items if procedures is not None else {}).items():
            if not NAME.fullmatch(service):
                run.report.add(child.key_place, f"found the name {service!r}, expected letters, digits, `.`, `_`, `-`")
                continue
            name = f"{owner}/{service}"
            seen[name] = child
            yield name, child
    for name, node in run.names("destinations").items():
        owner, _, service = name.partition("/")
        if not (NAME.fullmatch(owner) and NAME.fullmatch(service)):
            text = f"found the name {name!r}, expected OWNER/SERVICE such as statistik/las"
            run.report.add(node.key_place, text)
        elif name in seen:
            first = seen[name]
            run.report.add(node.key_place, f"{name!r} stands in {first.file}:{first.key[0]} already, as a procedure")
        else:
            yield name, node
