from __future__ import annotations

import re

import pytest

from protocol.catalogue import metrics
from protocol.catalogue.metrics import Metric, MetricType
from protocol.catalogue.normal_range import Judgement, NormalRange
from protocol.catalogue.vocabulary import TerminalClass

ALL = metrics.all()
CJK = re.compile(r"[\u4e00-\u9fff]")


def named(name: str) -> Metric:
    metric = metrics.get(name)
    assert metric is not None
    return metric


def test_all_metrics_of_the_sources_are_there() -> None:
    assert len(ALL) == len({metric.name for metric in ALL}) == 114


def test_every_metric_has_a_title_in_both_languages() -> None:
    titles = [metric.title_en for metric in ALL]
    assert len(set(titles)) == len(titles)
    for metric in ALL:
        assert metric.title_zh
        assert metric.title_en
        assert CJK.search(metric.title_en) is None


def test_every_normal_range_parses_for_every_class() -> None:
    for metric in ALL:
        for terminal_class in TerminalClass:
            normal = metric.normal(terminal_class)
            assert normal is None or isinstance(normal, NormalRange)


def test_a_class_that_a_metric_does_not_apply_to_has_no_normal_range() -> None:
    for metric in ALL:
        for terminal_class in set(TerminalClass) - set(metric.applies_to):
            if metric.name.startswith("serial."):
                continue  # given for e-sign terminals too, which have no serial line to outside
            assert metric.normal(terminal_class) is None, metric.name


def test_every_enumerated_value_has_words_in_both_languages() -> None:
    for metric in ALL:
        if metric.unit != "enum":
            continue
        for state in metric.range.split(","):
            words = metric.words_for(state)
            assert words is not None, (metric.name, state)
            assert words.zh
            assert CJK.search(words.en) is None


def test_normal_states_are_possible_states() -> None:
    for metric in ALL:
        if metric.unit != "enum":
            continue
        for text in filter(None, metric.normal_text.values()):
            assert set(text.split(",")) <= set(metric.range.split(",")), metric.name


def test_a_class_gets_only_what_applies_to_it() -> None:
    names = {metric.name for metric in metrics.for_class(TerminalClass.E_SIGN)}
    assert "prn.status" not in names
    assert "modem.csq" in names
    assert len(metrics.for_class(TerminalClass.KIOSK)) > len(names)


@pytest.mark.parametrize(
    ("name", "terminal_class", "value", "judgement"),
    [
        ("sys.storage_free_pct", TerminalClass.SMART, 3.0, Judgement.BELOW),
        ("sys.storage_free_pct", TerminalClass.SMART, 40, Judgement.IN_RANGE),
        ("sys.cpu_pct", TerminalClass.SMART, 93, Judgement.ABOVE),
        ("sys.clock_drift_s", TerminalClass.KIOSK, -31, Judgement.BELOW),
        ("sys.temp_c", TerminalClass.KIOSK, 68, Judgement.IN_RANGE),
        ("sys.temp_c", TerminalClass.SMART, 68, Judgement.ABOVE),
        ("prn.status", TerminalClass.KIOSK, "paper_out", Judgement.OUTSIDE),
        ("prn.status", TerminalClass.KIOSK, "busy", Judgement.IN_RANGE),
        ("prn.status", TerminalClass.E_SIGN, "busy", Judgement.UNKNOWN),
        ("modem.reg_stat", TerminalClass.E_SIGN, 5, Judgement.IN_RANGE),
        ("modem.reg_stat", TerminalClass.E_SIGN, 3, Judgement.OUTSIDE),
        ("modem.csq", TerminalClass.E_SIGN, 99, Judgement.UNKNOWN),
        ("modem.csq", TerminalClass.E_SIGN, 4, Judgement.BELOW),
        ("net.dns_ok", TerminalClass.KIOSK, False, Judgement.BELOW),
        ("net.dns_ok", TerminalClass.KIOSK, True, Judgement.IN_RANGE),
        ("biz.rc_top", TerminalClass.KIOSK, "00", Judgement.IN_RANGE),
        ("biz.rc_top", TerminalClass.KIOSK, "A0", Judgement.OUTSIDE),
        ("sys.app_crash_24h", TerminalClass.KIOSK, 2, Judgement.ABOVE),
        ("sys.app_ver", TerminalClass.KIOSK, "1.2.3", Judgement.UNKNOWN),
        ("sys.cpu_pct", TerminalClass.SMART, None, Judgement.UNKNOWN),
    ],
)
def test_a_value_is_judged_for_its_class(
    name: str, terminal_class: TerminalClass, value: float | str | None, judgement: Judgement
) -> None:
    assert named(name).judge(value, terminal_class) is judgement


def test_a_bool_and_a_number_share_their_words() -> None:
    metric = named("net.dns_ok")
    assert metric.words_for(value=True) == metric.words_for(1) == metric.words_for("1")
    assert named("modem.reg_stat").words_for(5) == named("modem.reg_stat").words_for("5")
    assert named("sys.cpu_pct").words_for(5) is None
    assert named("net.dns_ok").words_for(None) is None


def test_an_unknown_metric_is_none() -> None:
    assert metrics.get("no.such") is None


def test_a_type_is_one_of_the_four() -> None:
    assert {metric.type for metric in ALL} == set(MetricType)
