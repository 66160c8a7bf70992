from __future__ import annotations

import pytest

from device_agent.drivers.attached import FIRMWARE_EVERY_S
from device_agent.drivers.line import Line
from device_agent.drivers.modem.device import RADIO_EVERY, ModemDevice
from device_agent.drivers.modem.session import COMMAND_S, AtSession
from device_agent.drivers.results import LINE_SILENT_CODE, Outcome
from device_agent.errors import DeviceNotAnswering
from protocol.catalogue import codes, metrics
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.at_modem import AtModem
from tests.support.driver_rig import LateChannel, Rig


@pytest.fixture
def rig() -> Rig:
    clock, modem = WaitClock(), AtModem()
    port = DirectPort(modem, clock, seed=5)
    return Rig(ModemDevice(port.open, monotonic=clock), modem, port, clock)


def test_healthy_modem_is_alive_without_faults(rig: Rig) -> None:
    result = rig.poll()
    assert result.alive
    assert not result.faults
    expected = {
        "modem.sim_state": "ready",
        "modem.reg_stat": 1,
        "modem.csq": 21,
        "modem.rsrp_dbm": -88.0,
        "modem.attach": True,
        "modem.pdp_active": True,
        "modem.apn": "cmnet",
        "modem.imei": "490154203237518",
        "net.type": "4g",
        "sys.firmware_ver": "TMLTE1R01A02",
    }
    assert {name: result.readings[name] for name in expected} == expected
    assert all(metrics.get(name) is not None for name in result.readings)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("sim_loose", "cme.10"),
        ("sim_dead", "cme.13"),
        ("cell_outage", "agent.MODEM_NOT_REGISTERED"),
        ("moved_blocked", "term.NET_REG_DENIED"),
        ("apn_wrong", "term.NET_NO_PDP"),
        ("signal_weak", "term.NET_WEAK"),
    ],
)
def test_fault_shows_within_one_poll_and_goes_with_its_cause(rig: Rig, fault: str, code: str) -> None:
    rig.poll()
    rig.peripheral.apply_fault(fault)
    result = rig.poll()
    assert code in {sign.code for sign in result.faults}
    assert all(codes.get(sign.code) is not None for sign in result.faults)
    rig.peripheral.clear_fault(fault)
    for _ in range(RADIO_EVERY):
        result = rig.poll()
    assert not result.faults


def test_checks_change_nothing_on_the_modem(rig: Rig) -> None:
    before = rig.peripheral.snapshot()
    rig.device.registration()
    rig.device.signal()
    rig.device.sim()
    rig.device.data_context()
    assert rig.peripheral.snapshot() == before


def test_polls_after_the_first_change_nothing_on_the_modem(rig: Rig) -> None:
    rig.poll()
    before = rig.peripheral.snapshot()
    for _ in range(3):
        rig.poll()
    assert rig.peripheral.snapshot() == before


def test_firmware_is_asked_on_each_connection_and_every_few_hours(rig: Rig) -> None:
    for _ in range(5):
        assert rig.poll().readings["sys.firmware_ver"] == "TMLTE1R01A02"
    assert rig.port.sent.count(b"AT+CGMR") == 1
    rig.clock.now_s += FIRMWARE_EVERY_S
    rig.poll()
    assert rig.port.sent.count(b"AT+CGMR") == 2
    rig.port.is_gone = True
    assert "sys.firmware_ver" not in rig.poll().readings
    rig.port.is_gone = False
    assert rig.poll().readings["sys.firmware_ver"] == "TMLTE1R01A02"
    assert rig.port.sent.count(b"AT+CGMR") == 3


def test_modem_that_restarted_is_prepared_again(rig: Rig) -> None:
    rig.poll()
    assert rig.device.reset().is_done
    for _ in range(3):
        rig.poll()
    state = rig.peripheral.snapshot()
    assert (state["echo"], state["error_mode"], state["restart_count"]) == (False, 1, 1)


def test_modem_that_restarted_by_itself_is_prepared_again(rig: Rig) -> None:
    rig.poll()
    rig.peripheral.restart()
    rig.poll()
    rig.poll()
    assert rig.peripheral.snapshot()["error_mode"] == 1


def test_new_sim_is_read_after_the_old_one_was_lost(rig: Rig) -> None:
    rig.poll()
    rig.peripheral.apply_fault("sim_loose")
    assert "modem.iccid" not in rig.poll().readings
    rig.peripheral.clear_fault()
    rig.peripheral.state.iccid = "89860000000000000025"
    assert rig.poll().readings["modem.iccid"] == "89860000000000000025"


