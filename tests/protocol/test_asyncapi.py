from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from protocol import codec
from protocol.asyncapi import document
from protocol.session import Presence, PresenceStatus
from protocol.topics import Down, Up


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(document()))
    return whole


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in references(value)]
    return [ref for value in node for ref in references(value)] if isinstance(node, list) else []


def test_every_topic_is_described(described: dict[str, Any]) -> None:
    of_devices = {*(kind.value for kind in Up), *(kind.value for kind in Down)}
    assert set(described["channels"]) == of_devices | {"events", "watch"}


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    for ref in references(described):
        node: Any = described
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        assert node


def test_messages_fit_their_published_schema(described: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/Presence", "components": described["components"]}
    message = json.loads(codec.to_json(Presence("0f" * 16, PresenceStatus.ONLINE)))
    jsonschema.validate(message, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(message | {"session": "short"}, schema)
