"""A piece of the tree becomes a value, or problems that say where, what was found and what is expected.

Pydantic checks; this turns each of its errors into one sentence at one place. Nothing else of the program sees a
``ValidationError``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hub.config.document import Node
from hub.config.report import Report

Model = TypeVar("Model", bound=BaseModel)

FOUND_SHOWN_MAX = 60

LATER = frozenset(
    {
        "addressing", "attachments", "body", "confirm", "session",
    }
)  # fmt: skip
"""Keys of the contract that come with a later release: refused with a sentence that says so."""
LATER_VALUES = frozenset({"x509_sign"})


def later(key: str) -> str:
    return f"{key!r} comes with a later release; this one does not know it yet"


def similar(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` if one of the known names is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the sentence for a name that nothing bears."""
    names = sorted(known)
    hint = similar(name, names)
    if not hint and names:
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        hint = f"; known: {shown}"
    return f"unknown {kind} {name!r}{hint}"


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def validated(model: type[Model], node: Node, report: Report) -> Model | None:
    """Return the node as a ``model``, or ``None`` after noting every problem in it."""
    if not isinstance(node.value, dict):
        report.add(node.place, f"found {found(node)}, expected a mapping")
        return None
    try:
        return model.model_validate(node.plain())
    except ValidationError as error:
        note_all(error, node, model, report)
        return None


def note_all(error: ValidationError, node: Node, model: type[BaseModel], report: Report) -> None:
    """Note every error of pydantic. A key is not called missing where a misspelt one stands in its place."""
    errors = error.errors(include_url=False)
    odd = [(one["loc"][:-1], str(one["loc"][-1])) for one in errors if one["type"] == "extra_forbidden"]
    for one in errors:
        if one["type"] == "missing":
            above, key = one["loc"][:-1], str(one["loc"][-1])
            if any(beside == above and similar(name, [key]) for beside, name in odd):
                continue
        _note(one, node, model, report)


def _note(error: ErrorDetails, node: Node, model: type[BaseModel], report: Report) -> None:
    """Note one error of pydantic at the place in the tree that it speaks of."""
    at, kind = locate(node, error["loc"]), error["type"]
    if at.text is not None and report.covers(at.place):
        return  # it was found as a literal secret before
    if kind == "missing":
        report.add(at.key_place, f"{str(error['loc'][-1])!r} is missing")
    elif kind == "extra_forbidden":
        key = str(error["loc"][-1])
        report.add(at.key_place, later(key) if key in LATER else unknown("key", key, _fields(model, error["loc"])))
    elif kind == "secret_expected":
        report.cover(at.place)
        report.add(at.place, str(error["msg"]))
    elif at.text in LATER_VALUES:
        report.add(at.place, later(at.text or ""))
    else:
        report.add(at.key_place if error["loc"][-1:] == ("[key]",) else at.place, _sentence(error, at))


def locate(node: Node, loc: Sequence[int | str]) -> Node:
    """Return the deepest node on the way.

    Parts that are not in the tree (names of alternatives, entries made of a short form) are passed over.
    """
    for part in loc:
        match node.value:
            case dict() as entries:
                node = entries.get(str(part), node)
            case list() as children if isinstance(part, int) and part < len(children):
                node = children[part]
            case _:
                pass
    return node


def found(node: Node) -> str:
    """Say what stands there, briefly."""
    match node.value:
        case None:
            return "nothing"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case text:
            return repr(text if len(text) <= FOUND_SHOWN_MAX else text[:FOUND_SHOWN_MAX] + "…")


_EXPECTED: Mapping[str, str] = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of sane size",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "iterable_type": "a list",
}


def _sentence(error: ErrorDetails, node: Node) -> str:
    kind, context = error["type"], error.get("ctx") or {}
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error") or error["msg"])
    if kind in ("too_short", "too_long"):
        bound = (
            f"at least {context.get('min_length')}" if kind == "too_short" else f"at most {context.get('max_length')}"
        )
        return f"found {context.get('actual_length')} entries, expected {bound}"
    if kind == "string_too_short":
        return f"found {found(node)}, expected text"
    if kind in ("literal_error", "enum"):
        return f"found {found(node)}, expected {context.get('expected')}"
    expected = _EXPECTED.get(kind)
    if expected is None:
        limits = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
        words = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}
        limit = limits.get(kind)
        if limit is None:
            return f"found {found(node)}: {error['msg']}"
        expected = f"{words[limit]} {context.get(limit)}"
    return f"found {found(node)}, expected {expected}"


def _fields(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the keys that are known where an unknown one was found."""
    current: Any = model
    for part in loc[:-1]:
        inner = _inner(current, part)
        if inner is not None:
            current = inner
    return [field.alias or name for name, field in current.model_fields.items()]


def _inner(model: Any, part: int | str) -> Any:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    field = fields.get(str(part))
    return _model_in(field.annotation) if field is not None else None


def _model_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        inner = _model_in(argument)
        if inner is not None:
            return inner
    return None
