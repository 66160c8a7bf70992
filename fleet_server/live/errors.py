"""What live mode refuses."""

from __future__ import annotations

from fleet_server.errors import FleetError


class TooManyWatchers(FleetError):
    code = "too_many_watchers"
    status = 503
