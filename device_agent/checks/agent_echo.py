"""Answers at once and touches nothing: shows how long the way to the agent and back takes."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.families import ALL, LINK
from protocol.parameters import Words
from protocol.records import Outcome


@check(
    "agent.echo",
    zh="代理应答",
    en="Agent answers",
    families=(*ALL, LINK),
    expected_s=0.01,
    timeout_s=5,
    explains=Words("代理立即回答，不访问设备", "The agent answers at once; the device is not touched"),
)
def definition(_: ActionContext) -> Sequence[Finding]:
    return [Finding(Outcome.PASS, evidence="agent is running")]
