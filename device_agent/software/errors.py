"""Why software is not here."""

from __future__ import annotations

from device_agent.errors import AgentError


class SoftwareUnreachable(AgentError):
    """The server did not give it, or not all of it yet: it is asked for again."""

    code = "software_unreachable"


class SoftwareRefused(AgentError):
    """What the server gave is not what the repository's keys have signed, or older than what was there before."""

    code = "software_refused"


class SoftwareNotOffered(AgentError):
    """The repository names no such target, or the policy no repository."""

    code = "software_not_offered"


class BudgetSpent(AgentError):
    """The day's data for software is used up, or the room for it."""

    code = "software_budget_spent"
