"""Installs the one file that two people have signed for, from the agent's own store, and keeps it only if it works.

Which file is said by their authorisation: the gate hands over its path, length and hash. Length, hash, model, version
and room are judged before anything is touched. What is new runs on trial first; if it does not come up, or falls over
within the trial, the former one is brought back and that is the result.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from device_agent.actions import ActionContext, Definition, fix, installing, step
from device_agent.core.proof import ROLLED_BACK_CODE
from device_agent.errors import ActionFailed, AgentError, DeviceNotAnswering
from device_agent.families import TERMINAL
from device_agent.fixes.waiting import ASK_EVERY_S, wait_until
from device_agent.software.handlers import InstallHandler, handler_for
from protocol.artifacts import refuses
from protocol.authorisations import Artifact
from protocol.capabilities import StepNature
from protocol.parameters import Words
from protocol.safety import Effect

if TYPE_CHECKING:
    from device_agent.software.keeper import InHand, SoftwareKeeper

# An application that starts, on the slowest of the simulated terminals, with room.
UP_WITHIN_S: Final = 60.0
TRIAL_S: Final = 15.0
MIB: Final = 1024 * 1024


def definition_for(keeper: SoftwareKeeper) -> Definition:
    return installing(_declared(keeper))


def _declared(keeper: SoftwareKeeper) -> Definition:
    return fix(
        "software.install",
        zh="安装软件",
        en="Install software",
        families=(TERMINAL,),
        expected_s=40,
        timeout_s=1800,
        explains=Words(
            "安装两人签署的文件；新版本先试运行，起不来就自动换回旧版本",
            "Installs the file that two people sign for, on trial first; if it fails, the former one is brought back",
        ),
        pre_check="software.version",
        post_check="software.version",
        steps=(
            step("judge", zh="核对文件", en="Judge", nature=StepNature.IDEMPOTENT, run=partial(_judge, keeper)),
            step("stage", zh="写入备用区", en="Stage", nature=StepNature.IDEMPOTENT, run=partial(_stage, keeper)),
            step(
                "switch",
                zh="切换试运行",
                en="Switch, on trial",
                nature=StepNature.PROBEABLE,
                run=partial(_switch, keeper),
                probe=partial(_runs, keeper),
            ),
            step(
                "prove", zh="试运行并保留", en="Prove, keep", nature=StepNature.IDEMPOTENT, run=partial(_prove, keeper)
            ),
        ),
        effect=Effect.CHANGES_PARAMETERS,
        outage_s=30,
        retries=3,
    )


def _wanted(ctx: ActionContext) -> Artifact:
    return Artifact(str(ctx.params["path"]), int(ctx.params["length"]), str(ctx.params["sha256"]))


def _held(keeper: SoftwareKeeper, ctx: ActionContext) -> tuple[Artifact, InHand, InstallHandler]:
    wanted = _wanted(ctx)
    held = keeper.known(wanted.path)
    if held is None or (held.length, held.sha256) != (wanted.length, wanted.sha256):
        raise ActionFailed("not_in_hand", f"{wanted.path} as it was signed for is not in hand any more")
    return wanted, held, handler_for(ctx.device, held.facts.kind)


def _judge(keeper: SoftwareKeeper, ctx: ActionContext) -> None:
    wanted, held, handler = _held(keeper, ctx)
    if keeper.held(wanted) != wanted:
        raise ActionFailed("not_in_hand", f"{wanted.path} is not what was signed for any more")
    words = refuses(held.facts, ctx.device.describe().model, handler.running().version)
    if words is not None:
        raise ActionFailed("not_for_this", words)
    free_mb = ctx.device.storage().free_mb
    if free_mb * MIB < wanted.length:
        raise ActionFailed("no_room", f"{wanted.length} bytes are needed, {free_mb:g} MB are free")


def _stage(keeper: SoftwareKeeper, ctx: ActionContext) -> None:
    wanted, _, handler = _held(keeper, ctx)
    if keeper.held(wanted) != wanted:
        raise ActionFailed("not_in_hand", f"{wanted.path} is not what was signed for any more")
    handler.stage(
        keeper.file(wanted.path), wanted.sha256, wanted.length, lambda have: ctx.progress(have * 100 // wanted.length)
    )


def _switch(keeper: SoftwareKeeper, ctx: ActionContext) -> None:
    wanted, _, handler = _held(keeper, ctx)
    handler.switch(wanted.sha256)


def _runs(keeper: SoftwareKeeper, ctx: ActionContext) -> bool:
    wanted, _, handler = _held(keeper, ctx)
    return handler.running().sha256 == wanted.sha256


def _prove(keeper: SoftwareKeeper, ctx: ActionContext) -> None:
    """The device may have gone back by itself meanwhile; what works there now is the result either way."""
    wanted, held, handler = _held(keeper, ctx)
    try:
        wait_until(ctx, lambda: _is_well(handler, wanted, held), timeout_s=UP_WITHIN_S, awaited=held.facts.version)
        _watch(ctx, handler, wanted, held)
        handler.keep()
    except (ActionFailed, DeviceNotAnswering) as error:
        _bring_back(ctx, handler, wanted, error)


def _watch(ctx: ActionContext, handler: InstallHandler, wanted: Artifact, held: InHand) -> None:
    until_s = ctx.monotonic() + TRIAL_S
    while ctx.monotonic() < until_s:
        if not _is_well(handler, wanted, held):
            raise ActionFailed("fell_over", f"{held.facts.version} came up and fell over on trial")
        ctx.sleep(ASK_EVERY_S)


def _is_well(handler: InstallHandler, wanted: Artifact, held: InHand) -> bool:
    running = handler.running()
    if running.sha256 != wanted.sha256:
        raise ActionFailed("went_back", f"the device went back to {running.version} by itself")
    return running.is_up and running.version == held.facts.version


def _bring_back(ctx: ActionContext, handler: InstallHandler, wanted: Artifact, error: AgentError) -> None:
    if handler.running().sha256 == wanted.sha256 and not handler.running().is_trial:
        # It was kept, and the answer to that was lost.
        return
    handler.give_up()
    wait_until(ctx, lambda: handler.running().is_up, timeout_s=UP_WITHIN_S, awaited="the former version")
    raise ActionFailed(ROLLED_BACK_CODE, f"{error}; {handler.running().version} runs again") from error
