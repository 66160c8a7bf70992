from __future__ import annotations

from datetime import UTC, datetime
from itertools import repeat

import pytest

from device_agent.drivers.attached import FIRMWARE_EVERY_S
from device_agent.drivers.escpos.device import ANSWER_S, PrinterDevice
from device_agent.drivers.escpos.wire import Identity, identity_request
from device_agent.drivers.results import LINE_SILENT_CODE, Outcome
from device_agent.errors import ActionFailed, DeviceNotAnswering
from simulators.direct_port import DirectPort, WaitClock
from simulators.peripherals.escpos_printer import EscposPrinter
from tests.support.driver_rig import LateChannel, Rig


@pytest.fixture
def rig() -> Rig:
    clock, printer = WaitClock(), EscposPrinter()
    port = DirectPort(printer, clock, seed=3)
    return Rig(PrinterDevice(port.open, monotonic=clock), printer, port, clock)


def test_healthy_printer_is_alive_without_faults(rig: Rig) -> None:
    result = rig.poll()
    assert result.alive
    assert not result.faults
    assert result.readings["prn.status"] == "ok"
    assert result.readings["prn.paper_near_end"] is False
    assert result.readings["sys.firmware_ver"] == "1.07 TM-SIM"


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        ("paper_out", "escpos.eot4.paper_end", "paper_out"),
        ("paper_near", "escpos.eot4.near_end", "paper_near"),
        ("cover_open", "escpos.eot2.cover_open", "cover_open"),
        ("cutter_jam", "escpos.eot3.cutter", "cutter_error"),
        ("head_overheat", "escpos.eot3.auto_recoverable", "overheat"),
        ("psu_brownout", "escpos.eot3.unrecoverable", "fault"),
    ],
)
def test_fault_shows_in_code_and_reading_and_goes_with_its_cause(rig: Rig, fault: str, code: str, word: str) -> None:
    rig.peripheral.apply_fault(fault)
    result = rig.poll()
    assert code in {sign.code for sign in result.faults}
    assert result.readings["prn.status"] == word
    rig.peripheral.clear_fault(fault)
    assert rig.codes() == set()


def test_reads_change_nothing_and_move_no_paper(rig: Rig) -> None:
    before = rig.peripheral.snapshot()
    rig.poll()
    rig.device.status()
    rig.device.identity()
    assert rig.peripheral.snapshot() == before


def test_lines_fed_are_read_and_rise_with_a_slip(rig: Rig) -> None:
    before = rig.device.lines_fed()
    rig.device.print_test(("one", "two"))
    after = rig.device.lines_fed()
    assert before is not None
    assert after == before + 6


def test_a_blocked_printer_and_one_that_does_not_count_tell_nothing(rig: Rig) -> None:
    rig.peripheral.apply_fault("paper_out")
    assert rig.device.lines_fed() is None
    clock = WaitClock()
    plain = PrinterDevice(DirectPort(EscposPrinter(has_counters=False), clock).open, monotonic=clock)
    assert plain.lines_fed() is None
    assert plain.status().is_done


def test_a_count_that_noise_has_changed_is_never_taken(rig: Rig) -> None:
    right = rig.device.lines_fed()
    rig.port.damaged_share = 0.03
    told = {_told(rig) for _ in range(300)}
    assert told <= {right, None}
    assert right in told


def _told(rig: Rig) -> int | None:
    try:
        return int(fed) if (fed := rig.device.lines_fed()) is not None else None
    except DeviceNotAnswering:
        return None


def test_identity_is_read(rig: Rig) -> None:
    answer = rig.device.identity()
    assert answer.values == {
        "firmware": "1.07 TM-SIM",
        "maker": "TILLMEDIC",
        "model": "TM-SIM80",
        "serial": "PS00471103",
    }


def asked_for_firmware(rig: Rig) -> int:
    return rig.port.sent.count(identity_request(Identity.FIRMWARE))


def test_firmware_is_asked_on_each_connection_and_every_few_hours(rig: Rig) -> None:
    for _ in range(5):
        assert rig.poll().readings["sys.firmware_ver"] == "1.07 TM-SIM"
    # Twice: nothing guards the text, so it has to come the same again.
    assert asked_for_firmware(rig) == 2
    rig.clock.now_s += FIRMWARE_EVERY_S
    rig.poll()
    assert asked_for_firmware(rig) == 4
    rig.port.is_gone = True
    assert "sys.firmware_ver" not in rig.poll().readings
    rig.port.is_gone = False
    assert rig.poll().readings["sys.firmware_ver"] == "1.07 TM-SIM"
    assert asked_for_firmware(rig) == 6


def test_blocked_printer_is_asked_for_its_firmware_once_it_can_print_again(rig: Rig) -> None:
    rig.peripheral.apply_fault("paper_out")
    assert "sys.firmware_ver" not in rig.poll().readings
    assert asked_for_firmware(rig) == 0
    rig.peripheral.clear_fault()
    assert rig.poll().readings["sys.firmware_ver"] == "1.07 TM-SIM"


