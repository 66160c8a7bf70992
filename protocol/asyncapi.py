"""The published description of this protocol: an AsyncAPI 3.0 document made from the types, so that it cannot drift.

Signed messages travel as DSSE envelopes; the document describes the envelope as the payload and names the schema of
what is inside it in ``x-signed-payload``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from protocol.authorisations import Authorisation
from protocol.capabilities import Capabilities
from protocol.codec import JSON, JSON_DEFLATE, MAX_INFLATED_BYTES, MAX_PAYLOAD_BYTES
from protocol.commands import AUTHORISATION_TYPE, COMMAND_TYPE, Command
from protocol.identifiers import IDENTIFIER_PATTERN, LinkId
from protocol.live import LiveReport
from protocol.records import Record
from protocol.session import Flow, Hello, Presence, Welcome
from protocol.signing import ACK_TYPE, FLOW_TYPE, POLICY_TYPE, WELCOME_TYPE, Envelope, Policy
from protocol.stops import STOP_TYPE, StopOrder
from protocol.streams import Ack, Batch
from protocol.topics import EVENTS, WATCH, Down, Up, down, up
from protocol.version import PROTOCOL_VERSION

_REF = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    address: str
    message: type
    qos: int
    says: str
    signed: type | None = None
    signed_type: str = ""


_LINK = LinkId("{link}")
_CHANNELS = (
    _Channel("hello", up(_LINK, Up.HELLO), Hello, 1, "Repeated (5 s doubling to 300 s) until welcomed."),
    _Channel("capabilities", up(_LINK, Up.CAPABILITIES), Capabilities, 1, "Checks, tests, fixes and metrics."),
    _Channel("urgent", up(_LINK, Up.URGENT), Batch, 1, "Faults, verdicts, execution states, tombstones."),
    _Channel("bulk", up(_LINK, Up.BULK), Batch, 1, "Columns of health samples."),
    _Channel("live", up(_LINK, Up.LIVE), LiveReport, 0, "Samples and progress while somebody watches; may be lost."),
    _Channel("presence", up(_LINK, Up.PRESENCE), Presence, 1, "Last will and goodbye."),
    _Channel("welcome", down(_LINK, Down.WELCOME), Envelope, 1, "Answers a hello; 0 in storms.", Welcome, WELCOME_TYPE),
    _Channel("ack", down(_LINK, Down.ACK), Envelope, 1, "What is committed; bulk, or in storms, 0.", Ack, ACK_TYPE),
    _Channel("command", down(_LINK, Down.COMMAND), Envelope, 1, "One signed command.", Command, COMMAND_TYPE),
    _Channel("flow", down(_LINK, Down.FLOW), Envelope, 1, "The pace the server asks for.", Flow, FLOW_TYPE),
    _Channel("trust", down(_LINK, Down.TRUST), Envelope, 1, "A new policy, or a stop (x-signed).", Policy, POLICY_TYPE),
)


def document() -> dict[str, Any]:
    """The whole document, ready for JSON."""
    types = (*(channel.message for channel in _CHANNELS), Record, Authorisation, Policy, StopOrder)
    signed = tuple(channel.signed for channel in _CHANNELS if channel.signed is not None)
    wanted = tuple(dict.fromkeys((*types, *signed)))
    references, schemas = msgspec.json.schema_components(wanted, ref_template=_REF)
    by_type = dict(zip(wanted, references, strict=True))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tillmedic device protocol",
            "version": str(PROTOCOL_VERSION),
            "description": (
                "MQTT 5 over TLS 1.3 with a client certificate per link. Nothing is retained. Payloads are at most "
                f"{MAX_PAYLOAD_BYTES} bytes as sent and {MAX_INFLATED_BYTES} inflated, as {JSON} or {JSON_DEFLATE}."
            ),
        },
        "defaultContentType": JSON,
        "channels": {channel.name: _channel(channel) for channel in _CHANNELS} | _between_servers(),
        "operations": {channel.name: _operation(channel) for channel in _CHANNELS},
        "components": {
            "messages": {channel.name: _message(channel, by_type) for channel in _CHANNELS},
            "schemas": schemas,
        },
        "x-records": by_type[Record],
        "x-signed": {
            AUTHORISATION_TYPE: by_type[Authorisation],
            POLICY_TYPE: by_type[Policy],
            STOP_TYPE: by_type[StopOrder],
        },
    }


def _channel(channel: _Channel) -> dict[str, Any]:
    return {
        "address": channel.address,
        "description": channel.says,
        "parameters": {"link": {"description": f"common name of the client certificate, {IDENTIFIER_PATTERN}"}},
        "messages": {channel.name: {"$ref": f"#/components/messages/{channel.name}"}},
        "bindings": {"mqtt": {"bindingVersion": "0.2.0"}},
    }


def _between_servers() -> dict[str, Any]:
    return {
        "events": {
            "address": EVENTS,
            "description": "Ids of new events between server processes; devices have no right on it.",
        },
        "watch": {
            "address": WATCH,
            "description": (
                "Between server processes: `{link, for_s}` while somebody watches a device of the link, at most once "
                "in 10 s. Ingest answers with a signed flow. Devices have no right on it."
            ),
        },
    }


def _operation(channel: _Channel) -> dict[str, Any]:
    """Seen from the device: what it sends and what it receives."""
    return {
        "action": "send" if "/up/" in channel.address else "receive",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "bindings": {"mqtt": {"qos": channel.qos, "retain": False, "bindingVersion": "0.2.0"}},
    }


def _message(channel: _Channel, by_type: dict[type, dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"name": channel.name, "summary": channel.says, "payload": by_type[channel.message]}
    if channel.signed is not None:
        message["x-signed-payload"] = {"payloadType": channel.signed_type, "schema": by_type[channel.signed]}
    return message
