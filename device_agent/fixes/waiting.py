"""Waiting for the effect of a step: asks again and again, for a stated time at most."""

from __future__ import annotations

from collections.abc import Callable

from device_agent.actions import ActionContext
from device_agent.errors import ActionFailed, DeviceNotAnswering

ASK_EVERY_S = 0.25


def wait_until(ctx: ActionContext, holds: Callable[[], bool], *, timeout_s: float, awaited: str) -> None:
    """A device that does not answer is not there yet. Raises `ActionFailed` when the time is over."""
    deadline_s = ctx.monotonic() + timeout_s
    while True:
        try:
            if holds():
                return
        except DeviceNotAnswering:
            # Restarting things are silent for a while: that is what is being waited for.
            pass
        if ctx.monotonic() >= deadline_s:
            raise ActionFailed("not_in_time", f"{awaited}: not within {timeout_s:g} s")
        ctx.sleep(ASK_EVERY_S)