def test_printer_that_tells_no_firmware_is_left_in_peace(rig: Rig) -> None:
    # Four answers in real time, then silence.
    port = DirectPort(LateChannel(rig.peripheral, [0.0] * 4 + [60.0]), rig.clock)
    device = PrinterDevice(port.open, monotonic=rig.clock)
    result = device.poll(datetime(2026, 3, 1, tzinfo=UTC))
    assert result.alive
    assert "sys.firmware_ver" not in result.readings
    assert port.sent.count(identity_request(Identity.FIRMWARE)) == 1


def test_noise_is_never_a_firmware(rig: Rig) -> None:
    told = set()
    rig.port.damaged_share = 0.02
    for _ in range(200):
        told.add(rig.poll().readings.get("sys.firmware_ver"))
        rig.clock.now_s += FIRMWARE_EVERY_S
    assert told == {None, "1.07 TM-SIM"}


def test_print_test_puts_its_lines_on_paper_and_cuts(rig: Rig) -> None:
    answer = rig.device.print_test(["打印测试", "print test"])
    assert answer.is_done
    assert rig.peripheral.printed_text()[:2] == ["打印测试", "print test"]
    assert rig.peripheral.snapshot()["cut_count"] == 1


def test_what_a_merchant_is_to_read_is_printed_or_fails_in_words(rig: Rig) -> None:
    rig.device.show_to_merchant(["验证码", "123 456"])
    assert rig.peripheral.printed_text()[:2] == ["验证码", "123 456"]
    rig.peripheral.apply_fault("paper_out")
    with pytest.raises(ActionFailed, match="print"):
        rig.device.show_to_merchant(["x"])


def test_print_test_sends_nothing_to_a_printer_without_paper(rig: Rig) -> None:
    rig.peripheral.apply_fault("paper_out")
    answer = rig.device.print_test(["x"])
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "escpos.eot4.paper_end")
    assert rig.peripheral.snapshot()["buffer"] == b""


def test_paper_that_runs_out_during_the_print_fails_the_test(rig: Rig) -> None:
    peripheral = rig.peripheral
    original = peripheral.receive

    def receive(data: bytes, now_s: float) -> bytes:
        if b"last line" in data:
            peripheral.apply_fault("paper_out")
        out: bytes = original(data, now_s)
        return out

    peripheral.receive = receive
    answer = rig.device.print_test(["last line"], timeout_s=2.0)
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "escpos.eot4.paper_end")


def test_blocked_printer_is_not_asked_for_its_identity(rig: Rig) -> None:
    rig.peripheral.apply_fault("cover_open")
    answer = rig.device.identity()
    assert (answer.outcome, answer.code) == (Outcome.REFUSED, "escpos.eot2.cover_open")
    assert rig.peripheral.snapshot()["buffer"] == b""


def test_automatic_status_between_answers_does_not_disturb(rig: Rig) -> None:
    rig.peripheral.receive(b"\x1da\x0f", 0.0)
    assert rig.poll().alive
    rig.peripheral.apply_fault("paper_near")
    result = rig.poll()
    assert result.alive
    assert {sign.code for sign in result.faults} == {"escpos.eot4.near_end"}
    assert result.line.bad_frames == 0


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


def test_late_answer_is_never_taken_for_the_answer_to_the_next_question() -> None:
    clock, printer = WaitClock(), EscposPrinter()
    printer.apply_fault("paper_out")
    port = DirectPort(LateChannel(printer, repeat(ANSWER_S + 0.05)), clock)
    result = Rig(PrinterDevice(port.open, monotonic=clock), printer, port, clock).poll()
    assert not result.alive
    assert result.state.raw == ()


def test_wrong_speed_is_garbage_and_never_a_status(rig: Rig) -> None:
    rig.port.damaged_share = 1.0
    results = [rig.poll() for _ in range(10)]
    assert sum(result.alive for result in results) <= 2
    assert results[-1].line.bad_frames + results[-1].line.timeouts > 10
    rig.port.damaged_share = 0.0
    assert rig.poll().alive


@pytest.mark.parametrize("attribute", ["is_gone", "is_cut"])
def test_every_question_on_a_dead_line_answers_and_none_raises(rig: Rig, attribute: str) -> None:
    setattr(rig.port, attribute, True)
    expected = Outcome.LINE_DOWN if attribute == "is_gone" else Outcome.NO_ANSWER
    for answer in (rig.device.status(), rig.device.identity(), rig.device.print_test(["x"])):
        assert (answer.outcome, answer.code) == (expected, LINE_SILENT_CODE)


def test_printer_that_never_finishes_fails_the_print_test(rig: Rig) -> None:
    port = DirectPort(LateChannel(rig.peripheral, [0.01] * 4 + [60.0]), rig.clock)
    answer = PrinterDevice(port.open, monotonic=rig.clock).print_test(["x"], timeout_s=3.0)
    assert answer.outcome is Outcome.NO_ANSWER
    assert "not finished" in answer.evidence
