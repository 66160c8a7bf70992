"""What the invented devices declare: a check without and one with parameters, a test, two fixes."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.capabilities import Action, DeviceCapabilities, Step, StepNature
from protocol.commands import ActionKind, DangerClass
from protocol.parameters import Choice, Parameter, ParamType, Words

FULL_CHECK = Action("device.full_check", ActionKind.CHECK, Words("体检", "Full check"), DangerClass.READS, 5.0, 60.0)
CLOCK = Action(
    "clock.read",
    ActionKind.CHECK,
    Words("读时钟", "Read the clock"),
    DangerClass.READS,
    0.2,
    10.0,
    finds=["term.CLOCK_INVALID"],
)
NETWORK = Action(
    "net.path",
    ActionKind.CHECK,
    Words("网络路径", "Network path"),
    DangerClass.READS,
    2.0,
    20.0,
    params=[
        Parameter("count", Words("次数", "Tries"), ParamType.INTEGER, default=3, minimum=1, maximum=9),
        Parameter(
            "target",
            Words("目标", "Target"),
            ParamType.CHOICE,
            default="acquirer",
            choices=[
                Choice("acquirer", Words("收单主机", "Acquirer host")),
                Choice("public", Words("公网", "Public network")),
            ],
        ),
    ],
    unit="ms",
)
PRINT = Action(
    "printer.print_test",
    ActionKind.TEST,
    Words("打印测试", "Print test"),
    DangerClass.CHANGES,
    4.0,
    30.0,
    params=[
        Parameter("lines", Words("行数", "Lines"), ParamType.INTEGER, default=4, minimum=1, maximum=40),
        Parameter("cut", Words("打完切纸", "Cut afterwards"), ParamType.SWITCH, required=False, default=True),
        Parameter("title", Words("抬头", "Title"), ParamType.TEXT, required=False, max_length=24),
    ],
)
SYNC = Action(
    "clock.sync",
    ActionKind.FIX,
    Words("校准时钟", "Set the clock"),
    DangerClass.CHANGES,
    8.0,
    60.0,
    explains=Words(
        "把终端的时间改成服务器的可信时间。不用撤回：时间只会更准。", "Sets the clock to the server's trusted time."
    ),
    outage_s=2.0,
    pre_check="clock.read",
    post_check="clock.read",
    steps=[
        Step("note", Words("记下旧值", "Note the old value"), StepNature.IDEMPOTENT),
        Step("write", Words("写入时间", "Write the time"), StepNature.IDEMPOTENT),
    ],
    soak_s=60.0,
    cures=["term.CLOCK_INVALID"],
)
REBOOT = Action(
    "device.reboot",
    ActionKind.FIX,
    Words("重启设备", "Restart the device"),
    DangerClass.CHANGES,
    90.0,
    300.0,
    outage_s=90.0,
    steps=[Step("reboot", Words("重启", "Restart"), StepNature.ONCE)],
)
ACTIONS = [FULL_CHECK, CLOCK, NETWORK, PRINT, SYNC, REBOOT]


def capabilities_of(device_id: str, family: str, terminal_class: str) -> dict[str, Any]:
    declared = DeviceCapabilities(device_id, family, terminal_class, ACTIONS, ["net.rtt_ms"], "T-630", "4.12.0")
    made: dict[str, Any] = msgspec.to_builtins(declared)
    return made
