"""An installation on a simulated terminal through the real driver, cut before every single write: old or new, whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agent.actions import Definition
from device_agent.checks import software_fetch, software_version
from device_agent.core.proof import ROLLED_BACK_CODE
from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.errors import ActionFailed, DeviceNotAnswering
from device_agent.fixes import software_install
from device_agent.software.handlers import PIECE
from protocol.artifacts import ArtifactKind, TargetFacts
from protocol.authorisations import Artifact
from protocol.capabilities import Action
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import DangerClass
from protocol.records import Outcome
from simulators.terminal import SimulatedTerminal
from simulators.terminal_port import TerminalPort
from tests.device_agent.software.rig import Rig, rig_with

MODEL, OLD = "TM-E30", "5.4.1"
APP = "apps/payment.bin"
NEW = b"TMAPP 5.5.0\n" + bytes(range(256)) * (3 * PIECE // 256)
FACTS = TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.5.0", [MODEL], "5.0.0")


@dataclass
class Bench:
    rig: Rig
    now_s: float = 1000.0
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.terminal = SimulatedTerminal(
            TerminalClass.E_SIGN, trade_every_s=0, monotonic=lambda: self.now_s, wall=lambda: self.now_s + 1.7e9
        )
        self.device = TerminalDevice(TerminalPort(self.terminal).open, monotonic=lambda: self.now_s)
        self.install = software_install.definition_for(self.rig.keeper)
        self.version = software_version.definition_for(self.rig.keeper)

    def offer(self, content: bytes, facts: TargetFacts, path: str = APP) -> None:
        self.rig.software.release(content, path, facts)
        self.rig.fetch(path)
        held = self.rig.keeper.known(path)
        assert held is not None
        self.params = {"path": path, "length": held.length, "sha256": held.sha256}

    def step(self, name: str) -> None:
        (found,) = [one for one in self.install.steps if one.declared.name == name]
        found.run(self)

    def steps(self) -> None:
        for one in self.install.steps:
            one.run(self)

    def outcome(self) -> Outcome:
        assert self.version.run is not None
        (finding,) = self.version.run(self)
        return finding.outcome

    def running(self) -> str:
        return self.terminal.memory.software.slots["payment_application"].running.version

    # As the worker's context.
    terminal_class = "e_sign"
    trusted_ms = 0
    boot = boot_before = ""

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.terminal.tick()

    def progress(self, percent: int, note: str = "") -> None:
        assert 0 <= percent <= 100

    def is_cancelled(self) -> bool:
        return False


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(rig_with(tmp_path))
    made.offer(NEW, FACTS)
    return made


def refused(do: Callable[[], object]) -> str:
    with pytest.raises(ActionFailed) as raised:
        do()
    return raised.value.reason


def test_class_two_and_proved_by_the_file_that_runs(bench: Bench) -> None:
    assert bench.install.declared.danger_class is DangerClass.SOFTWARE
    assert bench.outcome() is Outcome.FAIL
    bench.steps()
    assert bench.outcome() is Outcome.PASS
    assert bench.device.app_status().version == "5.5.0"
    bench.terminal.begin_reboot("reboot_cmd")
    bench.sleep(20)
    assert bench.outcome() is Outcome.PASS


def test_cut_before_every_write_it_runs_old_or_new_whole_and_goes_on(tmp_path: Path) -> None:
    ends: list[str] = []
    for number in range(100):
        bench = Bench(rig_with(tmp_path / str(number)))
        bench.offer(NEW, FACTS)
        bench.terminal.memory.software.cut_before = number
        with suppress(DeviceNotAnswering, ActionFailed):
            bench.steps()
        if bench.terminal.memory.software.cut_before is not None:
            break
        bench.sleep(30)
        slots = bench.terminal.memory.software.slots["payment_application"]
        assert bench.running() in {OLD, "5.5.0"}
        assert slots.running.content in {b"", NEW}
        assert slots.running.is_whole
        assert bench.device.app_status().alive
        ends.append(bench.running())
        bench.steps()
        assert (bench.running(), slots.trial) == ("5.5.0", None)
    # Begin, four pieces, two of the switch, keep.
    assert len(ends) == 8
    assert set(ends) == {OLD}


def test_what_does_not_come_up_is_taken_back(bench: Bench) -> None:
    facts = TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.6.0", [MODEL])
    bench.offer(b"TMAPP 5.6.0 broken\n" + b"x" * 100, facts)
    assert refused(bench.steps) == ROLLED_BACK_CODE
    assert (bench.running(), bench.device.app_status().alive) == (OLD, True)


def test_what_calls_itself_another_version_is_taken_back(bench: Bench) -> None:
    bench.offer(b"TMAPP 9.9.9\n", TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.6.0", [MODEL]))
    assert refused(bench.steps) == ROLLED_BACK_CODE
    assert bench.running() == OLD


def test_an_application_that_dies_on_trial_is_taken_back(bench: Bench) -> None:
    for name in ("judge", "stage", "switch"):
        bench.step(name)
    bench.sleep(5)
    bench.terminal.memory.app.is_dead = True
    assert refused(lambda: bench.step("prove")) == ROLLED_BACK_CODE
    assert bench.running() == OLD


def test_without_an_agent_the_terminal_goes_back_by_itself(bench: Bench) -> None:
    for name in ("judge", "stage", "switch"):
        bench.step(name)
    assert bench.running() == "5.5.0"
    bench.sleep(181)
    assert bench.running() == OLD
    assert refused(lambda: bench.step("prove")) == ROLLED_BACK_CODE


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.5.0", ["TM-S8"]), "it is for TM-S8"),
        (TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.4.0", [MODEL]), "older than"),
        (TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "6.0.0", [MODEL], "5.5.0"), "follows 5.5.0"),
    ],
)
def test_what_is_not_for_this_terminal_touches_nothing(bench: Bench, facts: TargetFacts, words: str) -> None:
    bench.offer(NEW + facts.version.encode(), facts)
    before = bench.terminal.snapshot()
    with pytest.raises(ActionFailed, match=words):
        bench.step("judge")
    assert bench.terminal.snapshot() == before


def test_a_file_that_was_changed_in_the_agents_store_touches_nothing(bench: Bench) -> None:
    bench.rig.keeper.file(APP).write_bytes(NEW[:-1] + b"!")
    before = bench.terminal.snapshot()
    for name in ("judge", "stage"):
        assert refused(lambda name=name: bench.step(name)) == "not_in_hand"  # type: ignore[misc]  # bound at once
    assert bench.terminal.snapshot() == before


def test_another_file_than_was_signed_for_is_not_installed(bench: Bench) -> None:
    signed_for = dict(bench.params)
    bench.offer(b"TMAPP 5.7.0\n", TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.7.0", [MODEL]))
    bench.params = signed_for
    assert refused(bench.steps) == "not_in_hand"
    assert bench.running() == OLD


def test_kinds_that_no_handler_is_there_for_are_refused(bench: Bench) -> None:
    bench.offer(b"anything", TargetFacts(ArtifactKind.FIRMWARE, "1.0.0", [MODEL]), "fw/any.bin")
    assert refused(bench.steps) == "not_installable"


def test_a_configuration_and_a_data_file_go_the_same_way(bench: Bench) -> None:
    content = json.dumps({"version": "1.1.0", "values": {"apn": "cmiot", "receipt_copies": "1"}}).encode()
    bench.offer(content, TargetFacts(ArtifactKind.CONFIGURATION, "1.1.0", [MODEL]), "conf/shop.json")
    bench.steps()
    assert bench.outcome() is Outcome.PASS
    assert bench.device.config_get()["apn"] == "cmiot"
    bench.offer(b"TMDATA 3\nbins", TargetFacts(ArtifactKind.DATA, "3", [MODEL]), "data/bins.bin")
    bench.steps()
    assert bench.outcome() is Outcome.PASS


def test_asked_by_itself_the_check_says_what_runs(bench: Bench) -> None:
    bench.params = {}
    run = bench.version.run
    assert run is not None
    found: Mapping[str, object] = {one.item: one.value for one in run(bench)}
    assert found == {"configuration": "1.0.0", "data": "none", "payment_application": OLD}


def probed(bench: Bench, install: Definition) -> bool | None:
    (switch,) = [one for one in install.steps if one.declared.name == "switch"]
    assert switch.probe is not None
    return switch.probe(bench)


def test_an_interrupted_switch_is_asked_about(bench: Bench) -> None:
    for name in ("judge", "stage"):
        bench.step(name)
    assert probed(bench, bench.install) is False
    bench.step("switch")
    assert probed(bench, bench.install) is True
    assert Artifact(**bench.params).path == APP


def test_what_is_declared_of_it_keeps_to_the_protocols_bounds(bench: Bench) -> None:
    for definition in (bench.install, bench.version, software_fetch.definition_for(bench.rig.keeper)):
        assert msgspec.json.decode(msgspec.json.encode(definition.declared), type=Action) == definition.declared
