"""The JSON Schema of routes.yaml, for editors: made of the grammar and of the adapters that are installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from hub.config.file_model import RoutesFile
from hub.config.model import InboundKeys, OutboundKeys
from hub.plugins import Plugin, list_adapters

_ANY_SCALAR = ["string", "number", "boolean"]  # an editor reads 03103000 as a number; the hub reads text


def json_schema() -> dict[str, Any]:
    """Return one schema for the whole file (JSON Schema 2020-12)."""
    plugins = [plugin for plugin in list_adapters() if plugin.adapter is not None]
    definitions: dict[str, Any] = {}
    schema = _schema_of(RoutesFile, definitions)
    inbound = [_endpoint(plugin, InboundKeys, definitions) for plugin in plugins if plugin.direction == "in"]
    outbound = [_endpoint(plugin, OutboundKeys, definitions) for plugin in plugins if plugin.direction == "out"]
    like = {"type": "object", "properties": {"like": {"type": "string"}}, "required": ["like"]}
    places = {"inbound": inbound, "procedures": outbound, "destinations": [*outbound, like]}
    for name, alternatives in places.items():
        schema["properties"][name]["additionalProperties"] = {"anyOf": alternatives} if alternatives else {}
    definitions["MunicipalityEntry"]["properties"]["procedures"]["additionalProperties"] = {"anyOf": [*outbound, like]}
    # What comes from an include is not in this file.
    schema["required"] = ["version"]
    schema["properties"]["version"] = {"enum": [1, "1"]}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": definitions}
    schema["title"] = "routes.yaml"
    _soften(schema)
    return schema


def _schema_of(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        schema = TypeAdapter(model).json_schema(mode="validation")
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        return {"type": "object"}  # an adapter with types that have no schema still works
    definitions.update(schema.pop("$defs", {}))
    return schema


def _endpoint(plugin: Plugin, keys: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one adapter's endpoint: the hub's keys and its own settings."""
    assert plugin.adapter is not None
    hub_part = _schema_of(keys, definitions)
    inner: dict[str, Any] = {}
    own_part = _schema_of(plugin.adapter.settings, inner)
    prefix = f"{plugin.name}-{plugin.direction}."
    _rename(own_part, prefix)
    _rename(inner, prefix)
    definitions.update({prefix + name: schema for name, schema in inner.items()})
    name = f"{plugin.name}-{plugin.direction}"
    definitions[name] = {
        "type": "object",
        "title": f"adapter: {plugin.name}",
        "properties": {
            **hub_part["properties"],
            **own_part.get("properties", {}),
            "adapter": {"const": plugin.name},
        },
        "required": ["adapter"],  # of the settings nothing is: a municipality may add what a procedure leaves open
        "additionalProperties": "properties" not in own_part,
    }
    return {"$ref": f"#/$defs/{name}"}


def _rename(schema: Any, prefix: str) -> None:
    for node in _objects(schema):
        reference = node.get("$ref")
        if isinstance(reference, str):
            node["$ref"] = reference.replace("#/$defs/", f"#/$defs/{prefix}", 1)


def _soften(schema: Any) -> None:
    """Let every scalar be written without quotes."""
    for node in _objects(schema):
        if node.get("type") in ("string", "integer", "number", "boolean"):
            node["type"] = _ANY_SCALAR
            node.pop("format", None)


def _objects(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
        for child in schema.values():
            yield from _objects(child)
    elif isinstance(schema, list):
        for child in schema:
            yield from _objects(child)
