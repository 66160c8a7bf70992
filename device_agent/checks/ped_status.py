"""Tamper state, presence of keys and back-up battery of the PIN entry device. Never key material."""

from __future__ import annotations

from collections.abc import Sequence

from device_agent.actions import ActionContext, Finding, check
from device_agent.checks.judging import judge_all
from device_agent.families import TERMINAL

METRICS = ("ped.tamper", "ped.keys_ok", "ped.batt_mv", "ped.dukpt_left")


@check(
    "ped.status",
    zh="防拆与密钥状态",
    en="Tamper state and keys",
    families=(TERMINAL,),
    expected_s=0.2,
    timeout_s=10,
    finds=("term.PED_TAMPER", "term.PED_NO_TMK", "term.PED_NO_TPK", "term.PED_BATT_LOW"),
)
def definition(ctx: ActionContext) -> Sequence[Finding]:
    return judge_all(ctx, METRICS, ctx.device.readings())
