"""What playbooks refuse."""

from __future__ import annotations

from fleet_server.errors import FleetError


class PlaybookNotFound(FleetError):
    code = "playbook_not_found"
    status = 404

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no playbook {name[:64]!r}")


class PlaybookRunNotFound(FleetError):
    code = "playbook_run_not_found"
    status = 404

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no walk of a playbook {run_id[:64]!r}")


class PlaybookNotForDevice(FleetError):
    """The device does not declare what the first step does, or what no playbook may do."""

    code = "playbook_not_for_device"
    status = 422


class PlaybookVariablesInvalid(FleetError):
    """Names the variable, what was expected and what came."""

    code = "playbook_variables_invalid"
    status = 422


class PlaybookRunning(FleetError):
    """One walk at a time on a device: two would mend each other's traces."""

    code = "playbook_running"
    status = 409


class PlaybookOver(FleetError):
    code = "playbook_over"
    status = 409
