"""Refusals that a caller can act on; anything else is a bug and becomes a 500.

Programs read ``code``, people read the text. One handler renders them as ``{"code", "detail"}``.
"""

from __future__ import annotations

from typing import ClassVar


class FleetError(Exception):
    code: ClassVar[str] = "fleet_error"
    status: ClassVar[int] = 400


class SettingsInvalid(FleetError):
    """Stops the start and names what is missing."""

    code = "settings_invalid"


class SchemaUnknown(FleetError):
    """The database is at a revision that this version does not know; nothing was changed."""

    code = "schema_unknown"


class DatabaseUnreachable(FleetError):
    code = "database_unreachable"
