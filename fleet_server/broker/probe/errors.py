"""Why a question found no answer; the report says it in place of one."""

from __future__ import annotations

from fleet_server.errors import FleetError


class BrokerNotAskable(FleetError):
    """Nothing can be asked at all: exit code 2."""

    code = "broker_not_askable"


class NoAnswer(FleetError):
    """The broker refused, hung up or stayed silent where an answer was due."""

    code = "broker_no_answer"
