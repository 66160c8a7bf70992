"""The agent's own errors: one root, each subclass with a stable code. What a peer sends never raises these."""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """Something the agent's owner can act on."""

    code: ClassVar[str] = "agent_error"


class ConfigurationInvalid(AgentError):
    code = "configuration_invalid"


class DeviceNotAnswering(AgentError):
    """The attached device, or the terminal's own service, gave no usable answer in time."""

    code = "device_not_answering"


class BundleNotWritten(AgentError):
    """No room, or no right, for the file that was asked for."""

    code = "bundle_not_written"


class ActionFailed(AgentError):
    """A step could not be done; ``code`` of the instance says why in the vocabulary of the action."""

    code = "action_failed"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
