"""All questions in their order, and what they mean together.

Invariant: a broker that does not speak MQTT 5 is asked nothing else that needs it; each question has a line all the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from fleet_server.broker.probe import entry, messages, rights, sessions, sharing
from fleet_server.broker.probe.client import Place
from fleet_server.broker.probe.stage import Cast, Finding, Question, asked

QUESTIONS: tuple[Question, ...] = (
    *entry.QUESTIONS,
    entry.MQTT_5,
    *rights.QUESTIONS,
    *sharing.QUESTIONS,
    *sessions.QUESTIONS,
    *messages.QUESTIONS,
)
_NOT_ASKED = Finding(None, "未询问：不支持 MQTT 5", "not asked: no MQTT 5")


class Verdict(Enum):
    KEPT = "kept"
    BROKEN = "broken"
    NOTE = "note"  # not kept, and the product does without
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Line:
    question: Question
    finding: Finding

    @property
    def verdict(self) -> Verdict:
        match self.finding.kept, self.question.needed:
            case True, _:
                return Verdict.KEPT
            case False, True:
                return Verdict.BROKEN
            case False, False:
                return Verdict.NOTE
            case _:
                return Verdict.NOT_ASKED


def probe(place: Place, cast: Cast, patience: float = 1.0) -> Iterator[Line]:
    """Each as soon as it is known. ``patience`` multiplies what is waited for things that must not come."""
    entry.reach(place, cast)
    speaks = True
    for question in QUESTIONS:
        needs_mqtt_5 = question not in {*entry.QUESTIONS, entry.MQTT_5}
        line = Line(question, asked(question, place, cast, patience) if speaks or not needs_mqtt_5 else _NOT_ASKED)
        if question is entry.MQTT_5:
            speaks = line.finding.kept is True
        yield line


def exit_code(lines: Sequence[Line]) -> int:
    """0: all that is needed is kept; 1: something is not; 2: something that is needed could not be asked."""
    if any(line.verdict is Verdict.BROKEN for line in lines):
        return 1
    return 2 if any(line.verdict is Verdict.NOT_ASKED and line.question.needed for line in lines) else 0
