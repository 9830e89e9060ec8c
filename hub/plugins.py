"""Finds adapters and steps among the installed packages. The only place that loads an entry point.

A broken plugin is a value with its error: it is named by ``adapters list``, fails the configuration that needs it, and
never stops the others. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import EntryPoint
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from hub.installed import entries, origin
from hub.plugin import API_VERSION, RESERVED_IN, RESERVED_OUT, Adapter, Context, Judge, Settings

T = TypeVar("T")

ADAPTERS = "xoev_hub.adapters"
STEPS = "xoev_hub.steps"
OWN = "xoev-hub"
_DIRECTIONS = ("-in", "-out")


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point of an adapter: what it offers, or why it cannot be used."""

    name: str
    direction: str  # in | out; empty where it could not even be loaded
    distribution: str
    version: str
    api_version: int | None
    error: str | None
    adapter: Adapter | None


def find_adapter(name: str, direction: str) -> Adapter:
    """Return the adapter of that name for ``in`` or ``out``.

    Raises:
        LookupError: There is none, or it cannot be used; the text says which and why.
    """
    offered = _offered(name)
    fitting = [plugin for plugin in offered if plugin.direction == direction]
    broken = [plugin for plugin in fitting or offered if plugin.error]
    for plugin in fitting:
        if plugin.adapter is not None and not plugin.error:
            return plugin.adapter
    if broken:
        first = broken[0]
        raise LookupError(f"adapter {name!r} of {first.distribution} {first.version} cannot be used: {first.error}")
    if offered:
        way = "takes nothing in" if direction == "in" else "delivers nothing"
        raise LookupError(f"adapter {name!r} {way}")
    known = sorted(adapter_names())
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
    raise LookupError(f"unknown adapter {name!r}; {hint}")


def list_adapters() -> tuple[Plugin, ...]:
    """Return every adapter that is installed, by name and direction, broken ones with their error."""
    return tuple(
        plugin for name in sorted(adapter_names()) for plugin in sorted(_offered(name), key=lambda one: one.direction)
    )


def adapter_names() -> frozenset[str]:
    """Return the names of the adapters that packages offer. Imports none of them."""
    return frozenset(_plain(entry.name) for entry in entries(ADAPTERS))


def step_names() -> frozenset[str]:
    """Return the names of the steps that packages offer. Imports none of them."""
    return frozenset(entry.name for entry in entries(STEPS))


