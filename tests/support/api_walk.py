"""Requests for every operation of the described API, each with one text in one place that takes words."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

DESCRIPTION = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
_METHODS = ("get", "post", "put", "patch", "delete")
_MAX_DEPTH = 6

Place = tuple[str | int, ...]


def operations() -> list[str]:
    paths = json.loads(DESCRIPTION.read_text("utf-8"))["paths"]
    return [f"{method.upper()} {path}" for path, of in paths.items() for method in _METHODS if method in of]


@dataclass(frozen=True, slots=True)
class Request:
    """``place``: where the text stands, such as ``body.reason``."""

    operation: str
    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    place: str


class Walk:
    """``known``: what stands elsewhere in a body, or in a path, under a name, so that more than the form is right."""

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._document = json.loads(DESCRIPTION.read_text("utf-8"))
        self._known = known

    def requests(self, text: str) -> Iterator[Request]:
        for path, operations in self._document["paths"].items():
            for method in _METHODS:
                if method in operations:
                    yield from self._of(path, method, operations[method], text)

    def _of(self, path: str, method: str, operation: dict[str, Any], text: str) -> Iterator[Request]:
        name = f"{method.upper()} {path}"
        parameters = [self._resolved(one) for one in operation.get("parameters", ())]
        names = [one["name"] for one in parameters if one["in"] == "path"]
        filled = self._filled(path, names)
        body_schema = self._body(operation)
        body = self._example(body_schema, "") if body_schema else None
        yield Request(name, method, filled, {}, body, "")
        for one in names:
            yield Request(name, method, self._filled(path, names, {one: text}), {}, body, f"path.{one}")
        for one in parameters:
            if one["in"] == "query":
                yield Request(name, method, filled, {one["name"]: text}, body, f"query.{one['name']}")
        for place in self._texts(body_schema):
            planted = _planted(body, place, text)
            yield Request(name, method, filled, {}, planted, "body." + ".".join(map(str, place)))

    def _filled(self, path: str, names: list[str], instead: Mapping[str, str] | None = None) -> str:
        for name in names:
            value = str((instead or {}).get(name, self._known.get(name, "none")))
            path = path.replace("{" + name + "}", quote(value, safe=""))
        return path

    def _body(self, operation: dict[str, Any]) -> Any:
        content = self._resolved(operation.get("requestBody", {})).get("content", {})
        return content.get("application/json", {}).get("schema")

    def _resolved(self, schema: Any) -> Any:
        while "$ref" in schema:
            found = self._document
            for part in schema["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            schema = found
        if "anyOf" in schema:
            return self._resolved(next(one for one in schema["anyOf"] if one.get("type") != "null"))
        return schema

    def _example(self, schema: Any, name: str, depth: int = 0) -> Any:
        schema = self._resolved(schema)
        if name in self._known:
            return copy.deepcopy(self._known[name])
        if "const" in schema or "enum" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        kind = schema.get("type")
        if kind == "object" and depth < _MAX_DEPTH:
            properties = schema.get("properties", {})
            return {one: self._example(inner, one, depth + 1) for one, inner in properties.items()}
        if kind == "array":
            return [self._example(schema["items"], name, depth + 1)]
        return {"string": "a", "integer": schema.get("minimum", 1), "number": 1.0, "boolean": False}.get(kind, {})

    def _texts(self, schema: Any, place: Place = ()) -> Iterator[Place]:
        """Also the names and values of objects that may hold anything."""
        if schema is None:
            return
        schema = self._resolved(schema)
        kind = schema.get("type")
        if kind == "object":
            for name, inner in schema.get("properties", {}).items():
                yield from self._texts(inner, (*place, name))
            if not schema.get("properties"):
                yield (*place, "anything")
        elif kind == "array":
            yield from self._texts(schema["items"], (*place, 0))
        elif kind == "string" or kind is None:
            yield place


def _planted(body: Any, place: Place, text: str) -> Any:
    body = copy.deepcopy(body)
    if not place:
        return text
    at = body
    for step, following in pairwise(place):
        if isinstance(at, list):
            at[:] = at[:1] or [{}]
        elif not isinstance(at.get(step), (dict, list)):
            at[step] = [{}] if following == 0 else {}
        at = at[step]
    if isinstance(at, list):
        at[:] = [text]
    else:
        at[place[-1]] = text
    return body
