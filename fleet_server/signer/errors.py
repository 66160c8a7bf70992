"""Why a command was not signed."""

from __future__ import annotations

from fleet_server.errors import FleetError


class KeyUnreadable(FleetError):
    code = "signing_key_unreadable"
    status = 500


class SigningRefused(FleetError):
    """The key was there, and was not used."""

    code = "signing_refused"
    status = 409


class ClassNotSigned(SigningRefused):
    """The online key alone is never enough for this danger class here."""

    code = "class_not_signed"
    status = 409


class ClockWentBack(SigningRefused):
    """The server's clock is behind what it has already recorded; a signed time would be believed by terminals."""

    code = "clock_went_back"
    status = 503


class SigningCapReached(SigningRefused):
    """More changing commands in an hour than this installation may send: a runaway caller stops here."""

    code = "signing_cap_reached"
    status = 429
