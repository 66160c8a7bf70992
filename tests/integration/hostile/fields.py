"""Every field that a device, a program, a form or a file can fill with words, read off the program itself.

A field is open when its description lets hostile text in; what is closed by an enumeration, a form of dates or a
pattern is planted too, and has to be refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter

from fleet_server.console.router import mount_console
from fleet_server.enrollment import pallet
from fleet_server.sites import files as sites
from fleet_server.sites.values import LONGEST
from protocol import asyncapi
from tests.integration.hostile.words import PRINTABLE

DESCRIPTION: Final = Path(__file__).resolve().parents[3] / "docs" / "openapi.json"
METHODS: Final = ("get", "post", "put", "patch", "delete")
# What people sign: who may command is written in the policy, by the ceremony of the root.
_SIGNED_BY_PEOPLE: Final = ("Authorisation", "StopOrder")
_MAX_DEPTH = 12
# Batches hold records as they were written.
_DESCRIBED_APART: Final = frozenset({"up/bulk records[]", "up/urgent records[]"})
# Told by the session and compared with it, before anything else.
_OF_THE_DOOR = frozenset({"csrf"})
# Forms whose fields the endpoint reads itself. That there are no others a test tells by `.form(` in the sources.
READ_BY_HAND: Final = {
    "POST /sites/{site_id}": tuple(LONGEST),
    "POST /devices/{device_id}/playbooks/{playbook}": ("v-apn",),
    "POST /devices/{device_id}/runs": ("action", "key", "override_reason", "{parameter}"),
}


@dataclass(frozen=True, slots=True, order=True)
class Field:
    """``owner``: an operation, a form, a message, or a file; ``place``: of the text in it. ``longest``: 0
    where nothing is said.
    """

    door: str
    owner: str
    place: str
    is_open: bool
    longest: int = 0

    @property
    def name(self) -> str:
        return f"{self.owner} {self.place}"


def all_fields() -> list[Field]:
    found = [*_of_messages(), *_of_signed(), *_of_bodies(), *_of_forms(), *_of_files()]
    return sorted(set(found))


def _of_messages() -> Iterator[Field]:
    document = asyncapi.document()
    for name, operation in document["operations"].items():
        if operation["action"] == "send":
            payload = document["components"]["messages"][name]["payload"]
            yield from _fields(document, payload, "device", f"up/{name}")
    yield from _fields(document, document["x-records"], "device", "record")


def _of_signed() -> Iterator[Field]:
    document = asyncapi.document()
    for reference in document["x-signed"].values():
        name = reference["$ref"].rpartition("/")[2]
        if name in _SIGNED_BY_PEOPLE:
            yield from _fields(document, reference, "signed", name)


def _of_bodies() -> Iterator[Field]:
    document = json.loads(DESCRIPTION.read_text("utf-8"))
    for path, operations in document["paths"].items():
        for method in METHODS:
            body = _resolved(document, operations.get(method, {}).get("requestBody", {}))
            for content in body.get("content", {}).values():
                yield from _fields(document, content["schema"], "api", f"{method.upper()} {path}")


def _of_forms() -> Iterator[Field]:
    app = FastAPI()
    mount_console(app)
    for route in iter_route_contexts(app.routes):
        endpoint = route.original_route
        if not isinstance(endpoint, APIRoute):
            continue
        for method in sorted(route.methods or ()):
            for one in _form_of(endpoint.dependant):
                if one.alias not in _OF_THE_DOOR:
                    schema = TypeAdapter(one.field_info.annotation).json_schema()
                    schema |= _limits(one.field_info.metadata)
                    yield from _fields(schema, schema, "form", f"form {method} {route.path}", one.alias)
    for name, places in READ_BY_HAND.items():
        for place in places:
            yield Field("form", f"form {name}", place, is_open=True, longest=LONGEST.get(place, 0))


def _form_of(dependant: Dependant) -> Iterator[Any]:
    yield from dependant.body_params
    for inner in dependant.dependencies:
        yield from _form_of(inner)


def _limits(metadata: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in metadata:
        if getattr(one, "max_length", None) is not None:
            found["maxLength"] = one.max_length
        if getattr(one, "pattern", None) is not None:
            found["pattern"] = one.pattern
    return found


def _of_files() -> Iterator[Field]:
    for name, longest in pallet._LONGEST.items():
        yield Field("csv", "csv of a pallet", name, is_open=True, longest=longest)
    for name in sites._NAMES:
        yield Field("csv", "csv of sites", name, is_open=True, longest=LONGEST.get(name, 0))


def _fields(
    document: Mapping[str, Any], schema: Any, door: str, owner: str, place: str = "", depth: int = 0
) -> Iterator[Field]:
    schema = _resolved(document, schema)
    if depth > _MAX_DEPTH or f"{owner} {place}" in _DESCRIBED_APART:
        return
    if "properties" not in schema and ("anyOf" in schema or "oneOf" in schema):
        for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
            yield from _fields(document, inner, door, _owner(owner, inner), place, depth + 1)
        return
    kind = schema.get("type")
    if kind == "object":
        for name, inner in schema.get("properties", {}).items():
            yield from _fields(document, inner, door, owner, f"{place}.{name}".lstrip("."), depth + 1)
        more = schema.get("additionalProperties", not schema.get("properties"))
        if more:
            yield _field(document, schema.get("propertyNames", {}), door, owner, f"{place}.{{name}}")
            yield from _fields(document, more if isinstance(more, dict) else {}, door, owner, f"{place}.{{value}}", 1)
    elif kind == "array":
        inside = [one for one in (*schema.get("prefixItems", ()), schema.get("items")) if one]
        for inner in inside or [{}]:
            yield from _fields(document, inner, door, owner, f"{place}[]", depth + 1)
    elif kind in {"string", None} and schema.get("contentEncoding") is None:
        yield _field(document, schema, door, owner, place)


def _field(document: Mapping[str, Any], schema: Any, door: str, owner: str, place: str) -> Field:
    schema = _resolved(document, schema)
    is_closed = bool({"enum", "const", "format"} & set(schema)) or (
        "pattern" in schema and re.search(schema["pattern"], PRINTABLE) is None
    )
    return Field(door, owner, place, not is_closed, schema.get("maxLength", 0))


def _owner(owner: str, inner: Mapping[str, Any]) -> str:
    """Bodies of records by their own names: they are told apart by a tag."""
    name = str(inner.get("$ref", "")).rpartition("/")[2]
    return f"{owner}.{name}" if owner == "record" and name else owner


def _resolved(document: Mapping[str, Any], schema: Any) -> Any:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema
