"""Invented actions for the core's tests. Their functions are never run here: the core only orders jobs."""

from __future__ import annotations

import dataclasses

import msgspec

from device_agent.actions import ActionContext, Definition, Finding, check, fix, step, visible_test
from protocol.capabilities import StepNature
from protocol.commands import DangerClass
from protocol.identifiers import DeviceId
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome
from protocol.safety import Effect

LEVEL = Parameter(
    name="level", title=Words("级", "level"), type=ParamType.INTEGER, minimum=1, maximum=5, required=False, default=1
)


@check("test.look", zh="看", en="look", families=["zvt"], expected_s=1, timeout_s=10, params=[LEVEL])
def look(_ctx: ActionContext) -> list[Finding]:
    return []


@visible_test("test.print", zh="印", en="print", families=["zvt"], expected_s=1, explains=Words("印", "prints"))
def print_page(_ctx: ActionContext) -> list[Finding]:
    return []


CURES = ("agent.APP_DEAD", "agent.MEMORY_LOW")


def _nothing(_ctx: ActionContext) -> None: ...


def a_fix(
    name: str, *natures: StepNature, effect: Effect = Effect.TIDIES, soak_s: float = 60.0, outage_s: float = 0.0
) -> Definition:
    return fix(
        name,
        zh="修",
        en="mend",
        families=["zvt"],
        expected_s=1,
        explains=Words("修", "mends"),
        pre_check="test.look",
        post_check="test.look",
        steps=[
            step(f"step_{number}", zh="步", en="step", nature=nature, run=_nothing)
            for number, nature in enumerate(natures)
        ],
        effect=effect,
        timeout_s=30,
        soak_s=soak_s,
        outage_s=outage_s,
        params=[LEVEL],
        cures=CURES,
    )


def of_class_2(definition: Definition) -> Definition:
    declared = msgspec.structs.replace(definition.declared, danger_class=DangerClass.SOFTWARE)
    return dataclasses.replace(definition, declared=declared)


DEVICE = DeviceId("zvt-00000001")
OTHER = DeviceId("zvt-00000002")
DEFINITIONS = {
    definition.declared.name: definition
    for definition in (
        look,
        print_page,
        a_fix("test.mend", StepNature.IDEMPOTENT, StepNature.IDEMPOTENT),
        a_fix("test.probe", StepNature.PROBEABLE),
        a_fix("test.once", StepNature.ONCE),
        a_fix("test.reboot", StepNature.ONCE, effect=Effect.REBOOTS),
        a_fix("test.wipe", StepNature.IDEMPOTENT, effect=Effect.DESTROYS_DATA),
        a_fix("test.no_soak", StepNature.IDEMPOTENT, soak_s=0),
        a_fix("test.outage", StepNature.IDEMPOTENT, soak_s=0, outage_s=20),
        of_class_2(a_fix("test.install", StepNature.PROBEABLE)),
    )
}
DEVICES = {DEVICE: DEFINITIONS, OTHER: DEFINITIONS}
PASS, FAIL = (Finding(Outcome.PASS),), (Finding(Outcome.FAIL),)
