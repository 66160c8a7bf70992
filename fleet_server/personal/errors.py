"""Why a person's data was not looked for, given out or erased."""

from __future__ import annotations

from fleet_server.errors import FleetError


class NothingAsked(FleetError):
    code = "nothing_asked"
    status = 422


class SubjectNotFound(FleetError):
    code = "subject_not_found"
    status = 404


class StillNeeded(FleetError):
    """What was signed cannot be changed, and what is in force cannot be blanked: end it first."""

    code = "still_needed"
    status = 409


class LedgerUnusable(FleetError):
    """A restore must not go on as if nobody had been erased."""

    code = "ledger_unusable"
