"""What freezes refuse, and why something was refused because of one."""

from __future__ import annotations

from datetime import datetime

from fleet_server.errors import FleetError
from fleet_server.kit.times import text
from fleet_server.signer.errors import SigningRefused


class FreezeNotFound(FleetError):
    code = "freeze_not_found"
    status = 404

    def __init__(self, freeze_id: str) -> None:
        super().__init__(f"freeze {freeze_id[:64]!r} is not known here")


class FreezeInvalid(FleetError):
    code = "freeze_invalid"
    status = 422


class TooManyFreezes(FleetError):
    code = "too_many_freezes"
    status = 409


class FreezeOfAll(FleetError):
    """The operator of the installation declared it for every tenant, and alone ends it."""

    code = "freeze_of_all"
    status = 403


class FreezeInForce(SigningRefused):
    """Planned for many devices, and changes something: it starts when no freeze is in force any more."""

    code = "freeze_in_force"
    status = 409

    def __init__(self, until: datetime, reason: str) -> None:
        super().__init__(f"a freeze is in force until {text(until)}: {reason}")
        self.until = until
