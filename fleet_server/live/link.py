"""The API process's connection to the broker: hints of new events and live reports come in, each to its hub."""

from __future__ import annotations

from fleet_server.live.hub import LiveHub
from fleet_server.mqtt import Received, ServerLink
from fleet_server.settings import ServerSettings
from fleet_server.timeline.hub import EventHub
from protocol.topics import EVENTS, LIVE_FILTER


def api_link(settings: ServerSettings, name: str, events: EventHub, live: LiveHub) -> ServerLink:
    def on_message(message: Received) -> None:
        if message.topic == EVENTS:
            events.notify()
        else:
            live.on_message(message)

    return ServerLink(settings, name, on_message, [(EVENTS, 0), (LIVE_FILTER, 0)])
