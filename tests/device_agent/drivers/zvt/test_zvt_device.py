from __future__ import annotations

import pytest

from device_agent.drivers.results import LINE_NOISE_CODE, LINE_SILENT_CODE, Outcome
from device_agent.drivers.zvt.apdu import Apdu
from device_agent.drivers.zvt.device import ZvtDevice
from device_agent.drivers.zvt.dialogue import ZvtTimers
from device_agent.drivers.zvt.messages import Control
from device_agent.drivers.zvt.wire import NAK_BYTES
from device_agent.errors import DeviceNotAnswering
from protocol.safety import Condition
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.peripheral import ChannelKind
from simulators.peripherals.zvt_session import Step
from simulators.peripherals.zvt_terminal import ZvtTerminal
from tests.support.driver_rig import LateChannel, Rig


def make_rig(kind: ChannelKind, seed: int = 1) -> Rig:
    clock, terminal = WaitClock(), ZvtTerminal()
    port = DirectPort(terminal.open_channel(kind), clock, seed=seed)
    device = ZvtDevice(port.open, is_serial=kind is ChannelKind.SERIAL, monotonic=clock)
    return Rig(device, terminal, port, clock)


@pytest.fixture(params=list(ChannelKind), ids=lambda kind: kind.value)
def rig(request: pytest.FixtureRequest) -> Rig:
    return make_rig(request.param)


@pytest.fixture
def serial() -> Rig:
    return make_rig(ChannelKind.SERIAL)


def test_healthy_terminal_is_alive_without_faults(rig: Rig) -> None:
    result = rig.poll()
    assert result.alive
    assert not result.faults
    assert result.readings["sys.firmware_ver"] == "TM-SIM 2.4.1"
    assert result.readings["reader.alive"] is True
    assert result.state.serial_number == "00471102"
    assert result.state.conditions == frozenset()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("paper_out", "zvt.CC"),
        ("param_outdated", "zvt.51"),
        ("clock_drift", "zvt.62"),
        ("batch_full", "zvt.B2"),
        ("reader_dead", "zvt.E2"),
        ("tamper_tripped", "zvt.DF"),
        ("psu_brownout", "zvt.BF"),
    ],
)
def test_status_byte_becomes_a_fault_and_goes_with_its_cause(serial: Rig, fault: str, code: str) -> None:
    serial.peripheral.apply_fault(fault)
    assert serial.codes() == {code}
    serial.peripheral.clear_fault(fault)
    assert serial.codes() == set()


def test_running_payment_is_a_condition_and_no_fault(rig: Rig) -> None:
    rig.peripheral.apply_fault("payment_running")
    assert rig.codes() == set()
    assert rig.device.conditions() == {Condition.TRANSACTION_RUNNING}
    refused = rig.device.initialise()
    assert (refused.outcome, refused.code) == (Outcome.REFUSED, "zvt.9C")


def test_terminal_that_cannot_trade_says_so(serial: Rig) -> None:
    serial.peripheral.apply_fault("param_outdated")
    assert serial.device.conditions() == {Condition.CANNOT_TRADE}


def test_reads_change_nothing_on_the_terminal(rig: Rig) -> None:
    before = rig.peripheral.snapshot()
    rig.poll()
    rig.device.status_enquiry()
    rig.device.diagnosis()
    assert rig.peripheral.snapshot() == before


def test_diagnosis_calls_the_host_and_brings_its_slip(rig: Rig) -> None:
    answer = rig.device.diagnosis()
    assert answer.is_done
    assert rig.peripheral.host_contacts == 1
    assert "HOST OK" in answer.lines


@pytest.mark.parametrize(
    ("fault", "code"), [("acquirer_down", "zvt.A1"), ("dns_broken", "zvt.A3"), ("sim_dead", "zvt.7D")]
)
def test_diagnosis_names_why_the_host_is_out_of_reach(rig: Rig, fault: str, code: str) -> None:
    rig.peripheral.apply_fault(fault)
    answer = rig.device.diagnosis()
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, code)


def test_diagnosis_says_when_its_slip_went_to_the_terminals_own_paper(serial: Rig) -> None:
    serial.device.register(config_byte=0x00)
    answer = serial.device.diagnosis()
    assert answer.is_done
    assert "own paper" in answer.evidence
    assert serial.peripheral.snapshot()["printed_lines"]


def test_initialisation_mends_outdated_parameters(rig: Rig) -> None:
    rig.peripheral.apply_fault("param_outdated")
    assert rig.codes() == {"zvt.51"}
    assert rig.device.initialise().is_done
    assert rig.codes() == set()


def test_registration_mends_an_expired_sign_in(serial: Rig) -> None:
    serial.peripheral.apply_fault("sign_in_expired")
    assert serial.device.diagnosis().code == "zvt.6B"
    assert serial.device.register().is_done
    assert serial.device.diagnosis().is_done


def test_lost_registration_holds_in_every_poll_from_the_diagnosis_to_the_next_word_of_the_host(serial: Rig) -> None:
    serial.peripheral.apply_fault("sign_in_expired")
    assert serial.codes() == set()
    assert serial.poll().untold == {"zvt.6B", "zvt.85"}
    serial.device.diagnosis()
    assert serial.codes() == {"zvt.6B"}
    assert serial.poll().untold == frozenset()
    serial.peripheral.clear_fault("sign_in_expired")
    assert serial.codes() == {"zvt.6B"}
    serial.peripheral.apply_fault("acquirer_down")
    serial.device.diagnosis()
    assert serial.codes() == {"zvt.6B"}, "a host that is out of reach says nothing about the registration"
    serial.peripheral.clear_fault("acquirer_down")
    serial.device.diagnosis()
    assert serial.codes() == set()