def test_scan_hears_the_networks_around(rig: Rig) -> None:
    answer = rig.device.scan_networks()
    assert answer.is_done
    assert answer.values == {"networks": 3}
    assert answer.lines[0].startswith("00101 TM Mobile 4g")


def test_scan_that_takes_too_long_is_given_up_and_its_late_answer_ignored(rig: Rig) -> None:
    rig.peripheral.scan_s = 30.0
    assert rig.device.scan_networks(timeout_s=5.0).outcome is Outcome.NO_ANSWER
    rig.clock.now_s += 40.0
    assert rig.poll().readings["modem.csq"] == 21


def test_registering_again_brings_a_dropped_data_context_back(rig: Rig) -> None:
    rig.poll()
    rig.peripheral.apply_fault("link_down")
    assert rig.codes() == {"term.NET_NO_PDP"}
    assert rig.device.reregister().is_done
    assert rig.codes() == set()


@pytest.mark.parametrize(
    ("fault", "code"),
    [("apn_wrong", "cme.149"), ("sim_out_of_credit", "cme.133"), ("cell_outage", "agent.MODEM_NOT_REGISTERED")],
)
def test_registering_again_fails_with_the_reason_that_remains(rig: Rig, fault: str, code: str) -> None:
    rig.poll()
    rig.peripheral.apply_fault(fault)
    answer = rig.device.reregister(timeout_s=10.0)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, code)


def test_registering_again_without_a_sim_does_not_wait_in_vain(rig: Rig) -> None:
    rig.poll()
    rig.peripheral.apply_fault("sim_dead")
    started_s = rig.clock()
    assert rig.device.reregister().code == "cme.13"
    assert rig.clock() - started_s < 5.0


def test_cable_out_is_silence_within_seconds_and_heals_by_itself(rig: Rig) -> None:
    rig.poll()
    rig.port.is_cut = True
    started_s = rig.clock()
    result = rig.poll()
    assert not result.alive
    assert {sign.code for sign in result.faults} == {LINE_SILENT_CODE}
    assert rig.clock() - started_s < 3.0
    rig.port.is_cut = False
    assert rig.poll().alive


def test_modem_that_restarted_behind_a_cut_cable_is_prepared_at_once(rig: Rig) -> None:
    rig.poll()
    rig.port.is_cut = True
    rig.poll()
    rig.peripheral.restart()
    rig.port.is_cut = False
    rig.poll()
    assert rig.peripheral.snapshot()["error_mode"] == 1


def test_late_answer_is_never_taken_for_the_answer_to_the_next_command() -> None:
    clock, modem = WaitClock(), AtModem()
    modem.state.echo = False
    port = DirectPort(LateChannel(modem, [COMMAND_S + 0.05, 0.3]), clock)
    session = AtSession(Line(port.open, monotonic=clock))
    with pytest.raises(DeviceNotAnswering):
        session.run("AT+CSQ")
    assert session.run("AT+CGSN").lines == ("490154203237518",)


def test_lost_port_is_opened_again(rig: Rig) -> None:
    rig.poll()
    rig.port.is_gone = True
    assert not rig.poll().alive
    rig.port.is_gone = False
    result = rig.poll()
    assert result.alive
    assert result.line.reopened == 1


def test_noisy_line_recovers_when_the_noise_ends(rig: Rig) -> None:
    rig.port.damaged_share = 0.05
    for _ in range(20):
        rig.poll()
    rig.port.damaged_share = 0.0
    for _ in range(3):
        result = rig.poll()
    assert result.alive
    assert result.readings["modem.csq"] == 21


def test_every_action_on_a_dead_line_answers_and_none_raises(rig: Rig) -> None:
    rig.port.is_gone = True
    device = rig.device
    for act in (device.registration, device.signal, device.sim, device.scan_networks, device.reregister, device.reset):
        answer = act()
        assert (answer.outcome, answer.code) == (Outcome.LINE_DOWN, LINE_SILENT_CODE)


def test_data_context_without_an_address_is_no_data_context(rig: Rig) -> None:
    assert rig.device.data_context().values["modem.pdp_active"] is True
    rig.peripheral.apply_fault("apn_wrong")
    answer = rig.device.data_context()
    assert (answer.code, answer.values["modem.pdp_active"]) == ("term.NET_NO_PDP", False)
