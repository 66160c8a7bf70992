from __future__ import annotations

import re

from protocol.catalogue import codes, faults, metrics
from protocol.catalogue.vocabulary import TerminalClass

MODEL = faults.load()


def test_all_causes_symptoms_and_checks_of_the_sources_are_there() -> None:
    assert (len(MODEL.causes), len(MODEL.symptoms), len(MODEL.checks)) == (45, 103, 53)


def test_every_cause_refers_to_known_symptoms_and_checks() -> None:
    for cause in MODEL.causes.values():
        assert set(cause.symptoms) <= set(MODEL.symptoms), cause.id
        assert set(cause.checks) <= set(MODEL.checks), cause.id


def test_every_cause_can_be_shown_in_both_languages() -> None:
    for cause in MODEL.causes.values():
        for text in (cause.title_zh, cause.fix.action_zh, cause.say_zh):
            assert re.search(r"[\u4e00-\u9fff]", text), cause.id
        for text in (cause.title_en, cause.fix.action_en, cause.say_en):
            assert text, cause.id


def test_probabilities_are_probabilities() -> None:
    for cause in MODEL.causes.values():
        for chance in (*cause.symptoms.values(), *cause.checks.values(), cause.fix.success_p):
            assert 0 < chance <= 1, cause.id
        assert set(cause.prior_weight) == set(TerminalClass)
    assert all(0 <= symptom.base_rate < 1 for symptom in MODEL.symptoms.values())


def test_symptoms_seen_as_codes_or_metrics_name_known_ones() -> None:
    for symptom in MODEL.symptoms.values():
        if symptom.kind is faults.SymptomKind.CODE:
            assert codes.get(symptom.observe) is not None, symptom
    names = {metric.name for metric in metrics.all()}
    for symptom in MODEL.symptoms.values():
        if symptom.kind in {faults.SymptomKind.METRIC, faults.SymptomKind.TREND}:
            mentioned = set(re.findall(r"\b[a-z]+\.[a-z_0-9]+\b", symptom.observe))
            assert mentioned <= names, symptom
