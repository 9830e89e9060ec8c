"""Compiles what routes.yaml says of a step into a function ``Outgoing -> Outgoing``.

    xslt: PATH                  a stylesheet of the deployment        hub.xml.transform; of XSLT 3.0: hub.xml.transform3
    python: pkg.module:name     a function of the deployment, or of an installed package; or the name of an entry
                                point of the group xoev_hub.steps     hub.stepcode
    validate: STANDARD/VERSION  the full schema of a standard         hub.xml.registry
    convert: {from, to, …}      one of the first two, and a proof that it gave what it says, and left nothing out

Whatever goes wrong in a step leaves it as ``Rejected``, and without a word of the document. Worker processes and
commands with one snapshot compile steps; the daemon never does.
"""

from __future__ import annotations

import difflib
import importlib
import posixpath
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import ModuleType, TracebackType
from typing import Any, assert_never

from lxml import etree

from hub import stepcode
from hub.deployment import Conversion, Mark, StepSpec
from hub.errors import ConfigError, Problem, Rejected
from hub.files import Files
from hub.message import Finding, Outgoing
from hub.plugin import Step
from hub.plugins import find_step
from hub.xml import bindings, dropped, transform3, trees
from hub.xml.place import path_of
from hub.xml.profile import Profile
from hub.xml.registry import Registry
from hub.xml.saxon import Programs
from hub.xml.transform import INSIDE, Stylesheet

LINE_SHOWN_MAX = 300
_CODES = ("transform_failed", "target_invalid")
_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
_PATH = re.compile(r"(/[\w:.*@()-]{1,100}(\[[0-9]+\])?){0,50}")
_REFERENCE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)", re.ASCII)


def compile_step(spec: StepSpec, files: Files, registry: Registry, programs: Programs | None = None) -> Step:
    """Return the step that a spec means. It has one user at a time.

    ``programs`` collects what each worker process must compile for itself.

    Raises:
        ConfigError: All problems of this step, each at the place in routes.yaml that names it.
    """
    try:
        step = _compile(spec, files, registry, programs or Programs())
        return step if spec.conversion is None else _convert(spec.conversion, step, registry)
    except ConfigError as error:
        raise ConfigError([_at(spec, files, problem) for problem in error.problems]) from error


def _compile(spec: StepSpec, files: Files, registry: Registry, programs: Programs) -> Step:
    match spec.kind:
        case "xslt":
            return _xslt(spec.value, files, programs)
        case "python":
            return _python(spec.value, files)
        case "validate":
            return _validate(spec.value, registry)
        case _:
            assert_never(spec.kind)


def _at(spec: StepSpec, files: Files, problem: Problem) -> Problem:
    inner = ":".join(str(part) for part in (problem.file, problem.line) if part)
    text = f"{inner}: {problem.text}" if inner else problem.text
    mark = spec.mark
    return Problem(mark.file, mark.line, mark.column, mark.path or spec.kind, text, _shown(mark, files))


def _shown(mark: Mark, files: Files) -> str:
    try:
        line = files.read(mark.file).decode().split("\n")[mark.line - 1]
    except (OSError, UnicodeDecodeError, IndexError):
        return ""
    return "".join(char if char.isprintable() else " " for char in line) if len(line) < LINE_SHOWN_MAX else ""


def _problem(text: str, known: Iterable[str] = (), got: str = "") -> ConfigError:
    near = difflib.get_close_matches(got, list(known), n=1)
    return ConfigError([Problem("", 0, 0, "", text + (f"; did you mean {near[0]!r}?" if near else ""))])


# --- xslt --------------------------------------------------------------------------------------------------------


def _xslt(name: str, files: Files, programs: Programs) -> Step:
    newer = transform3.is_meant(name, files)
    stylesheet = transform3.Stylesheet3(name, files, programs) if newer else Stylesheet(name, files)

    def transform(outgoing: Outgoing) -> Outgoing:
        body = stylesheet.apply(_parsed(outgoing.body), parameters(outgoing, stylesheet.names))
        return replace(outgoing, body=body, content_type="application/xml")

    return transform


_KNOWN: Mapping[str, Callable[[Outgoing], str | None]] = {
    "message_id": lambda outgoing: outgoing.message.id,
    "delivery_id": lambda outgoing: outgoing.delivery_id,
    "destination": lambda outgoing: outgoing.destination,
    "type": lambda outgoing: str(outgoing.message.header.type),
    "received_at": lambda outgoing: _time(outgoing.message.received_at),
    "municipality": lambda outgoing: outgoing.message.owner,
    "recipient": lambda outgoing: outgoing.message.recipient,
    "sender": lambda outgoing: outgoing.message.sender,
}


def parameters(outgoing: Outgoing, names: Iterable[str]) -> dict[str, str]:
    """Return what a stylesheet may know by these names: of the message beside its document, and the profile's keys."""
    keys = outgoing.message.header.keys
    known = {name: _KNOWN[name](outgoing) for name in names if name in _KNOWN}
    named = {name: keys[name] for name in names if name in keys}
    return {**named, **{name: value for name, value in known.items() if value is not None}}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parsed(body: bytes, code: str = "transform_failed") -> etree._Element:
    try:
        return trees.again(body, limits=INSIDE)
    except Rejected as refusal:
        raise Rejected(code, [Finding("step-input", text=f"the step before gave no XML ({refusal.code})")]) from None


# --- python ------------------------------------------------------------------------------------------------------