def find_step(name: str) -> str:
    """Return where the step of that name stands, as ``package.module:function``. Imports nothing.

    Raises:
        LookupError: No package offers it, or more than one does.
    """
    distinct = {(entry.module, entry.attr, origin(entry)) for entry in entries(STEPS) if entry.name == name}
    match sorted(distinct):
        case [(module, attribute, _)]:
            return f"{module}:{attribute}"
        case []:
            close = difflib.get_close_matches(name, step_names(), n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise LookupError(f"no installed package offers a step {name!r}{hint}")
        case several:
            packages = ", ".join(sorted({" ".join(origin) for _, _, origin in several}))
            raise LookupError(f"step {name!r} is offered more than once: {packages}")


def check_settings(
    adapter: Adapter, settings: Any, context: Context, *, thorough: bool = True
) -> tuple[tuple[tuple[str, ...], str], ...]:
    """Return what the adapter's own checks say of validated settings; a check that fails is a problem itself."""
    found: list[tuple[tuple[str, ...], str]] = []
    for judge in (adapter.check, adapter.prove if thorough else None):
        if judge is not None:
            told = _attempt(partial(_told, judge, settings, context))
            if isinstance(told, BaseException):
                # The text of somebody's bug may quote anything, so only its kind is shown.
                return (*found, ((), f"the check of adapter {adapter.name!r} failed: {type(told).__name__}"))
            found += told
    return tuple(found)


def _told(judge: Judge, settings: Any, context: Context) -> list[tuple[tuple[str, ...], str]]:
    return [(tuple(map(str, path)), str(text)) for path, text in judge(settings, context)]


def read_settings(adapter: Adapter, values: Mapping[str, Any]) -> Settings | ValidationError | str:
    """Return the adapter's validated settings, or pydantic's errors, or what broke in the plugin."""
    read = _attempt(lambda: adapter.settings.model_validate(values))
    if isinstance(read, BaseException) and not isinstance(read, ValidationError):
        return f"the settings of adapter {adapter.name!r} failed: {type(read).__name__}"
    return read


def _attempt(call: Callable[[], T]) -> T | Exception | SystemExit:
    """Call into a plugin; whatever it raises is a value."""
    try:
        return call()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin's bug must not stop the others
        return error


def _plain(entry: str) -> str:
    for suffix in _DIRECTIONS:
        entry = entry.removesuffix(suffix)
    return entry


@cache
def _offered(name: str) -> tuple[Plugin, ...]:
    wanted = {name, *(name + suffix for suffix in _DIRECTIONS)}
    found = [entry for entry in entries(ADAPTERS) if entry.name in wanted]
    # A folder that stands on the path twice shows its entry points twice.
    distinct = {(entry.name, entry.value, origin(entry)): entry for entry in found}
    return _without_twins(_load(entry, name) for entry in distinct.values())


def _load(entry: EntryPoint, name: str) -> Plugin:
    distribution, version = origin(entry)
    plugin = Plugin(name, "", distribution, version, None, None, None)
    value = _attempt(entry.load)
    if isinstance(value, BaseException):
        return replace(plugin, error=f"{entry.value} cannot be loaded: {type(value).__name__}: {value}")
    if not isinstance(value, Adapter):
        return replace(plugin, error=f"{entry.value} is no hub.plugin.Adapter but a {type(value).__name__}")
    known = replace(plugin, direction=value.direction, api_version=value.api_version)
    error_text = _refusal(value, name)
    return replace(known, error=error_text) if error_text else replace(known, adapter=value)


def _refusal(adapter: Adapter, name: str) -> str | None:
    if adapter.name != name:
        return f"it calls itself {adapter.name!r}; the entry point must bear the same name"
    if adapter.api_version != API_VERSION:
        return f"it is made for version {adapter.api_version!r} of the plugin interface; this hub has {API_VERSION}"
    if sum(one is not None for one in (adapter.outbound, adapter.listener, adapter.poller)) != 1:
        return "exactly one of outbound, listener and poller must be given"
    model: object = adapter.settings
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return "its settings are no pydantic model"
    reserved = RESERVED_OUT if adapter.direction == "out" else RESERVED_IN
    fields = {key for name, field in adapter.settings.model_fields.items() for key in (name, field.alias) if key}
    if taken := sorted(fields & reserved):
        return f"its settings use keys that belong to the hub: {', '.join(taken)}"
    return None


def _without_twins(plugins: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """Refuse all of those that offer one name in one direction: which of them works must not be a matter of chance.

    The hub's own goes on: a package that somebody installs beside it must not stop what works.
    """
    found = tuple(plugins)
    return tuple(_refused_as_twin(one, [other for other in found if _same_offer(one, other)]) for one in found)


def _same_offer(one: Plugin, other: Plugin) -> bool:
    return one.adapter is not None and other.adapter is not None and one.direction == other.direction


def _refused_as_twin(one: Plugin, offering: Sequence[Plugin]) -> Plugin:
    own = [plugin for plugin in offering if plugin.distribution == OWN]
    if len(offering) < 2 or own == [one]:
        return one
    text = f"offered more than once for direction {one.direction!r}: {_names(offering)}"
    return replace(one, adapter=None, error=f"{text}; the hub's own is used" if len(own) == 1 else text)


def _names(plugins: Iterable[Plugin]) -> str:
    return ", ".join(sorted({f"{plugin.distribution} {plugin.version}" for plugin in plugins}))