def test_registration_tells_what_the_terminal_asks_for(serial: Rig) -> None:
    serial.peripheral.apply_fault("param_outdated")
    assert "initialisation_needed" in serial.device.register().evidence


def test_settlement_empties_the_batch_and_restart_restarts(serial: Rig) -> None:
    assert serial.device.end_of_day().is_done
    assert serial.device.reset().is_done
    state = serial.peripheral.snapshot()
    assert (state["batch_count"], state["restart_count"]) == (0, 1)


def test_system_configuration_is_printed_through_the_register(rig: Rig) -> None:
    answer = rig.device.print_system_configuration()
    assert answer.is_done
    assert "SW TM-SIM 2.4.1" in answer.lines


def test_cable_out_is_silence_within_seconds_and_heals_by_itself(rig: Rig) -> None:
    rig.poll()
    rig.port.is_cut = True
    started_s = rig.clock()
    result = rig.poll()
    assert not result.alive
    assert {sign.code for sign in result.faults} == {LINE_SILENT_CODE}
    assert rig.clock() - started_s <= 5.0
    rig.port.is_cut = False
    assert rig.poll().alive


def test_unknown_state_of_a_silent_terminal_is_not_idle(serial: Rig) -> None:
    serial.port.is_cut = True
    with pytest.raises(DeviceNotAnswering):
        serial.device.conditions()


def test_lost_port_is_reported_and_opened_again(rig: Rig) -> None:
    rig.poll()
    rig.port.is_gone = True
    answer = rig.device.status_enquiry()
    assert (answer.outcome, answer.code) == (Outcome.LINE_DOWN, LINE_SILENT_CODE)
    rig.port.is_gone = False
    result = rig.poll()
    assert result.alive
    assert result.line.reopened == 1


def test_cable_pulled_in_the_middle_of_a_dialogue_does_not_poison_the_next(serial: Rig) -> None:
    slow = ZvtTerminal(host_delay_s=50.0)
    port = DirectPort(slow.open_channel(ChannelKind.SERIAL), serial.clock)
    device = ZvtDevice(port.open, timers=ZvtTimers(completion_s=20.0), monotonic=serial.clock)
    assert device.diagnosis().outcome is Outcome.NO_ANSWER
    status = device.status_enquiry()
    assert status.is_done
    assert status.values["status"] == "00"


def test_terminal_that_only_asks_for_patience_is_given_up(serial: Rig) -> None:
    patience = Step(Apdu(Control.INTERMEDIATE_STATUS, b"\x0e"), after_s=3.0)

    class Staller(ZvtTerminal):
        def answer(self, command: Apdu) -> list[Step]:
            return [Step(Apdu(Control.POSITIVE)), *[patience] * 1000]

    port = DirectPort(Staller().open_channel(ChannelKind.SERIAL), serial.clock)
    device = ZvtDevice(port.open, timers=ZvtTimers(completion_s=20.0), monotonic=serial.clock)
    started_s = serial.clock()
    assert device.diagnosis().outcome is Outcome.NO_ANSWER
    # Each request for patience counts, but not beyond twice the time the command may take.
    assert 20.0 < serial.clock() - started_s <= 41.0


def test_connection_that_timed_out_is_closed_and_opened_anew() -> None:
    rig = make_rig(ChannelKind.TCP)
    rig.poll()
    rig.port.is_cut = True
    rig.poll()
    rig.port.is_cut = False
    assert rig.poll().alive
    assert rig.port.opened_count == 2


def test_loose_cable_is_noise_and_most_answers_still_arrive() -> None:
    rig = make_rig(ChannelKind.SERIAL, seed=7)
    rig.port.damaged_share = 0.01
    results = [rig.poll() for _ in range(40)]
    assert sum(result.alive for result in results) > 30
    assert any(LINE_NOISE_CODE in {sign.code for sign in result.faults} for result in results)
    assert results[-1].readings["serial.crc_err_pct"] > 0
    rig.port.damaged_share = 0.0
    for _ in range(11):
        result = rig.poll()
    assert result.alive
    assert not result.faults


def test_every_action_on_a_dead_line_answers_and_none_raises(rig: Rig) -> None:
    rig.port.is_gone = True
    device = rig.device
    for act in (device.diagnosis, device.initialise, device.register, device.end_of_day, device.reset):
        assert act().outcome is Outcome.LINE_DOWN
    with pytest.raises(DeviceNotAnswering):
        device.conditions()


def test_refused_block_is_sent_again_and_counted(serial: Rig) -> None:
    class Deaf(LateChannel):
        """Refuses the first block as a terminal does that heard it damaged."""

        refusals = 1

        def receive(self, data: bytes, now_s: float) -> bytes:
            if self.refusals:
                self.refusals -= 1
                return NAK_BYTES
            return super().receive(data, now_s)

    port = DirectPort(Deaf(serial.peripheral.open_channel(ChannelKind.SERIAL), []), serial.clock)
    device = ZvtDevice(port.open, monotonic=serial.clock)
    assert device.status_enquiry().is_done
    assert device.line_statistics.naks == 1
