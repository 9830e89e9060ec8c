"""The reference of the configuration: every key of routes.yaml, hub.toml and profile.yaml, read from the models."""

# ruff: noqa: INP001  # beside the script that calls it

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from hub.config import model, process
from hub.config.file_model import RoutesFile
from hub.config.validate import LATER, LATER_VALUES
from hub.plugin import RESERVED_IN, RESERVED_OUT, Limits, Settings
from hub.plugins import list_adapters
from hub.retry import RetryPolicy
from hub.xml import profile_file
from hub.xml.forms import FORMS

Say: TypeAlias = Callable[[str, str], str]
"""Returns the sentence for a section and a key."""

LIMITS, POLICY = Limits(), RetryPolicy()
EFFECTIVE: Mapping[tuple[str, str], object] = {
    **{("RetryEntry", key): getattr(POLICY, key) for key in ("first", "factor", "ceiling", "give_up_after")},
    **{("TimeoutEntry", key): getattr(LIMITS, key) for key in ("connect", "total")},
    **{("OutboundKeys", key): getattr(LIMITS, key) for key in ("max_in_flight", "max_reply")},
    **{("InboundKeys", key): getattr(LIMITS, key) for key in ("max_body", "max_text")},
}
"""Keys that may be left out and then mean the program's own default, which no model knows."""

FORMS_OF_TEXT = {
    "^[0-9]{1,9}(ms|s|m|h|d)$": "duration such as `30s`, `5m`, `4d`",
    "^[0-9]{1,9}(B|kB|KB|MB|GB)$": "size such as `64kB`, `50MB`",
    "^(true|false)$": "`true` or `false`",
    "^(env|file):.": "reference `env:NAME` or `file:PATH`",
}
SHARED = {"StepEntry": "steps", "TlsSettings": "tls"}  # described once, under a heading of their own


def routes_reference(say: Say) -> Iterator[str]:
    """Yield the reference of routes.yaml, hub.toml and profile.yaml."""
    yield "# Reference of the configuration\n"
    yield (
        "Every key of `routes.yaml`, `hub.toml` and `profile.yaml`. `NAME` stands for a name of yours, `[]` for each "
        "entry of a list. Unknown keys are errors; every scalar is text (`03103000` keeps its zero, `no` is no). "
        "Relative paths count from the main `routes.yaml`. Secrets stand as `env:NAME` or `file:PATH`, never "
        "themselves. `xoev-hub config schema` prints the same as JSON Schema, for editors.\n"
    )
    yield "## routes.yaml\n"
    yield from _keys(RoutesFile, "", say)
    yield "## steps\n"
    yield "One entry of a list of steps has exactly one of these keys.\n"
    yield from _keys(model.StepEntry, "steps[].", say)
    yield from _endpoints(say)
    yield from _common(say)
    yield from _process(say)
    yield from _profile(say)


def _endpoints(say: Say) -> Iterator[str]:
    built_in = [one for one in list_adapters() if one.distribution == "xoev-hub" and one.adapter is not None]
    for direction, title, keys in (
        ("in", "inbound.NAME", model.InboundKeys),
        ("out", "procedures.NAME, destinations.NAME", model.OutboundKeys),
    ):
        yield f"## {title}\n"
        if direction == "out":
            yield "#### `like`\n\noptional · text\n"
            yield (
                "A procedure to take over, in `destinations` and in a municipality's `procedures`. What stands beside "
                "it replaces what stands there. One level only.\n"
            )
        yield from _keys(keys, "", say)
        for plugin in built_in:
            if plugin.direction == direction and plugin.adapter is not None:
                name = f"{plugin.name} ({direction})"
                yield f"### adapter: {name}\n"
                yield from _keys(plugin.adapter.settings, f"{plugin.name}.", say)
    yield "### tls\n"
    yield "Paths count from routes.yaml. TLS 1.2 or newer, verified; nothing switches that off.\n"
    yield from _keys(_classes()["TlsSettings"], "tls.", say)


def _common(_: Say) -> Iterator[str]:
    yield "## Placeholders\n"
    yield (
        "In all strings of a procedure or destination: `{municipality}` (its key), `{municipality.values.NAME}` (a "
        "member that has no such value takes its county's), `{service}`. The folder adapter fills `{delivery_id}`, "
        "`{message_id}`, `{name}` itself. Any other name in braces is an error.\n"
    )
    yield "## Reserved keys\n"
    yield "They belong to the hub. A plugin whose settings use one is refused.\n"
    yield f"- of sources: {_listed(RESERVED_IN)}\n- of destinations: {_listed(RESERVED_OUT)}\n"
    yield "## Keys that come later\n"
    yield "They belong to the contract, and are refused with a sentence that says so.\n"
    yield f"- keys: {_listed(LATER)}\n- values: {_listed(LATER_VALUES)}\n"


def _process(say: Say) -> Iterator[str]:
    yield "## hub.toml\n"
    yield (
        "Settings of the process, beside `routes.yaml`. The environment comes before the file, the file before the "
        "default. `XOEV_HUB_CONFIG` names the `routes.yaml` (or `-c`).\n"
    )
    usual = process.load_process(Path("/DEPLOYMENT"), {})
    defaults = {
        "state_dir": "var", "store": "sqlite:///STATE_DIR/hub.db", "admin_listen": usual.admin_listen,
        "workers": "one per core", "stage": usual.stage,
        "confirm_above": str(process.CONFIRM_ABOVE),
        "worker_memory": f"{usual.worker_memory // 1_000_000_000}GB",
        "keep_free": f"{usual.keep_free // 1_000_000}MB", "ballast": f"{usual.ballast // 1_000_000}MB",
        "bytes_in_flight": f"{usual.bytes_in_flight // 1_000_000}MB",
    }  # fmt: skip
    for key in process._KEYS:
        yield f"#### `{key}`\n\n`{process.PREFIX}{key.upper()}` · default `{defaults[key]}`\n"
        yield say("process", key) + "\n"


