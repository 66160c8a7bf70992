"""The agent dies at each boundary between what it decides, writes down, begins and hears: nothing twice, nothing hangs,
nothing is claimed that is not so.

``CRASH_SEEDS=50`` runs each boundary so often, with a second death somewhere after it (`make crash`).
"""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fleet_server.executions import ledger
from protocol.capabilities import StepNature
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import ActionKind
from protocol.executions import ExecutionState, Result, result_of
from protocol.parameters import ParamValue
from protocol.records import ExecutionReport
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from tests.support.action_rig import ActionRig, attached_rig, terminal_rig
from tests.support.treatment import Treatment

SEEDS = int(os.environ.get("CRASH_SEEDS", "1"))
# One action of these may happen only once; at four of its ten boundaries it was begun and its end is not kept.
SHARE_UNKNOWN = 0.02
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """``has_counters``: of a printer that counts what it has printed."""

    family: str
    action: str
    fault: str = ""
    params: dict[str, ParamValue] = field(default_factory=dict)
    has_counters: bool = True

    @property
    def name(self) -> str:
        given = "-".join(str(value) for value in self.params.values())
        return f"{self.family}-{self.action}-{self.fault}-{given}{'' if self.has_counters else 'uncounted'}"

    def rig(self) -> ActionRig:
        rig = terminal_rig(TerminalClass.SMART) if self.family == "terminal" else self._attached()
        if self.fault:
            rig.simulated.apply_fault(self.fault)
        return rig

    def _attached(self) -> ActionRig:
        return attached_rig(self.family, has_counters=self.has_counters)


CASES = [
    Case("terminal", "app.restart", APP_DEAD),
    Case("terminal", "queue.send", QUEUE_STUCK),
    Case("terminal", "batch.settle", "batch_full"),
    Case("terminal", "sign_in.renew", "sign_in_expired"),
    Case("terminal", "logs.purge", "storage_log_growth"),
    Case("terminal", "clock.sync", "clock_drift"),
    Case("terminal", "modem.reregister", REGISTRATION_LOST),
    Case("terminal", "config.apply", "apn_wrong", {"name": "apn", "value": "cmnet"}),
    Case("terminal", "device.reboot", APP_DEAD),
    Case("modem", "modem.reregister", "link_down"),
    Case("zvt", "zvt.initialise", "param_outdated"),
    Case("terminal", "app.sign_in", "sign_in_expired"),
    Case("terminal", "modem.network_scan"),
    Case("escpos", "printer.print_test"),
    Case("escpos", "printer.print_test", params={"text": "once more"}),
    Case("escpos", "printer.print_test", has_counters=False),
    Case("terminal", "app.restart"),
    Case("terminal", "device.full_check"),
    Case("terminal", "printer.status", "paper_out"),
    Case("terminal", "queue.status"),
    Case("terminal", "net.path", "dns_broken"),
    Case("terminal", "config.read"),
    Case("zvt", "zvt.status"),
    Case("modem", "modem.signal"),
    Case("escpos", "printer.status"),
]
ENDS: Counter[str] = Counter()
UNKNOWN: Counter[str] = Counter()


@pytest.fixture
def folders() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


def treated(case: Case, folder: Path, crash_at: frozenset[int]) -> tuple[Treatment, ExecutionReport, ActionRig]:
    folder.mkdir()
    rig = case.rig()
    treatment = Treatment(rig, folder, crash_at)
    try:
        last = treatment.run(case.action, case.params)
    finally:
        treatment.close()
    return treatment, last, rig


def nothing_is_done_twice(case: Case, treatment: Treatment, rig: ActionRig) -> None:
    definition = rig.definitions[case.action]
    begun = Counter(treatment.steps_begun)
    for index, step in enumerate(definition.steps):
        assert step.declared.nature is not StepNature.ONCE or begun["step", index] <= 1
    if definition.declared.kind is ActionKind.TEST and not definition.may_repeat:
        assert begun["check", 0] <= 1
    if case.family == "escpos":
        assert rig.simulated.snapshot()["cut_count"] <= 1
    if case.family == "terminal":
        trade = rig.simulated.snapshot()["trade"]
        traces = [item["trace"] for item in trade["queue"] + trade["sent"]]
        assert len(traces) == len(set(traces))


def nothing_is_claimed_that_is_not_so(case: Case, treatment: Treatment, last: ExecutionReport, rig: ActionRig) -> None:
    kind = rig.definitions[case.action].declared.kind
    result = result_of(kind, last.state, last.code)
    steps = [one for one in treatment.steps_begun if one[0] == "step"]
    if result is Result.FIXED:
        assert not case.fault or case.fault not in rig.simulated.faults()
        assert steps
    if result in {Result.NOT_NEEDED, Result.NOTHING_DONE}:
        assert not steps
    assert server_says(treatment, kind).result(kind) is result


def server_says(treatment: Treatment, kind: ActionKind) -> ledger.Standing:
    """What the server's ledger makes of the same reports, each move of which its table allows."""
    terms = ledger.Terms(kind, 60.0, 60.0, NOW + timedelta(hours=24))
    standing = ledger.sent(ledger.queued(terms), NOW, jitter=0.0)
    for said in treatment.said:
        if isinstance(said, ExecutionReport):
            standing, _ = ledger.reported(standing, terms, said, NOW, NOW)
            assert standing.is_final or standing.deadline_at is not None
    return standing


@pytest.mark.timeout(120 + 60 * SEEDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_agent_that_dies_at_any_boundary_does_nothing_twice_and_claims_nothing(case: Case, folders: Path) -> None:
    undisturbed, expected, _ = treated(case, folders / "undisturbed", frozenset())
    assert expected.state is not ExecutionState.UNKNOWN
    for seed in range(SEEDS):
        rolls = random.Random(seed)
        for boundary in range(undisturbed.boundaries):
            second = {boundary + 1 + rolls.randrange(12)} if seed else set()
            folder = folders / f"{seed}-{boundary}"
            treatment, last, rig = treated(case, folder, frozenset({boundary, *second}))
            assert treatment.crashes >= 1
            ENDS[last.state.value] += 1
            UNKNOWN[case.name] += last.state is ExecutionState.UNKNOWN
            nothing_is_done_twice(case, treatment, rig)
            nothing_is_claimed_that_is_not_so(case, treatment, last, rig)
            # A reboot that was cut off before it began is seen not to have come.
            if last.state is not ExecutionState.UNKNOWN and last.code != "not_restarted":
                assert (last.state, last.code, last.outcome) == (expected.state, expected.code, expected.outcome)


def test_few_ends_are_unknown_and_each_is_shown_as_such() -> None:
    """Over all runs of this module before; only what may happen once can end so."""
    if sum(ENDS.values()) < len(CASES):
        pytest.skip("the runs of this module were left out or are spread over processes")
    assert {name for name, count in UNKNOWN.items() if count} <= {case.name for case in CASES if not case.has_counters}
    assert ENDS["UNKNOWN"] <= SHARE_UNKNOWN * sum(ENDS.values()), ENDS
