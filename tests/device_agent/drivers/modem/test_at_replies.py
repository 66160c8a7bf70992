from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from device_agent.drivers.modem import replies
from device_agent.drivers.modem.replies import Operator, Registration, Sim


@pytest.mark.parametrize(
    ("line", "code"), [("+CSQ: 18,99", 18), ("+CSQ: 0,0", 0), ("+CSQ: 99,99", None), ("+CSQ: 200,0", None), ("", None)]
)
def test_unknown_signal_is_neither_strong_nor_weak(line: str, code: int | None) -> None:
    assert replies.parse_csq((line,)) == code


@pytest.mark.parametrize(
    ("line", "quality"),
    [
        ("+CESQ: 99,99,255,255,22,52", (-8.5, -88.0)),
        ("+CESQ: 99,99,255,255,255,255", (None, None)),
        ("+CESQ: 99,99,255,255,0,0", (-19.5, -140.0)),
        ("+CESQ: 99,99,255,255,34,97", (-2.5, -44.0)),
        ("+CESQ: 1", (None, None)),
    ],
)
def test_extended_signal_is_converted_as_27_007_tabulates(line: str, quality: tuple[float, float]) -> None:
    assert replies.parse_cesq((line,)) == quality


def test_registration_with_place_and_technology_is_read() -> None:
    found = replies.parse_registration(('+CEREG: 2,5,"10A4","0a2b3c1d",7',), "+CEREG:")
    assert found == Registration(5, "0A2B3C1D", "4g")
    assert found is not None
    assert found.is_registered
    assert replies.parse_registration(("+CEREG: 0,3",), "+CEREG:") == Registration(3)
    assert replies.parse_registration(("+CEREG: 0,77",), "+CEREG:") is None
    slipped_in = ('+CEREG: 1,"0005","0A2B",7', "+CEREG: 2,2")
    assert replies.parse_registration(slipped_in, "+CEREG:") == Registration(2)


@pytest.mark.parametrize(
    ("lines", "cme", "sim"),
    [
        (("+CPIN: READY",), None, Sim.READY),
        (("+CPIN: SIM PIN",), None, Sim.PIN),
        (("+CPIN: SIM PUK",), None, Sim.PUK),
        ((), 10, Sim.ABSENT),
        ((), 13, Sim.FAILURE),
        ((), 14, Sim.BUSY),
        ((), 100, None),
        (("+CPIN: WHATEVER",), None, None),
    ],
)
def test_state_of_the_sim_is_read_from_answer_or_error(
    lines: tuple[str, ...], cme: int | None, sim: Sim | None
) -> None:
    assert replies.parse_sim(lines, cme) == sim


def test_context_address_and_apn_are_those_of_the_asked_context() -> None:
    assert replies.parse_context_active(("+CGACT: 1,0", "+CGACT: 2,1"), 1) is False
    assert replies.parse_context_active(("+CGACT: 1,0", "+CGACT: 2,1"), 2) is True
    assert replies.parse_context_active((), 1) is None
    assert replies.parse_apn(('+CGDCONT: 1,"IP","cmnet","0.0.0.0",0,0',), 1) == "cmnet"
    assert replies.parse_address(('+CGPADDR: 1,"10.64.12.7"',), 1) == "10.64.12.7"
    assert replies.parse_address(('+CGPADDR: 1,"0.0.0.0"',), 1) is None
    assert replies.parse_attach(("+CGATT: 1",)) is True


def test_identities_are_taken_with_and_without_prefix() -> None:
    assert replies.parse_digits(("490154203237518",), shortest=15, longest=15) == "490154203237518"
    assert replies.parse_digits(("+QCCID: 89860000000000000017",), shortest=19, longest=20) == "89860000000000000017"
    assert replies.parse_digits(("+CCID: 8986000000000000001F",), shortest=19, longest=20) == "8986000000000000001"
    assert replies.parse_digits(("+CGSN: 12",), shortest=15, longest=15) is None


@pytest.mark.parametrize(
    ("lines", "revision"),
    [
        # Quectel, EC2x&EG9x AT Commands Manual: the bare text.
        (("EC25EFAR02A09M4G",), "EC25EFAR02A09M4G"),
        # SIMCom, SIM7500_SIM7600 AT Command Manual: the command's name before it.
        (("+CGMR: LE11B01SIM7600C",), "LE11B01SIM7600C"),
        (("", '"12.00.424"'), "12.00.424"),
        (("\x07",), None),
        ((), None),
    ],
)
def test_revision_is_taken_bare_and_with_the_commands_name(lines: tuple[str, ...], revision: str | None) -> None:
    assert replies.parse_revision(lines) == revision


def test_scan_lists_operators_and_not_the_supported_modes() -> None:
    line = '+COPS: (2,"TM Mobile","TMM","00101",7),(3,"X","X","00103",2),,(0,1,2,3,4),(0,1,2)'
    assert replies.parse_scan((line,)) == (Operator(2, "TM Mobile", "00101", "4g"), Operator(3, "X", "00103", "3g"))


def test_sinr_of_the_serving_cell_is_read() -> None:
    cell = '+QENG: "servingcell","NOCONN","LTE","FDD",460,00,0A2B,117,1300,3,5,5,10A4,-88,-9,-61,14,30'
    assert replies.parse_sinr((cell,)) == 14.0
    assert replies.parse_sinr(('+QENG: "servingcell","SEARCH"',)) is None


@example("--5")
@example("-")
@given(noise=st.text("-0123456789x ", max_size=5))
def test_noise_in_the_place_of_a_signal_is_no_value_and_no_error(noise: str) -> None:
    cell = f'+QENG: "servingcell","NOCONN","LTE","FDD",460,00,0A2B,117,1300,3,5,5,10A4,-88,-9,-61,{noise},30'
    sinr = replies.parse_sinr((cell,))
    assert sinr is None or sinr == int(noise)


@given(text=st.text(max_size=60), prefix=st.sampled_from(["+CSQ:", "+CESQ:", "+CEREG:", "+COPS:", "+QENG:", "+CGACT:"]))
def test_arbitrary_answers_never_raise(text: str, prefix: str) -> None:
    lines = (prefix + text, text)
    csq, (rsrq, rsrp), sinr = replies.parse_csq(lines), replies.parse_cesq(lines), replies.parse_sinr(lines)
    assert csq is None or 0 <= csq <= 31
    assert rsrq is None or -20 <= rsrq <= -2.5
    assert rsrp is None or -140 <= rsrp <= -44
    assert sinr is None or -20 <= sinr <= 30
    digits = replies.parse_digits(lines, shortest=15, longest=20)
    assert digits is None or (15 <= len(digits) <= 20 and digits in text)
    for told in (replies.parse_operator(lines), replies.parse_apn(lines, 1), replies.parse_address(lines, 1)):
        assert told is None or len(told) <= replies.MAX_TEXT_CHARACTERS
    assert len(replies.parse_scan(lines)) <= replies.MAX_OPERATORS
    replies.parse_registration(lines, prefix)
    replies.parse_sim(lines, None)
    assert replies.parse_context_active(lines, 1) in {True, False, None}
