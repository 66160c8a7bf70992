"""Settles the batch with the acquirer: the way out of a full one, and never held by it.

What waits to be sent goes first, by the terminal itself; while it cannot go, nothing is settled. A settlement that was
cut off is asked about: a batch that is not open any more was settled, and settling one once more closes only what was
paid since.
"""

from __future__ import annotations

from device_agent.actions import ActionContext, fix, step
from device_agent.errors import ActionFailed
from device_agent.families import TERMINAL
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect


def _settle(ctx: ActionContext) -> None:
    result = ctx.device.settle()
    if not result.settled:
        why = f"the acquirer refused with {result.response_code}" if result.response_code else "no answer came"
        raise ActionFailed("not_settled", f"expected the batch to be settled, {why}")


def _is_settled(ctx: ActionContext) -> bool:
    return not ctx.device.safety().batch_open


definition = fix(
    "batch.settle",
    zh="批次结算",
    en="Settle the batch",
    families=(TERMINAL,),
    expected_s=20,
    timeout_s=120,
    explains=Words(
        "终端先上送待送交易，再与收单机构结算并结清批次；交易流水保留，结算后不能撤销",
        "Sends what waits, then settles with the acquirer and closes the batch. The journal stays; not to be undone",
    ),
    pre_check="batch.status",
    post_check="batch.status",
    steps=(step("settle", zh="结算", en="Settle", nature=StepNature.PROBEABLE, run=_settle, probe=_is_settled),),
    effect=Effect.WAY_OUT,
    cures=("term.BATCH_FULL",),
)
