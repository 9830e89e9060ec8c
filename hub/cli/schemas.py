"""``schemas``: the standards that the hub knows, and official releases of them."""

from __future__ import annotations

import ctypes
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hub.cli.common import CONFIG, FAILED, OK, exit_code_of, json_option, printable, put_items, put_json, put_table, say
from hub.cli.session import Session
from hub.errors import ConfigError, Problem

if TYPE_CHECKING:
    from hub.importing import Prepared
    from hub.xml.profile import Profile
    from hub.xml.registry import Registry

Users = Mapping[tuple[str, str], Sequence[str]]


@click.group()
def schemas() -> None:
    """Show the standards that the hub knows; import official releases of them."""


# --- what is there ------------------------------------------------------------------------------------------------


@schemas.command("list")
@json_option
@click.pass_obj
def list_schemas(session: Session, as_json: bool) -> None:
    """List standards and versions, and how far their schema checks: full, or the header only."""
    registry, problems = _registry(session)
    users = _users(session, registry)
    items = [_described(session, profile, users) for profile in registry.profiles.values()]
    if as_json:
        put_items(items)
        raise click.exceptions.Exit(CONFIG if problems else OK)
    head = ("standard", "version", "level", "digest", "roots", "lists", "from", "to", "grace", "routes", "title")
    rows = [
        (
            one["standard"], one["version"], one["level"], one["digest"][:12], one["roots"], len(one["codelists"]),
            *((one[key] or "")[:10] for key in ("valid_from", "valid_to", "grace_until")),
            "?" if one["routes"] is None else len(one["routes"]), one["title"],
        )
        for one in items
    ]  # fmt: skip
    put_table(head, rows)
    raise click.exceptions.Exit(CONFIG if problems else OK)


@schemas.command("show")
@click.argument("name", metavar="STANDARD/VERSION")
@json_option
@click.pass_obj
def show_schema(session: Session, name: str, as_json: bool) -> None:
    """Show one version: roots, keys, window, code lists with their versions, and the routes that use it."""
    registry, _ = _registry(session)
    profile = _one(registry, name)
    files = _files_of(session, profile)
    shown = _described(session, profile, _users(session, registry)) | {
        "names": sorted(profile.names),
        "namespaces": sorted({root.namespace for root in profile.roots}),
        "xsd": sorted({root.xsd for root in profile.roots}),
        "keys": sorted(profile.keys),
        "business_keys": sorted(profile.business_keys),
        "schematron": list(profile.schematron),
        "wsdl": [file for file in files if file.endswith(".wsdl")],
    }
    if as_json:
        put_json(shown)
        return
    for key, value in shown.items():
        if key == "codelists":
            value = [f"{one['uri']} {one['version']}" for one in value]
        text = ", ".join(value) if isinstance(value, list) else value
        click.echo(f"{key:14} {printable('' if text is None else text)}")


@schemas.command("check")
@click.argument("name", metavar="[STANDARD/VERSION]", required=False)
@json_option
@click.pass_obj
def check_schemas(session: Session, name: str | None, as_json: bool) -> None:
    """Compile every schema, say what it takes in time and memory, and name what has changed since its import."""
    registry, unreadable = _registry(session, keep=True)
    wanted = [_one(registry, name)] if name else list(registry.profiles.values())
    items: list[dict[str, Any]] = []
    found: list[Problem] = []
    for profile in wanted:
        took, grew, problems = _compiled(session, registry, profile)
        found += problems
        error = str(problems[0].text) if problems else None
        items.append({"standard": profile.standard, "version": profile.version, "ms": took, "mb": grew, "error": error})
    if as_json:
        put_items(items)
    else:
        rows = [(one["standard"], one["version"], one["ms"], one["mb"], one["error"] or "ok") for one in items]
        put_table(("standard", "version", "ms", "MB", "verdict"), rows)
    for problem in found:
        say(str(problem))
    raise click.exceptions.Exit(CONFIG if found or unreadable else OK)


def _compiled(session: Session, registry: Registry, profile: Profile) -> tuple[float, float, list[Problem]]:
    """Return milliseconds, megabytes, and everything that is wrong with a version."""
    from hub.files import Files
    from hub.library import Library
    from hub.xml.bundle import read_bundle
    from hub.xml.checks.table import what_is_wrong
    from hub.xml.release_closure import clashes

    started, before = time.perf_counter(), _held_mb()
    problems: list[Problem] = []
    try:
        registry.schema(profile)
    except ConfigError as failed:
        problems += failed.problems
    took, grew = (time.perf_counter() - started) * 1000, _held_mb() - before
    files = Files(session.base)
    for main in sorted({root.xsd for root in profile.roots}):
        bundle, _ = read_bundle(files, profile.folder, main, profile.without)
        problems += clashes(bundle.files)
    for file in (*profile.codelists, *profile.schematron):
        if not files.path(f"{profile.folder}/{file}").is_file():
            problems.append(Problem(f"{profile.folder}/profile.yaml", 0, 0, "", f"{file} is not there"))
    problems += what_is_wrong(files, profile)
    if not profile.folder.startswith("shipped:"):
        problems += Library(session.base).verify(profile.standard, profile.version)
    return round(took, 1), round(max(grew, 0.0), 1), problems


