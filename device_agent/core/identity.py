"""Who the agent is, and what its own configuration allows."""

from __future__ import annotations

from dataclasses import dataclass, field

from device_agent.core.data_budget import Limits
from device_agent.core.hours import Hours
from protocol.commands import DangerClass
from protocol.identifiers import LinkId


@dataclass(frozen=True, slots=True)
class Identity:
    link: LinkId
    tenant: str
    boot: str
    agent_version: str
    unregistered: tuple[str, ...] = ()
    highest_class: DangerClass = DangerClass.SOFTWARE  # what the device's own configuration lets through
    hours: Hours | None = None  # the maintenance window; none: any time
    limits: Limits = field(default_factory=Limits)  # of what the link carries
