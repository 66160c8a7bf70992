"""The fault model: causes, their symptoms, and the checks that tell them apart.

Simulators take their fault names from the causes; a diagnosis weighs them. Loaded on first use. Probabilities are
engineering estimates composed from public material, not field statistics.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from typing import NewType

import msgspec

from protocol.catalogue.resources import read_data
from protocol.catalogue.vocabulary import TerminalClass

CauseId = NewType("CauseId", str)
SymptomId = NewType("SymptomId", str)
CheckId = NewType("CheckId", str)


class SymptomKind(Enum):
    METRIC = "metric"
    TREND = "trend"
    CODE = "code"
    CONTEXT = "context"
    REPORT = "report"


class Place(Enum):
    REMOTE = "remote"  # no visit needed
    ONSITE = "onsite"


class CauseFix(msgspec.Struct, frozen=True):
    action_zh: str
    action_en: str
    where: Place
    parts: tuple[str, ...]  # in English
    parts_zh: tuple[str, ...]
    success_p: float  # chance that it clears the fault when this is the cause


class Cause(msgspec.Struct, frozen=True):
    id: CauseId
    title_zh: str
    title_en: str
    domain: str
    prior_weight: dict[TerminalClass, float]  # relative among faulty terminals of the class
    symptoms: dict[SymptomId, float]  # P(symptom | cause)
    checks: dict[CheckId, float]  # P(check positive | cause)
    fix: CauseFix
    say_zh: str
    say_en: str


class Symptom(msgspec.Struct, frozen=True):
    id: SymptomId
    title_zh: str
    kind: SymptomKind
    observe: str
    base_rate: float


class Check(msgspec.Struct, frozen=True):
    id: CheckId
    title_zh: str
    cost_s: float
    positive_means: str
    false_positive: float
    channel: str
    needs_online: bool
    needs: str | None = None


class FaultModel(msgspec.Struct, frozen=True):
    causes: dict[CauseId, Cause]
    symptoms: dict[SymptomId, Symptom]
    checks: dict[CheckId, Check]
    not_applicable: dict[TerminalClass, tuple[SymptomId, ...]]  # symptoms a class cannot show


class FaultModelMissing(RuntimeError):
    """The installation is incomplete: the package was built without its data."""

    code = "fault_model_missing"


@cache
def load() -> FaultModel:
    raw = read_data("faults")
    if raw is None:
        raise FaultModelMissing("expected data/faults.json inside the package, found none")
    return msgspec.json.decode(raw, type=FaultModel)