class _Mallinfo(ctypes.Structure):
    """What ``mallinfo2(3)`` tells; ``hblkhd`` and ``uordblks`` are in use, in bytes."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def _held_mb() -> float:
    """Return how much memory this process has asked for and not given back; pages held in reserve do not count."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except AttributeError:  # another C library than glibc, or one before 2.33
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    mallinfo.restype = _Mallinfo
    told = mallinfo()
    return float(told.hblkhd + told.uordblks) / (1 << 20)


# --- what changes it ----------------------------------------------------------------------------------------------


@schemas.command("import")
@click.argument("sources", metavar="ZIP|DIR…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--standard", default="", metavar="NAME", help="What the standard is called here, such as xmeld.")
@click.option("--version", default="", metavar="VERSION", help="The version, as messages state it, such as 25.11a.")
@click.option("--replace", is_flag=True, help="Put the release in the place of one that is here.")
@click.option(
    "--without", multiple=True, metavar="URL", help="What a schema imports, but nothing uses, and may be missing."
)
@click.option(
    "--catalog",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="OASIS XML catalogue: where to find what the release imports. A catalog.xml above a folder is read anyway.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and write nothing.")
@json_option
@click.pass_obj
def import_release(
    session: Session, sources: tuple[Path, ...], standard: str, version: str, replace: bool,
    without: tuple[str, ...], catalog: Path | None, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Import an official release: schemas, code lists, Schematron, WSDLs.

    Several sources are parts of one release. What it imports by absolute addresses must be in it, or have been
    imported before; nothing is ever fetched. A version comes wholly or not at all.
    """
    from hub.importing import Wishes, prepare
    from hub.library import Library
    from hub.xml.release_closure import NOT_HERE

    library = Library(session.base)
    wishes = Wishes(standard, version, without, catalog, replace)
    try:
        prepared = prepare(sources, library, wishes)
    except ConfigError as error:
        if as_json:
            put_json({"problems": [_problem_json(one) for one in error.problems]})
        code = exit_code_of(error)
        if any(NOT_HERE in one.text for one in error.problems):
            say("next: name the release that brings it as well, or import that one first; --catalog FILE says where it "
                "lies, --without URL that nothing uses it")  # fmt: skip
        raise click.exceptions.Exit(code) from error
    if not dry_run:
        library.install(prepared.standard, prepared.version, prepared.files, prepared.modules)
    report = _reported(prepared, dry_run=dry_run)
    if as_json:
        put_json(report)
    else:
        _say_imported(report)
    if not dry_run and prepared.standard:
        _registry(session, keep=True)  # two versions that claim the same documents: said now, not at the next start
        say("next: xoev-hub check; a running hub takes it in by xoev-hub reload")


@schemas.command("remove")
@click.argument("name", metavar="STANDARD/VERSION")
@json_option
@click.pass_obj
def remove_schema(session: Session, name: str, as_json: bool) -> None:
    """Remove an imported version that no route uses. A header-level profile that ships comes back."""
    from hub.library import Library

    registry, _ = _registry(session)
    profile = _one(registry, name)
    library = Library(session.base)
    existing = library.existing(profile.standard, profile.version)
    if existing is None or existing.shipped or not existing.imported:
        what = "ships with the program" if existing and existing.shipped else "was not imported, it is your own"
        say(f"{name} {what}; only what was imported can be removed")
        raise click.exceptions.Exit(FAILED)
    users = _users(session, registry)
    if users is None:
        say("the routes cannot be read, so nobody knows whether one uses it: xoev-hub check")
        raise click.exceptions.Exit(FAILED)
    using = users.get((profile.standard, profile.version), ())
    if using:
        say(f"{name} is used by {', '.join(using)}; change that first")
        raise click.exceptions.Exit(FAILED)
    library.remove(profile.standard, profile.version)
    if as_json:
        put_json({"standard": profile.standard, "version": profile.version, "removed": True})
    say(f"removed {name}; a running hub lets go of it by xoev-hub reload")


def _problem_json(problem: Problem) -> dict[str, Any]:
    return {"file": problem.file, "line": problem.line, "text": problem.text}


def _reported(prepared: Prepared, *, dry_run: bool) -> dict[str, Any]:
    profile = prepared.profile
    return {
        "standard": prepared.standard or None,
        "version": prepared.version or None,
        "title": profile.title if profile else None,
        "level": profile.level if profile else "modules",
        "folder": profile.folder if profile else None,
        "namespaces": sorted({root.namespace for root in profile.roots}) if profile else [],
        "roots": sorted(_roots(prepared, profile)) if profile else [],
        "forms": sorted({form for one in prepared.roots for form in one.forms}),
        "xsd": list(prepared.mains),
        "files": len(prepared.files),
        "modules": sorted(prepared.modules),
        "catalog": dict(prepared.catalog),
        "codelists": [{"uri": one.uri, "version": one.version} for one in prepared.codelists],
        "schematron": list(profile.schematron) if profile else [],
        "wsdl": list(prepared.wsdls),
        "digest": _digest(prepared.files),
        "ms": prepared.compile_ms,
        "notes": list(prepared.notes),
        "dry_run": dry_run,
    }


def _roots(prepared: Prepared, profile: Profile) -> set[str]:
    """Return the roots as {namespace}name; ``*`` stands for all that the schema declares."""
    declared = {one.namespace: one.declared for one in prepared.roots}
    return {
        f"{{{root.namespace}}}{name}"
        for root in profile.roots
        for name in (declared.get(root.namespace, root.names) if "*" in root.names else root.names)
    }


def _say_imported(report: Mapping[str, Any]) -> None:
    verb = "would import" if report["dry_run"] else "imported"
    if report["standard"] is None:
        click.echo(f"{verb} {len(report['modules'])} shared modules")
    else:
        click.echo(
            f"{verb} {report['standard']}/{report['version']}: {report['level']}, {len(report['roots'])} roots, "
            f"{len(report['modules'])} shared modules, {len(report['codelists'])} code lists, "
            f"{len(report['schematron'])} Schematron, {len(report['wsdl'])} WSDL; compiles in {report['ms']:.0f} ms"
        )
    for note in report["notes"]:
        say(f"note: {printable(note)}")


# --- shared -------------------------------------------------------------------------------------------------------


def _registry(session: Session, *, keep: bool = False) -> tuple[Registry, Sequence[Problem]]:
    """Return the standards that can be read, and what is wrong with the others; ``keep``: note what they declare."""
    from hub.files import Files
    from hub.xml.index import Index
    from hub.xml.registry import Registry

    files = Files(session.base)
    index = Index(files)
    registry, problems = Registry.load(files, index)
    if keep:
        index.keep()
    for problem in problems:
        say(str(problem))
    return registry, problems


def _one(registry: Registry, name: str) -> Profile:
    standard, _, version = name.partition("/")
    profile = registry.profiles.get((standard, version))
    if profile is None:
        say(f"there is no {name}; xoev-hub schemas list shows what there is")
        raise click.exceptions.Exit(FAILED)
    return profile


def _described(session: Session, profile: Profile, users: Users | None) -> dict[str, Any]:
    from hub.library import MANIFEST
    from hub.xml.release import read_release

    files = _files_of(session, profile)
    named = {name: files[name].read_bytes() for name in profile.codelists if name in files}
    lists, _ = read_release(named)
    key = (profile.standard, profile.version)
    return {
        "standard": profile.standard,
        "version": profile.version,
        "title": profile.title,
        "level": profile.level,
        "identity": profile.identity,
        "folder": profile.folder,
        "imported": MANIFEST in files,
        "digest": _digest({name: path.read_bytes() for name, path in files.items()}),
        "roots": len(profile.names),
        "valid_from": profile.valid_from.isoformat() if profile.valid_from else None,
        "valid_to": profile.valid_to.isoformat() if profile.valid_to else None,
        "grace_until": profile.grace_until.isoformat() if profile.grace_until else None,
        "codelists": [{"file": one.name, "uri": one.uri, "version": one.version} for one in lists.codelists],
        "routes": None if users is None else list(users.get(key, ())),
    }


def _files_of(session: Session, profile: Profile) -> dict[str, Path]:
    from hub.files import Files

    root = Files(session.base).path(profile.folder)
    return {path.relative_to(root).as_posix(): path for path in sorted(root.rglob("*")) if path.is_file()}


def _digest(files: Mapping[str, bytes]) -> str:
    """Return the name of a version's content; what its catalogue shares is named by its own digest there."""
    lines = [f"{hashlib.sha256(body).hexdigest()}  {name}\n" for name, body in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _users(session: Session, registry: Registry) -> Users | None:
    """Return for each version the routes and destinations that use it; ``None``: the configuration cannot be read."""
    from hub.config.standards import fitting

    if not session.config.is_file():
        return {}
    try:
        deployment = session.deployment()
    except (ConfigError, OSError):
        return None
    users: dict[tuple[str, str], list[str]] = {}
    for route in deployment.routes:
        for profile in fitting(route.match.type, registry):
            users.setdefault((profile.standard, profile.version), []).append(route.name)
    steps = [
        *((route.name, spec) for route in deployment.routes for spec in route.steps),
        *((route.name, spec) for route in deployment.routes for to in route.deliver_to for spec in to.steps),
        *((one.name, spec) for one in deployment.destinations.values() for spec in one.steps),
    ]
    for name, spec in steps:
        standard, _, version = spec.value.partition("/")
        if spec.kind == "validate" and (standard, version) in registry.profiles:
            users.setdefault((standard, version), []).append(name)
    return {key: list(dict.fromkeys(names)) for key, names in users.items()}