def _python(value: str, files: Files) -> Step:
    if ":" not in value:
        try:
            reference = find_step(value)
        except LookupError as error:
            raise _problem(str(error)) from error
        return _guarded(_function(reference, None), value)
    return _guarded(_function(value, files), value)


def _function(reference: str, files: Files | None) -> Callable[[Outgoing], Outgoing]:
    """Return what ``package.module:name`` means; of an installed package, if there are no files."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise _problem(f"expected package.module:function or the name of an installed step, got {reference!r}")
    name, path = found.groups()
    target: Any = _module(name, files)
    for part in path.split("."):
        if not hasattr(target, part):
            raise _problem(f"{name} has no {path!r}", _functions(target), part)
        target = getattr(target, part)
    if not callable(target):
        raise _problem(f"expected a function, got {path} = {type(target).__name__}", _functions(target))
    return target  # type: ignore[no-any-return]  # an attribute found by its name has no type


def _module(name: str, files: Files | None) -> ModuleType:
    try:
        return stepcode.load(name, files) if files else importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a plugin's code: whatever it raises is a problem of this step only
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing and files and (name == missing or name.startswith(f"{missing}.")):
            raise _problem(f"no module {name!r}", stepcode.modules(files), name) from error
        place = f"{error.filename}:{error.lineno}: " if isinstance(error, SyntaxError) else ""
        # Its text may be shown: there was no document yet that it could quote.
        raise _problem(f"{name} cannot be imported: {place}{type(error).__name__}: {error}") from error


def _functions(target: object) -> list[str]:
    return [name for name in dir(target) if not name.startswith("_") and callable(getattr(target, name, None))]


def _guarded(function: Callable[[Outgoing], Outgoing], name: str) -> Step:
    """Return a step that never raises anything but ``Rejected``, and changes only what a step may change."""

    def run(outgoing: Outgoing) -> Outgoing:
        try:
            result = function(outgoing)
        except Rejected as rejected:
            code, findings = rejected.code, [_presentable(finding) for finding in rejected.findings]
            raise Rejected(code if code in _CODES else "transform_failed", findings) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plugin's code. Its text may quote the document
            rule = type(error).__name__
            file, line = _place(error.__traceback__, getattr(function, "__module__", ""))
            text = f"{name} failed: {file}:{line}: {rule}{bindings.vocabulary(error)}"
        else:
            if isinstance(result, Outgoing) and isinstance(result.body, bytes) and result.body:
                return replace(
                    outgoing,
                    body=result.body,
                    parts=result.parts,
                    content_type=result.content_type,
                    headers=result.headers,
                )
            rule, file, line, text = "step-result", name, 0, f"{name} gave no Outgoing with a body"
        # Raised outside, so that no exception whose text quotes the document hangs on ours.
        raise Rejected("transform_failed", [Finding(rule, file, line, text)])

    return run


def _presentable(finding: Finding) -> Finding:
    """Return a step's finding as it may be listed; in rule and path its author might have put the document's words."""
    rule = finding.rule if _RULE.fullmatch(finding.rule) else "step"
    return replace(finding, rule=rule, path=finding.path if _PATH.fullmatch(finding.path) else "")


def _place(trace: TracebackType | None, module: str) -> tuple[str, int]:
    """Return file and line of the last frame in the step's own package, for that is where its author looks."""
    place = ("", 0)
    for frame, line in traceback.walk_tb(trace):
        if frame.f_globals.get("__name__", "").partition(".")[0] == module.partition(".")[0]:
            place = (posixpath.basename(frame.f_code.co_filename), line)
    return place


# --- validate ----------------------------------------------------------------------------------------------------


def _validate(value: str, registry: Registry) -> Step:
    profile = _profile(value, registry)
    if profile.level != "full":
        raise _problem(f"{value} has only a header schema; a target is validated with the full one")
    return _valid(value, profile, registry)


def _profile(value: str, registry: Registry) -> Profile:
    standard, _, version = value.partition("/")
    profile = registry.profiles.get((standard, version))
    if profile is None:
        known = [f"{one}/{two}" for one, two in registry.profiles]
        raise _problem(f"no standard {value!r} in schemas/xoev", known, value)
    return profile


def _valid(value: str, profile: Profile, registry: Registry) -> Step:
    schema = registry.schema(profile)  # compiled now, not with the first message

    def validate(outgoing: Outgoing) -> Outgoing:
        root = _parsed(outgoing.body, "target_invalid")
        if not _belongs(root, profile):
            text = f"the document is not of {value}"
            raise Rejected("target_invalid", [Finding("target", path_of(root), root.sourceline or 0, text)])
        errors = [finding for finding in schema.validate(root) if finding.level == "error"]
        if errors:
            raise Rejected("target_invalid", errors)
        return outgoing

    return validate


def _belongs(root: etree._Element, profile: Profile) -> bool:
    try:
        return profile.fits(root)
    except LookupError:
        return False


# --- convert -----------------------------------------------------------------------------------------------------


def _convert(conversion: Conversion, step: Step, registry: Registry) -> Step:
    """Return the step with a proof behind it: the result is of the version ``to``, and what it left out is told."""
    # By whatever schema is here: of a header schema the header is checked, as at a receipt.
    valid = _valid(conversion.to, _profile(conversion.to, registry), registry)

    def convert(outgoing: Outgoing) -> Outgoing:
        before = _parsed(outgoing.body)
        result = valid(step(outgoing))
        lost = dropped.dropped(before, _parsed(result.body))
        if lost and not conversion.lossy:
            raise Rejected("transform_failed", [replace(one, level="error") for one in lost])
        return replace(result, findings=(*result.findings, *lost))

    return convert
