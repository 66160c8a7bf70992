"""Which software runs on a device. After an installation: whether it is the very file that two people have signed.

Asked by itself it says what runs of each kind; a fix gives the path and the hash that it is about.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from device_agent.actions import ActionContext, Definition, Finding, check
from device_agent.families import TERMINAL
from device_agent.software.handlers import INSTALLABLE, handler_for
from protocol.artifacts import ArtifactKind
from protocol.parameters import Parameter, ParamType, Words
from protocol.records import Outcome

if TYPE_CHECKING:
    from device_agent.software.keeper import SoftwareKeeper


def definition_for(keeper: SoftwareKeeper) -> Definition:
    @check(
        "software.version",
        zh="软件版本",
        en="Software that runs",
        families=(TERMINAL,),
        expected_s=0.5,
        timeout_s=15,
        params=(
            Parameter("path", Words("文件路径", "Path of the file"), ParamType.TEXT, required=False, max_length=200),
            Parameter("sha256", Words("SHA-256", "SHA-256"), ParamType.TEXT, required=False, pattern="[0-9a-f]{64}"),
        ),
    )
    def version(ctx: ActionContext) -> Sequence[Finding]:
        path, sha256 = str(ctx.params.get("path", "")), str(ctx.params.get("sha256", ""))
        if not path or not sha256:
            return [_shown(ctx, kind) for kind in sorted(INSTALLABLE)]
        held = keeper.known(path)
        if held is None or held.sha256 != sha256:
            return [Finding(Outcome.ERROR, path, evidence="this file is not in hand any more")]
        running = handler_for(ctx.device, held.facts.kind).running()
        kind = held.facts.kind.value
        if running.sha256 != sha256:
            words = f"expected {held.facts.version}, {running.version or 'nothing'} runs"
            return [Finding(Outcome.FAIL, kind, running.version, evidence=words)]
        if running.version != held.facts.version or not running.is_up:
            words = f"it calls itself {running.version[:40]}" if running.is_up else "it does not come up"
            return [Finding(Outcome.FAIL, kind, running.version, evidence=words)]
        return [Finding(Outcome.PASS, kind, running.version)]

    return version


def _shown(ctx: ActionContext, kind: ArtifactKind) -> Finding:
    running = handler_for(ctx.device, kind).running()
    outcome = Outcome.PASS if running.is_up else Outcome.FAIL
    return Finding(outcome, kind.value, running.version or "none", evidence="on trial" if running.is_trial else "")
