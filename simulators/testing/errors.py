"""What a test is told when it asked for something that cannot be, or waited for something that did not come."""

from __future__ import annotations

from simulators.errors import SimulatorError


class FamilyUnknown(SimulatorError):
    code = "family_unknown"

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"expected a family of terminal ({', '.join(known)}), came {name[:64]!r}")


class NotSeen(SimulatorError, AssertionError):
    """A wait that ended in vain; pytest shows it as a failed assertion."""

    code = "not_seen"


class ActionUnknown(SimulatorError):
    """The terminal declares no such check, test or fix."""

    code = "action_unknown"


class ServerMissing(SimulatorError):
    """What a server of one's own needs is not installed."""

    code = "server_missing"
