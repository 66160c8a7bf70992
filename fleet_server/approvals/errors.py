"""Why a decision was not taken."""

from __future__ import annotations

from fleet_server.errors import FleetError


class ApprovalNotFound(FleetError):
    code = "approval_not_found"
    status = 404

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"no approval is awaited for execution {execution_id[:64]!r}")


class PermitNotFound(FleetError):
    code = "permit_not_found"
    status = 404

    def __init__(self, permit_id: str) -> None:
        super().__init__(f"permit {permit_id[:64]!r} is not known here")


class SignatureRefused(FleetError):
    """Not made by an approver of the policy, or not over exactly what is asked."""

    code = "signature_refused"
    status = 422


class ApproverIsRequester(FleetError):
    code = "approver_is_requester"
    status = 409


class AlreadyApproved(FleetError):
    """The same person counts once."""

    code = "already_approved"
    status = 409


class PermitRefused(FleetError):
    """Not a shift permit that terminals would obey."""

    code = "permit_refused"
    status = 422
