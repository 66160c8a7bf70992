"""Has a file of the repository of software fetched, and says how far it is. Installing takes two people's signatures.

Nothing of the device changes: the file lies in the agent's own folder, within its bounds. It goes on in the background;
asked again, this check says how it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.errors import ActionFailed
from device_agent.families import ALL, LINK
from device_agent.software.errors import SoftwareNotOffered
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome

if TYPE_CHECKING:
    from device_agent.software.keeper import SoftwareKeeper

# A device's other checks wait meanwhile.
WAIT_S = 8.0
_LOOK_EVERY_S = 0.1


def definition_for(keeper: SoftwareKeeper) -> Definition:
    @check(
        "software.fetch",
        zh="取回软件",
        en="Fetch software",
        families=(*ALL, LINK),
        expected_s=WAIT_S,
        timeout_s=30,
        unit="%",
        params=(Parameter("path", Words("文件路径", "Path of the file"), ParamType.TEXT, max_length=200),),
        explains=Words(
            "从软件库下载并校验文件，不改动设备；未完成时在后台继续",
            "Downloads a file of the repository and judges it; the device is not changed. It goes on in the background",
        ),
    )
    def fetch(ctx: ActionContext) -> Sequence[Finding]:
        path = str(ctx.params["path"])
        try:
            keeper.want(path)
        except SoftwareNotOffered as error:
            raise ActionFailed(error.code, str(error)) from error
        give_up_s = ctx.monotonic() + WAIT_S
        while not ctx.is_cancelled() and ctx.monotonic() < give_up_s and keeper.is_wanted(path):
            ctx.sleep(_LOOK_EVERY_S)
        return [_finding(keeper, path)]

    return fetch


def _finding(keeper: SoftwareKeeper, path: str) -> Finding:
    held = keeper.in_hand(path)
    if held is not None:
        words = f"version {held.facts.version}, {held.length} bytes, SHA-256 {held.sha256}"
        return Finding(Outcome.PASS, path, 100, "%", evidence=words)
    at = keeper.progress(path)
    percent = at.have * 100 // at.length if at.length else 0
    if keeper.is_wanted(path):
        return Finding(Outcome.WARN, path, percent, "%", evidence=at.words or f"{at.have} of {at.length} bytes so far")
    return Finding(Outcome.FAIL, path, percent, "%", evidence=at.words)
