"""What the local command line may ask of the running agent: its status, its lists of actions, a check of class 0.

Invariant: nothing that changes a device can be started here; that takes a signed command. A check asked for here is not
reported to the server: it is the question of whoever stands before the device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from device_agent.actions import overall
from device_agent.adapters.control_socket import Answer, Reply
from device_agent.adapters.spool import Spool
from device_agent.bundling import without_grant
from device_agent.core.data_budget import SLOWER, DataBudget
from device_agent.core.effects import Job, JobDone, JobKind
from device_agent.core.instant import Instant
from device_agent.core.verdicts import verdicts
from device_agent.logs import recent_lines
from device_agent.runner import Call, Runner
from protocol.commands import ActionKind
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import check_params
from protocol.records import Phase

MAX_LOCAL_CHECKS: Final = 16
MAX_TOLD_EXECUTIONS: Final = 200
_LOCAL: Final = "local-"


class Control:
    def __init__(self, runner: Runner, spool: Spool, software: Callable[[], list[dict[str, object]]] = list) -> None:
        self._software = software
        self._runner = runner
        self._spool = spool
        self._waiting: dict[ExecutionId, tuple[Job, Reply]] = {}
        self._number = 0
        self._questions: dict[str, Callable[[Answer, Reply, Instant], None]] = {
            "status": self._status,
            "actions": self._actions,
            "check": self._check,
            "executions": self._executions,
            "traces": self._traces,
            "own_log": self._own_log,
        }
        runner.on_local_done = self._checked

    def ask(self, request: Answer, reply: Reply) -> None:
        """From any thread; answered on the runner's."""
        question = self._questions.get(str(request.get("ask")))
        if question is None:
            reply(_wrong("question_unknown", "expected " + ", ".join(self._questions)))
            return
        self._runner.events.put(Call(lambda now: question(request, reply, now)))

    def _status(self, _request: Answer, reply: Reply, now: Instant) -> None:
        core = self._runner.core
        reply(
            {
                "done": True,
                "link": core.identity.link,
                "agent_version": core.identity.agent_version,
                "connection": core.session.state.value,
                "trusted_ms": core.clock.now_ms(now),
                "wall_ms": now.wall_ms,
                "is_time_signed": core.clock.is_signed,
                "profile": core.pacing.flow.profile.value,
                **_spool_answer(self._spool),
                "data": _data_answer(core.budget),
                "executions_open": core.executions.open_count(),
                "commands_refused": core.refusals.total,
                "software": self._software(),
                "devices": [
                    {
                        "device": device,
                        "family": watch.spec.family,
                        "line": watch.spec.line,
                        "alive": watch.alive,
                        "faults": sorted(watch.faults.open_faults()),
                        "readings": dict(watch.sampler.latest),
                    }
                    for device, watch in core.watches.items()
                ],
            }
        )

    def _actions(self, _request: Answer, reply: Reply, _now: Instant) -> None:
        rows = [
            {
                "device": device,
                "action": name,
                "kind": definition.declared.kind.value,
                "class": int(definition.declared.danger_class),
                "zh": definition.declared.title.zh,
                "en": definition.declared.title.en,
                "params": [parameter.name for parameter in definition.declared.params],
            }
            for device, watch in self._runner.core.watches.items()
            for name, definition in watch.spec.definitions.items()
        ]
        reply({"done": True, "actions": rows})

    def _executions(self, _request: Answer, reply: Reply, _now: Instant) -> None:
        rows = list(self._runner.core.executions.known.values())[-MAX_TOLD_EXECUTIONS:]
        told = [msgspec.to_builtins(row) for row in rows]
        reply({"done": True, "executions": [{**row, "params": without_grant(row.get("params", {}))} for row in told]})

    def _traces(self, _request: Answer, reply: Reply, _now: Instant) -> None:
        traces = {device: worker.trace.lines() for device, worker in self._runner.workers.items()}
        reply({"done": True, "devices": traces})

    def _own_log(self, _request: Answer, reply: Reply, _now: Instant) -> None:
        reply({"done": True, "lines": recent_lines()})

    def _check(self, request: Answer, reply: Reply, now: Instant) -> None:
        device = DeviceId(str(request.get("device") or self._runner.core.identity.link))
        watch = self._runner.core.watches.get(device)
        definition = watch.spec.definitions.get(str(request.get("action"))) if watch is not None else None
        if definition is None or definition.declared.kind is not ActionKind.CHECK:
            reply(_wrong("check_unknown", "expected a device here and one of its checks (class 0)"))
            return
        params = check_params(definition.declared.params, _typed(request.get("params")))
        if isinstance(params, list):
            reply(_wrong("parameters", "; ".join(map(str, params))))
            return
        if len(self._waiting) >= MAX_LOCAL_CHECKS:
            reply(_wrong("busy", f"{MAX_LOCAL_CHECKS} checks are running"))
            return
        self._number += 1
        execution = ExecutionId(f"{_LOCAL}{self._number}")
        trusted_ms = self._runner.core.clock.now_ms(now)
        job = Job(execution, 1, device, JobKind.CHECK, definition, params, trusted_ms=trusted_ms)
        self._waiting[execution] = (job, reply)
        self._runner.submit(job)

    def _checked(self, done: JobDone) -> bool:
        """Whether the answer belonged to a check asked for here."""
        job, reply = self._waiting.pop(done.execution, (None, None))
        if job is None or reply is None:
            return False
        clean = self._runner.core.maker.clean
        if done.error:
            reply(_wrong(done.error, clean(done.detail)))
            return True
        for one in verdicts(job.execution, job.definition.declared, Phase.RESULT, done):
            shown: Answer = {
                "item": one.item,
                "outcome": one.outcome.value,
                "value": one.value,
                "unit": one.unit,
                "evidence": clean(one.evidence),
                "codes": one.codes,
            }
            reply(shown)
        reply({"done": True, "outcome": overall(done.findings).value, "duration_ms": done.duration_ms})
        return True


def _data_answer(budget: DataBudget) -> Answer:
    """What the link has carried and may carry; a bound of 0 is none."""
    return {
        "day_bytes": budget.used.day_bytes,
        "day_limit_bytes": budget.limits.day_bytes,
        "month_bytes": budget.used.month_bytes,
        "month_limit_bytes": budget.limits.month_bytes,
        "level": budget.level.name.lower(),
        "slower": SLOWER[budget.level],
    }


def _spool_answer(spool: Spool) -> Answer:
    state = spool.state()
    return {
        "streams": {
            kind.value: {
                "last": one.last,
                "acked": one.acked,
                "shed": one.shed,
                "waiting": state.waiting[kind].records,
                "oldest_waiting_ms": state.waiting[kind].oldest_ms,
            }
            for kind, one in spool.positions().items()
        },
        "spool": spool.check(),
        "room": {
            "used_bytes": state.used_bytes,
            "quota_bytes": state.quota_bytes,
            "is_disk_full": state.is_disk_full,
        },
        "declarations_waiting": state.declarations_waiting,
    }


def _typed(params: Any) -> dict[str, Any]:
    return params if isinstance(params, dict) else {}


def _wrong(code: str, detail: str) -> Answer:
    return {"done": True, "error": code, "detail": detail}
