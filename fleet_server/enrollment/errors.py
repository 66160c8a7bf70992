"""Why an installation or an enrolment could not be made."""

from __future__ import annotations

import math

from fleet_server.errors import FleetError


class DataFolderUnusable(FleetError):
    code = "data_folder_unusable"


class AuthorityLapsed(FleetError):
    """The authority's certificate has ended, or is not valid yet: nothing that it signs would be believed."""

    code = "authority_lapsed"
    status = 503


class FleetFileInvalid(FleetError):
    """Names the file, the place in it, what was expected and what came."""

    code = "fleet_file_invalid"
    status = 422


class NameNotEnrollable(FleetError):
    """A common name that no link may have."""

    code = "name_not_enrollable"
    status = 422


class CodeUnknown(FleetError):
    """One word for what was never made, withdrawn or mistyped: a guesser learns nothing."""

    code = "enrolment_code_unknown"
    status = 403


class CodeExpired(FleetError):
    code = "enrolment_code_expired"
    status = 403


class CodeUsed(FleetError):
    code = "enrolment_code_used"
    status = 409


class CodeForAnother(FleetError):
    """The code was made for another serial number or model."""

    code = "enrolment_code_for_another"
    status = 403


class EnrolmentRefused(FleetError):
    """A person has said no."""

    code = "enrolment_refused"
    status = 403


class TooManyTries(FleetError):
    code = "too_many_tries"
    status = 429

    def __init__(self, wait_s: float) -> None:
        self.retry_after_s = max(1, math.ceil(wait_s))
        super().__init__(f"too many wrong codes from this address: come again in {self.retry_after_s} s")


class EnrolmentNotFound(FleetError):
    code = "enrolment_not_found"
    status = 404

    def __init__(self, enrolment_id: str) -> None:
        super().__init__(f"there is no enrolment {enrolment_id[:64]!r}")


class EnrolmentNotWaiting(FleetError):
    """It was decided before, or nobody has asked yet."""

    code = "enrolment_not_waiting"
    status = 409


class SiteUnknown(FleetError):
    code = "site_unknown"
    status = 422


class SerialInService(FleetError):
    """A device of this serial number is in service."""

    code = "serial_in_service"
    status = 409


class PalletInvalid(FleetError):
    """Names the line of the file, what was expected and what came."""

    code = "pallet_invalid"
    status = 422


class AuthorityUnknown(FleetError):
    code = "authority_unknown"
    status = 404
