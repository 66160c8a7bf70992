from __future__ import annotations

import random

import pytest

from simulators.peripherals.at_modem import AtModem


class Terminal:
    """Types commands at the modem and reads what it shows."""

    def __init__(self, modem: AtModem) -> None:
        self.modem = modem
        self.now_s = 100.0

    def type(self, command: str) -> str:
        shown = self.modem.receive(command.encode() + b"\r", self.now_s).decode()
        return shown.removeprefix(command + "\r")

    def wait(self, seconds: float) -> str:
        self.now_s += seconds
        return self.modem.tick(self.now_s).decode()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal(AtModem())


def test_command_is_echoed_until_echo_is_off(terminal: Terminal) -> None:
    assert terminal.modem.receive(b"AT\r", 0.0) == b"AT\r\r\nOK\r\n"
    terminal.type("ATE0")
    assert terminal.modem.receive(b"AT\r", 0.0) == b"\r\nOK\r\n"


@pytest.mark.parametrize("command", ["AT+NOSUCH?", "AT%XYZ", "ATQ9X", "AT+CSQ=7", "hello", "AT+CFUN=9", "AT$", "AT+"])
def test_what_the_modem_does_not_know_is_an_error_and_never_silence(terminal: Terminal, command: str) -> None:
    assert terminal.type(command).endswith("ERROR\r\n")


def test_errors_are_bare_numbered_or_worded_as_set(terminal: Terminal) -> None:
    terminal.modem.apply_fault("sim_loose")
    assert terminal.type("AT+CPIN?") == "\r\nERROR\r\n"
    terminal.type("AT+CMEE=1")
    assert terminal.type("AT+CPIN?") == "\r\n+CME ERROR: 10\r\n"
    terminal.type("AT+CMEE=2")
    assert terminal.type("AT+CPIN?") == "\r\n+CME ERROR: SIM not inserted\r\n"


def test_read_and_test_forms_change_nothing(terminal: Terminal) -> None:
    before = terminal.modem.snapshot()
    names = ["+CSQ", "+CESQ", "+CREG?", "+CEREG?", "+CEREG=?", "+CGATT?", "+CGACT?", "+CGPADDR=1", "+CPIN?", "+CGSN"]
    for name in [*names, "+CCID", "+QCCID", "+COPS?", "+CGDCONT?", "+CFUN?", "+CMEE?", "+CSCS?", '+QENG="servingcell"']:
        assert terminal.type(f"AT{name}").endswith("OK\r\n"), name
    assert terminal.modem.snapshot() == before


def test_several_commands_on_a_line_are_all_run(terminal: Terminal) -> None:
    assert terminal.type("AT+CMEE=1;+CMEE?;+CSQ") == "\r\n+CMEE: 1\r\n\r\n+CSQ: 21,99\r\n\r\nOK\r\n"


def test_registration_shows_place_and_technology_only_when_asked_to(terminal: Terminal) -> None:
    assert terminal.type("AT+CEREG?") == "\r\n+CEREG: 0,1\r\n\r\nOK\r\n"
    terminal.type("AT+CEREG=2")
    assert terminal.type("AT+CEREG?") == '\r\n+CEREG: 2,1,"10A4","0A2B3C1D",7\r\n\r\nOK\r\n'


def test_loss_and_return_of_the_network_are_told_unasked(terminal: Terminal) -> None:
    terminal.type("AT+CEREG=2")
    terminal.modem.apply_fault("cell_outage")
    assert terminal.wait(0.1) == "\r\n+CEREG: 2\r\n"
    assert terminal.wait(0.1) == ""
    terminal.modem.clear_fault()
    assert terminal.wait(0.1) == '\r\n+CEREG: 1,"10A4","0A2B3C1D",7\r\n'


def test_radio_off_and_on_registers_again_after_a_while(terminal: Terminal) -> None:
    terminal.type("AT+CFUN=4")
    assert "+CEREG: 0,0" in terminal.type("AT+CEREG?")
    assert "+CSQ: 99,99" in terminal.type("AT+CSQ")
    terminal.type("AT+CFUN=1")
    assert "+CEREG: 0,2" in terminal.type("AT+CEREG?")
    terminal.wait(2.0)
    assert "+CEREG: 0,1" in terminal.type("AT+CEREG?")
    assert "+CGACT: 1,1" in terminal.type("AT+CGACT?")


