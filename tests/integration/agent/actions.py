"""Invented actions for the agent's integration tests: each touches a file, so that the tests see what was really
done."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from device_agent.actions import ActionContext, Definition, Finding, StepDefinition, check, fix, step
from device_agent.errors import ActionFailed
from protocol.capabilities import StepNature
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome
from protocol.safety import Effect

FOLDER = Parameter(name="folder", title=Words("目录", "folder"), type=ParamType.TEXT, max_length=200)
# What happens inside a step when this file is there: the process is killed at once, as by a power cut.
KILL = "kill"


def _folder(ctx: ActionContext) -> Path:
    return Path(str(ctx.params["folder"]))


@check("test.quick", zh="快", en="quick", families=["terminal"], expected_s=0.1)
def quick(ctx: ActionContext) -> list[Finding]:
    return [Finding(Outcome.PASS, evidence="card 4111111111111111 seen")]


@check("test.hangs", zh="挂", en="hangs", families=["terminal"], expected_s=0.1, timeout_s=0.3)
def hangs(ctx: ActionContext) -> list[Finding]:
    while not ctx.is_cancelled():
        time.sleep(0.01)
    return []


@check("test.waits_long", zh="久", en="waits long", families=["terminal"], expected_s=0.1, timeout_s=60)
def waits_long(ctx: ActionContext) -> list[Finding]:
    while not ctx.is_cancelled():
        time.sleep(0.01)
    return []


@check("test.mended", zh="已修", en="mended", families=["terminal"], expected_s=0.1, params=[FOLDER])
def mended(ctx: ActionContext) -> list[Finding]:
    done = _folder(ctx).joinpath("mended").exists()
    return [Finding(Outcome.PASS if done else Outcome.FAIL)]


def _kill_if_asked(ctx: ActionContext, moment: str) -> None:
    trap = _folder(ctx) / f"{KILL}-{moment}"
    if trap.exists():
        trap.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def _count(ctx: ActionContext, name: str) -> None:
    with _folder(ctx).joinpath(name).open("a", encoding="utf-8") as log:
        log.write("x")


def _prepare(ctx: ActionContext) -> None:
    _kill_if_asked(ctx, "before-prepare")
    _count(ctx, "prepared")
    _kill_if_asked(ctx, "after-prepare")


def _mend(ctx: ActionContext) -> None:
    _kill_if_asked(ctx, "before-mend")
    _count(ctx, "mends")
    _folder(ctx).joinpath("mended").touch()
    _kill_if_asked(ctx, "after-mend")


def _fail(_ctx: ActionContext) -> None:
    raise ActionFailed("no_power", "the card 4111111111111111 reader has no power")


def _was_mended(ctx: ActionContext) -> bool | None:
    return _folder(ctx).joinpath("mended").exists()


def _fix(name: str, *steps: StepDefinition, soak_s: float = 0.3) -> Definition:
    return fix(
        name,
        zh="修",
        en="mend",
        families=["terminal"],
        expected_s=0.1,
        explains=Words("写入一个文件", "writes a file"),
        pre_check="test.mended",
        post_check="test.mended",
        steps=list(steps),
        effect=Effect.TIDIES,
        timeout_s=5,
        soak_s=soak_s,
        params=[FOLDER],
    )


PREPARE = step("prepare", zh="准备", en="prepare", nature=StepNature.IDEMPOTENT, run=_prepare)
MEND_PROBED = step("mend", zh="修", en="mend", nature=StepNature.PROBEABLE, run=_mend, probe=_was_mended)
MEND_ONCE = step("mend", zh="修", en="mend", nature=StepNature.ONCE, run=_mend)
FAIL = step("fail", zh="败", en="fail", nature=StepNature.IDEMPOTENT, run=_fail)

DEFINITIONS = (
    quick,
    hangs,
    waits_long,
    mended,
    _fix("test.mend", PREPARE, MEND_PROBED),
    _fix("test.mend_once", PREPARE, MEND_ONCE),
    _fix("test.mend_fails", PREPARE, FAIL),
)


def definitions_for(_family: str, _terminal_class: str) -> tuple[Definition, ...]:
    return DEFINITIONS
