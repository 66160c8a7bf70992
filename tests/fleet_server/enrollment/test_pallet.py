from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.enrollment.errors import PalletInvalid
from fleet_server.enrollment.pallet import MAX_LINES, read_pallet

HEAD = "serial_number,model,terminal_class"


def test_a_line_is_a_device_and_a_spreadsheets_mark_does_no_harm() -> None:
    (one,) = read_pallet(f"\ufeff{HEAD},site,label_zh\r\n ES1 ,A920,e_sign,s-1,收银台\r\n")
    assert (one.serial_number, one.model, one.terminal_class, one.site, one.label_zh) == (
        "ES1",
        "A920",
        "e_sign",
        "s-1",
        "收银台",
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1"),
        ("serial_number,model\nA,B\n", "line 1"),
        (f"{HEAD},price\nA,B,e_sign,1\n", "line 1"),
        (f"{HEAD}\n", "1 to"),
        (f"{HEAD}\nA,B\n", "line 2"),
        (f"{HEAD}\nA,B,e_sign,x\n", "line 2"),
        (f"{HEAD}\nA,B,e_sign\nA,B,e_sign\n", "line 3"),
        (f"{HEAD}\nA,B,television\n", "terminal_class"),
        (f"{HEAD}\n,B,e_sign\n", "serial_number"),
        (f"{HEAD}\nA\x1b[2J,B,e_sign\n", "serial_number"),
        (f"{HEAD}\n{'A' * 65},B,e_sign\n", "serial_number"),
        (f'{HEAD}\n"A,B,e_sign\n', "line"),
        (HEAD + "\n" + "".join(f"S{n},B,e_sign\n" for n in range(MAX_LINES + 1)), "1 to"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(text: str, place: str) -> None:
    with pytest.raises(PalletInvalid, match=place):
        read_pallet(text)


@given(st.text(max_size=300))
def test_whatever_is_in_the_file_it_is_a_pallet_or_refused(text: str) -> None:
    for tried in (text, f"{HEAD}\n{text}"):
        try:
            found = read_pallet(tried)
        except PalletInvalid:
            continue
        assert all(one.serial_number.isprintable() for one in found)
