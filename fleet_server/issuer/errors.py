"""Why no certificate was made. Codes travel over the issuer's socket and through the doors of HTTP unchanged."""

from __future__ import annotations

from typing import ClassVar

from fleet_server.errors import FleetError


class IssuerUnreachable(FleetError):
    """Nothing was signed; the same may succeed in a moment."""

    code: ClassVar[str] = "issuer_unreachable"
    status: ClassVar[int] = 503


class RequestRefused(FleetError):
    """A signing request with a weak key, another name, or anything but a name and a key."""

    code: ClassVar[str] = "csr_refused"
    status: ClassVar[int] = 422


class NameTaken(FleetError):
    """Names are certified for the first time once, and never again after they were retired."""

    code: ClassVar[str] = "name_taken"
    status: ClassVar[int] = 409


class KeyTaken(FleetError):
    code: ClassVar[str] = "key_taken"
    status: ClassVar[int] = 409


class NameRetired(FleetError):
    code: ClassVar[str] = "name_retired"
    status: ClassVar[int] = 403


class ProofInvalid(FleetError):
    """The key that has the name now did not sign."""

    code: ClassVar[str] = "proof_invalid"
    status: ClassVar[int] = 403


class TooLongAsleep(FleetError):
    """Past the days of grace a person has to let the device in again."""

    code: ClassVar[str] = "renewal_needs_approval"
    status: ClassVar[int] = 403


class CapReached(FleetError):
    code: ClassVar[str] = "issuing_cap_reached"
    status: ClassVar[int] = 429


OF_ISSUER: dict[str, type[FleetError]] = {
    kind.code: kind
    for kind in (
        RequestRefused,
        NameTaken,
        KeyTaken,
        NameRetired,
        ProofInvalid,
        TooLongAsleep,
        CapReached,
    )
}
