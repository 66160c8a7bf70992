"""The simulated terminal: answers, breaks, is mended by what mends it, and never loses money."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from protocol.catalogue import codes, metrics
from protocol.catalogue.vocabulary import TerminalClass
from simulators.errors import FaultUnknown
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from simulators.terminal import SimulatedTerminal
from simulators.terminal_calls import CHANGING, CallRefused
from simulators.terminal_payments import PAYMENT_TAKES_S, pay

READS = ("describe", "readings", "signs", "safety", "app_status", "queue_status", "logs_status", "clock_get")
MORE_READS = ("config_get", "storage", "memory", "certificate", "log_tail", "net_probe")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100_000.0

    def __call__(self) -> float:
        return self.now_s

    def wall(self) -> float:
        return 1_795_000_000.0 + self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=list(TerminalClass), ids=lambda each: each.value)
def terminal(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> SimulatedTerminal:
    return SimulatedTerminal(
        request.param, seed=7, log_path=tmp_path / "pay.log", trade_every_s=0, monotonic=clock, wall=clock.wall
    )


@pytest.mark.parametrize("call", READS + MORE_READS)
def test_a_call_that_reads_changes_nothing(terminal: SimulatedTerminal, call: str) -> None:
    before = terminal.snapshot()
    terminal.call(call, {})
    assert terminal.snapshot() == before


def test_a_healthy_terminal_reads_normal_for_a_day(terminal: SimulatedTerminal, clock: Clock) -> None:
    for _ in range(24):
        clock.now_s += 600
        abnormal = {
            name: value
            for name, value in terminal.readings().items()
            if (metric := metrics.get(name)) is None or metric.judge(value, terminal.model.terminal_class).is_abnormal
        }
        assert abnormal == {}


def test_equal_seeds_read_equally(clock: Clock) -> None:
    first, second = (SimulatedTerminal(TerminalClass.SMART, seed=3, monotonic=clock, wall=clock.wall) for _ in range(2))
    assert first.readings() == second.readings()
    assert first.snapshot() == second.snapshot()


def test_every_cause_shows_and_its_clearing_leaves_nothing(terminal: SimulatedTerminal) -> None:
    def seen() -> object:
        wrong = {
            name: value
            for name, value in terminal.readings().items()
            if (metric := metrics.get(name)) is None or metric.judge(value, terminal.model.terminal_class).is_abnormal
        }
        return wrong, terminal.shown_codes(), terminal.is_app_alive(), terminal.response_codes()

    for fault in terminal.possible_faults():
        before, readings = seen(), terminal.readings()
        terminal.apply_fault(fault.name)
        assert terminal.faults() == (fault.name,)
        is_about_the_queue = fault.name == QUEUE_STUCK
        assert is_about_the_queue or seen() != before or terminal.readings() != readings, fault.name
        terminal.clear_fault()
        assert terminal.faults() == ()
        assert seen() == before, fault.name


def test_every_code_that_a_cause_shows_is_in_the_catalogue(terminal: SimulatedTerminal) -> None:
    for fault in terminal.possible_faults():
        terminal.apply_fault(fault.name)
    assert {code for code in terminal.shown_codes() if codes.get(code) is None} == set()


def test_a_cause_of_another_class_is_refused() -> None:
    terminal = SimulatedTerminal(TerminalClass.E_SIGN)
    with pytest.raises(FaultUnknown):
        terminal.apply_fault("paper_out")


@pytest.mark.parametrize(
    ("fault", "call"),
    [
        (APP_DEAD, "app_restart"),
        (APP_DEAD, "reboot"),
        (QUEUE_STUCK, "queue_send"),
        (REGISTRATION_LOST, "modem_reregister"),
        ("storage_log_growth", "logs_purge"),
        ("sign_in_expired", "sign_in"),
        ("batch_full", "settle"),
    ],
)
def test_the_right_call_ends_its_fault(terminal: SimulatedTerminal, fault: str, call: str) -> None:
    terminal.apply_fault(fault)
    terminal.call(call, {})
    assert terminal.faults() == ()


def test_a_clock_set_to_1970_is_a_clock_and_false_is_none(terminal: SimulatedTerminal) -> None:
    with pytest.raises(CallRefused, match="wall_ms"):
        terminal.call("clock_set", {"wall_ms": False})
    terminal.call("clock_set", {"wall_ms": 0})
    told = terminal.call("app_status", {})
    assert isinstance(told, dict)
    assert told["since_ms"] == 0


def test_a_clock_set_right_ends_the_drift_and_one_set_wrong_does_not(terminal: SimulatedTerminal, clock: Clock) -> None:
    terminal.apply_fault("clock_drift")
    terminal.call("clock_set", {"wall_ms": int((clock.wall() + 4000) * 1000)})
    assert terminal.faults() == ("clock_drift",)
    terminal.call("clock_set", {"wall_ms": int(clock.wall() * 1000)})
    assert terminal.faults() == ()
    assert terminal.readings()["sys.clock_drift_s"] == 0


@pytest.mark.parametrize("call", ["modem_reregister", "app_restart", "reboot", "queue_send", "sign_in", "settle"])
def test_a_dead_sim_stays_dead_whatever_is_tried(terminal: SimulatedTerminal, call: str) -> None:
    terminal.apply_fault("sim_dead")
    with suppress(CallRefused):
        terminal.call(call, {})
    assert terminal.faults() == ("sim_dead",)
    assert terminal.readings()["modem.sim_state"] == "failure"


def test_a_queue_is_never_lost_and_not_sent_without_a_host(terminal: SimulatedTerminal) -> None:
    terminal.apply_fault(QUEUE_STUCK)
    waiting = terminal.snapshot()["trade"]["queue"]
    terminal.apply_fault("acquirer_down")
    with pytest.raises(CallRefused):
        terminal.call("queue_send", {})
    terminal.call("reboot", {})
    terminal.call("logs_purge", {})
    assert terminal.snapshot()["trade"]["queue"] == waiting
    terminal.clear_fault("acquirer_down")
    terminal.call("queue_send", {})
    assert terminal.snapshot()["trade"]["sent"] == waiting
    assert terminal.snapshot()["trade"]["queue"] == []


def test_a_purge_touches_no_byte_of_the_journal(terminal: SimulatedTerminal, clock: Clock) -> None:
    for _ in range(5):
        pay(terminal)
    clock.now_s += PAYMENT_TAKES_S
    journal = terminal.log.journal_path
    assert journal is not None
    before = journal.read_bytes(), terminal.snapshot()["trade"]["journal"]
    terminal.apply_fault("storage_log_growth")
    terminal.call("logs_purge", {})
    assert (journal.read_bytes(), terminal.snapshot()["trade"]["journal"]) == before
    assert len(before[0].splitlines()) == 5


@pytest.mark.parametrize("call", sorted(CHANGING))
def test_nothing_is_changed_while_somebody_pays(terminal: SimulatedTerminal, clock: Clock, call: str) -> None:
    pay(terminal)
    before = terminal.snapshot()
    with pytest.raises(CallRefused) as refused:
        terminal.call(call, {})
    assert refused.value.code == "transaction_running"
    assert terminal.snapshot() == before
    clock.now_s += PAYMENT_TAKES_S
    assert terminal.call("safety", {})["transaction_running"] is False  # type: ignore[index]  # an answer in JSON


def test_a_payment_without_an_answer_leaves_a_reversal_until_the_next_approved_one(clock: Clock) -> None:
    terminal = SimulatedTerminal(TerminalClass.E_SIGN, trade_every_s=0, monotonic=clock, wall=clock.wall)
    terminal.apply_fault("acquirer_down")
    assert pay(terminal) is None
    assert terminal.readings()["biz.reversal_pending"] == 1
    terminal.clear_fault()
    assert pay(terminal) == "00"
    assert terminal.readings()["biz.reversal_pending"] == 0


def test_a_reboot_changes_the_boot_and_takes_the_terminal_down(terminal: SimulatedTerminal, clock: Clock) -> None:
    boot = terminal.snapshot()["boot"]
    terminal.call("reboot", {})
    assert terminal.snapshot()["boot"] != boot
    assert terminal.is_down()
    clock.now_s += 60
    assert not terminal.is_down()
    assert terminal.is_app_alive()