def test_scan_takes_its_time_and_holds_back_the_next_command(terminal: Terminal) -> None:
    assert terminal.type("AT+COPS=?") == ""
    assert terminal.type("AT") == ""
    assert terminal.wait(0.5) == ""
    shown = terminal.wait(2.0)
    assert shown.startswith("\r\n+COPS: (2,")
    assert shown.endswith("\r\nOK\r\n\r\nOK\r\n")


@pytest.mark.parametrize(("fault", "number"), [("apn_wrong", 149), ("sim_out_of_credit", 133), ("cell_outage", 30)])
def test_data_context_that_cannot_be_activated_says_why(terminal: Terminal, fault: str, number: int) -> None:
    terminal.type("AT+CMEE=1")
    terminal.modem.apply_fault(fault)
    assert "+CGACT: 1,0" in terminal.type("AT+CGACT?")
    assert terminal.type("AT+CGACT=1,1") == f"\r\n+CME ERROR: {number}\r\n"


def test_restart_forgets_the_settings_of_the_session(terminal: Terminal) -> None:
    terminal.type("ATE0")
    terminal.type("AT+CMEE=1")
    terminal.type("AT+CFUN=1,1")
    assert terminal.modem.receive(b"AT+CMEE?\r", terminal.now_s) == b"AT+CMEE?\r\r\n+CMEE: 0\r\n\r\nOK\r\n"


def test_random_typing_never_raises_and_the_next_command_works() -> None:
    chance = random.Random(13)
    modem = AtModem()
    for _ in range(2000):
        typed = b"AT" + bytes(chance.choice(b'+CSQREG?=;,1"E0 \r\n\x00\xff') for _ in range(12))
        modem.receive(typed, 0.0)
        modem.tick(0.0)
    modem.receive(b"\r", 0.0)
    assert b"OK" in modem.receive(b"AT\r", 0.0)


def test_settings_are_kept_and_read_back(terminal: Terminal) -> None:
    for setting, read in [
        ('AT+CSCS="GSM"', '+CSCS: "GSM"'),
        ("AT+CMGF=1", "+CMGF: 1"),
        ('AT+CGDCONT=1,"IP","cmiot"', '+CGDCONT: 1,"IP","cmiot"'),
        ("AT+COPS=3,2", '+COPS: 0,2,"00101",7'),
    ]:
        assert terminal.type(setting).endswith("OK\r\n")
        assert read in terminal.type(setting.partition("=")[0] + "?")


def test_leaving_the_network_and_coming_back_takes_the_data_context_along(terminal: Terminal) -> None:
    terminal.type("AT+COPS=2")
    assert "+COPS: 2" in terminal.type("AT+COPS?")
    assert "+CGACT: 1,0" in terminal.type("AT+CGACT?")
    terminal.type("AT+COPS=0")
    terminal.wait(2.0)
    assert "+CGACT: 1,1" in terminal.type("AT+CGACT?")


def test_detaching_takes_the_data_context_down(terminal: Terminal) -> None:
    terminal.type("AT+CGATT=0")
    assert "+CGATT: 0" in terminal.type("AT+CGATT?")
    assert '+CGPADDR: 1,"0.0.0.0"' in terminal.type("AT+CGPADDR=1")
    terminal.type("AT+CGATT=1")
    terminal.type("AT+CGACT=1,1")
    assert '"10.64.12.7"' in terminal.type("AT+CGPADDR=1")
    terminal.type("AT+CGACT=0,1")
    assert "+CGACT: 1,0" in terminal.type("AT+CGACT?")


def test_backspace_corrects_and_endless_typing_is_bounded(terminal: Terminal) -> None:
    assert terminal.type("AX\x08T").endswith("\r\nOK\r\n")
    terminal.type("A" * 600)
    assert terminal.modem.dropped_bytes == 600 - 512
