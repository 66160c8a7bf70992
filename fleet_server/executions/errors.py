"""Why a request for an execution was refused."""

from __future__ import annotations

from fleet_server.errors import FleetError


class ExecutionNotFound(FleetError):
    code = "execution_not_found"
    status = 404

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"execution {execution_id[:64]!r} is not known here")


class ActionNotDeclared(FleetError):
    code = "action_not_declared"
    status = 422

    def __init__(self, action: str) -> None:
        super().__init__(f"the device does not declare an action named {action[:100]!r}")


class CapabilitiesUnknown(FleetError):
    """The device has never said what it can do."""

    code = "capabilities_unknown"
    status = 409


class ParamsInvalid(FleetError):
    code = "params_invalid"
    status = 422


class ClassNotOffered(FleetError):
    """The action's danger class needs people's signatures that this server cannot obtain."""

    code = "class_not_offered"
    status = 409


class OverrideNotAllowed(FleetError):
    """Not waiting for a safe moment is a person's own responsibility, and takes their reason."""

    code = "override_not_allowed"
    status = 422


class ExecutionFinished(FleetError):
    code = "execution_finished"
    status = 409


class NoConsentAwaited(FleetError):
    """The terminal has not asked the merchant, or does not any more."""

    code = "no_consent_awaited"
    status = 409


class IdempotencyKeyReused(FleetError):
    code = "idempotency_key_reused"
    status = 409
