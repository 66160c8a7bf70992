from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.scenarios.scenario_file import ScenarioInvalid, known_scenarios, read_scenario

GOOD = """
title = { zh = "一", en = "one" }
seed = 1
lasts_s = 100
[[devices]]
key = "prn1"
family = "escpos"
"""
EVENT = '\n[[events]]\nat_s = 1\ndevice = "prn1"\n'
RANDOM = '\n[[random]]\ndevice = "prn1"\ncount = 1\n'


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return str(path)


def test_every_scenario_that_comes_with_the_product_can_be_read() -> None:
    wanted = {"healthy_day", "paper_out", "holiday_peak", "reboot_loop", "clock_skew", "sim_dead"}
    assert wanted <= set(known_scenarios())
    for name in known_scenarios():
        assert read_scenario(name).title.zh


def test_a_file_of_ones_own_is_read_by_its_path(tmp_path: Path) -> None:
    scenario = read_scenario(written(tmp_path, GOOD + EVENT + 'break = "paper_out"\n'))
    assert scenario.events[0].break_ == "paper_out"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GOOD.replace("lasts_s = 100", 'lasts_s = "long"'), "lasts_s: expected float, came str"),
        (GOOD.replace("lasts_s = 100", "lasts_s = -1"), "lasts_s: expected float > 0.0, came '-1'"),
        (GOOD.replace("seed = 1\n", ""), "the file: expected the key seed, came none"),
        (GOOD + 'colour = "red"\n', "devices[0]: expected only known keys, came 'colour'"),
        (GOOD.replace("escpos", "toaster"), "devices[0].family: expected str matching regex"),
        (GOOD + '\n[[devices]]\nkey = "prn1"\nfamily = "zvt"\n', "devices[1].key: expected a key that no earlier"),
        (GOOD + EVENT, "events[0]: expected one of break, mend, reboot, came '0'"),
        (GOOD + EVENT + 'break = "paper_out"\nmend = "paper_out"\n', "events[0]: expected one of break, mend, reboot"),
        (GOOD + EVENT + 'break = "sim_dead"\n', "events[0].break: expected a fault of escpos ("),
        (GOOD + EVENT + "reboot = true\n", "events[0].reboot: expected a terminal of its own, came 'escpos'"),
        (GOOD + EVENT.replace("prn1", "prn2") + 'mend = "paper_out"\n', "events[0].device: expected one of prn1"),
        (GOOD + EVENT.replace("= 1", "= 101") + 'mend = "paper_out"\n', "events[0].at_s: expected at most lasts_s"),
        (
            GOOD + RANDOM + 'faults = ["paper_out"]\nbetween_s = [50, 20]\nlasts_s = [1, 2]\n',
            "random[0].between_s: expected a lower and a higher number, came '50 and 20'",
        ),
        (
            GOOD + RANDOM + 'faults = ["rain"]\nbetween_s = [1, 20]\nlasts_s = [1, 2]\n',
            "random[0].faults: expected a fault of escpos (",
        ),
        ("title = ", "expected TOML, came"),
    ],
)
def test_a_wrong_file_gets_one_sentence_with_file_key_expected_and_came(
    text: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioInvalid) as refusal:
        read_scenario(written(tmp_path, text))
    said = str(refusal.value)
    assert "mine.toml: " in said
    assert sentence in said
    assert "\n" not in said.strip()


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ScenarioInvalid, match="expected a file or one of clock_skew, healthy_day"):
        read_scenario("quiet_night")


@given(st.text(max_size=200) | st.text(max_size=60).map(lambda text: GOOD + text))
def test_whatever_stands_in_a_file_it_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder, suppress(ScenarioInvalid):
        path = Path(folder) / "any.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        read_scenario(str(path))