def _profile(say: Say) -> Iterator[str]:
    yield "## profile.yaml\n"
    yield (
        "One per `schemas/xoev/STANDARD/VERSION/`, beside `routes.yaml` or shipped. A standard is added by files "
        "alone.\n"
    )
    top = ("standard", "version", "roots", "xsd", "header")
    for key in (*top, *sorted(profile_file._TOP - set(top))):
        required = "required" if key in ("standard", "version", "roots") else "optional"
        yield f"#### `{key}`\n\n{required}\n"
        yield say("profile", key) + "\n"
        if key == "roots":
            for inner in sorted(profile_file._ROOT):
                yield f"#### `roots[].{inner}`\n"
                yield say("profile_root", inner) + "\n"
        if key == "header":
            yield "| form | who writes it |\n| --- | --- |"
            yield "\n".join(f"| `{name}` | {say('header_form', name)} |" for name in FORMS) + "\n"
            inners = (
                "form",
                "namespaces",
                *profile_file._FACTS,
                *profile_file._AUTHORITIES,
                "references",
                "type_mismatch",
            )
            for inner in inners:
                yield f"#### `header.{inner}`\n"
                yield say("profile_header", inner) + "\n"


def _keys(entry: type[BaseModel], prefix: str, say: Say) -> Iterator[str]:
    """Yield each key of a model with type, default and sentence, and those of the models inside it."""
    schema = entry.model_json_schema()
    yield from _walk(schema, schema.get("$defs", {}), entry.__name__, prefix, say)


def _walk(schema: Any, definitions: Any, section: str, prefix: str, say: Say) -> Iterator[str]:
    entry = _classes()[section]
    for name, info in entry.model_fields.items():
        key = info.alias or name
        kind = schema["properties"][key]
        facts = ["required" if info.is_required() else "optional", _kind(kind, definitions)]
        shown = _default(EFFECTIVE.get((section, key), info.get_default(call_default_factory=True)), kind)
        if shown:
            facts.append(f"default `{shown}`")
        yield f"#### `{prefix}{key}`\n\n{' · '.join(facts)}\n"
        yield (info.description or _sentence(entry, key, say)) + "\n"
        for suffix, inner in _inside(kind):
            if inner in SHARED:
                yield f"See [{SHARED[inner]}](#{SHARED[inner]}).\n"
            else:
                yield from _walk(definitions[inner], definitions, inner, f"{prefix}{key}{suffix}.", say)


def _sentence(entry: type[BaseModel], key: str, say: Say) -> str:
    """Return the sentence for a key: of the model itself, or of the one that it has it from."""
    for parent in entry.__mro__[1:]:
        if key in getattr(parent, "model_fields", {}):
            try:
                return say(entry.__name__, key)
            except LookupError:
                return _sentence(parent, key, say)
    return say(entry.__name__, key)


def _classes() -> Mapping[str, Any]:
    """Return every model of the grammar and of the adapters by its name."""

    def below(parent: type[BaseModel]) -> Iterator[type[BaseModel]]:
        for child in parent.__subclasses__():
            yield child
            yield from below(child)

    return {one.__name__: one for root in (model.Grammar, Settings) for one in below(root)}


def _inside(kind: Any) -> Iterator[tuple[str, str]]:
    """Yield the models inside a key's type, each with how it is reached: `[]`, `.NAME` or directly."""
    found: dict[str, str] = {}

    def look(node: Any, suffix: str) -> None:
        if "$ref" in node:
            found.setdefault(node["$ref"].rpartition("/")[2], suffix)
        for choice in node.get("anyOf", ()):
            look(choice, suffix)
        if isinstance(node.get("items"), dict):
            look(node["items"], suffix + "[]")
        if isinstance(node.get("additionalProperties"), dict):
            look(node["additionalProperties"], suffix + ".NAME")

    look(kind, "")
    yield from ((suffix, name) for name, suffix in found.items())


def _kind(kind: Any, definitions: Any) -> str:
    """Return a type in words."""
    if "anyOf" in kind:
        words = [_kind(one, definitions) for one in kind["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "enum" in kind or "const" in kind:
        return " or ".join(f"`{value}`" for value in kind.get("enum", [kind.get("const")]))
    if "$ref" in kind:
        return "mapping"
    match kind.get("type"):
        case "string":
            return FORMS_OF_TEXT.get(kind.get("pattern", ""), "text")
        case "integer" | "number" as number:
            word = "whole number" if number == "integer" else "number"
            return f"{word} from {kind['minimum']} to {kind['maximum']}" if "minimum" in kind else word
        case "array":
            return f"list of {_kind(kind.get('items', {}), definitions)}"
        case "object" if isinstance(kind.get("additionalProperties"), dict):
            return f"by name: {_kind(kind['additionalProperties'], definitions)}"
        case _:
            return "mapping"


def _default(value: object, kind: Any) -> str:
    match value:
        case timedelta():
            return _duration(value)
        case int() if "MB|GB" in str(kind):
            return _size(value)
        case str() | int() | float() if not isinstance(value, bool):
            return str(value)
        case tuple() if value and all(isinstance(one, str) for one in value):
            return f"[{', '.join(value)}]"
        case _:
            return ""


def _duration(value: timedelta) -> str:
    for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60)):
        if value.total_seconds() % seconds == 0:
            return f"{int(value.total_seconds() // seconds)}{unit}"
    return f"{int(value.total_seconds())}s"


def _size(value: int) -> str:
    for unit, size in (("GB", 1000**3), ("MB", 1000**2), ("kB", 1000)):
        if value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}B"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words))
