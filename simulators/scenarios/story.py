"""Tells a scenario while it runs, one line a happening or report, for people or as JSON, and keeps what was promised.

A promise is a code that a happening ``shows``: it must be reported of that device at that moment or later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocol.catalogue import codes
from protocol.records import FaultCleared, FaultRaised, HealthColumns, RecordBody
from simulators.fault_plan import get as planned_fault
from simulators.scenarios.timeline import Act, Happening

_WORDS = {Act.BREAK: "broken", Act.MEND: "mended", Act.REBOOT: "reboots"}


@dataclass(slots=True)
class Story:
    write: Callable[[str], object]
    as_json: bool = False
    raised: int = 0
    cleared: int = 0
    reports: int = 0
    # Device and code of a raising, with its newest moment: one for each code of the catalogue at most.
    _raised_at_s: dict[tuple[str, str], float] = field(default_factory=dict)
    _open: set[tuple[str, str]] = field(default_factory=set)

    def began(self, title_zh: str, title_en: str, devices: Sequence[str], seed: int) -> None:
        words = f"{title_zh} / {title_en}: {', '.join(devices)}; seed {seed}"
        self._tell(0.0, "", "scenario", words, devices=list(devices), seed=seed)

    def happened(self, happening: Happening) -> None:
        planned = planned_fault(happening.fault)
        name = f"{happening.fault} ({planned.title_zh} / {planned.title_en})" if planned is not None else ""
        words = f"{_WORDS[happening.act]} {name}".strip()
        self._tell(happening.at_s, happening.device, happening.act.value, words, fault=happening.fault)

    def reported(self, at_s: float, device: str, body: RecordBody) -> None:
        match body:
            case FaultRaised(count=1):
                self.fault_raised(at_s, device, body.code)
            case FaultCleared():
                self.fault_cleared(at_s, device, body.code)
            case HealthColumns():
                self.reports += 1
            case _:
                pass  # A fault told again with a higher count, or what only an action says.

    def fault_raised(self, at_s: float, device: str, code: str) -> None:
        self.raised += 1
        self._raised_at_s[device, code] = at_s
        self._open.add((device, code))
        self._tell(at_s, device, "fault_raised", f"fault  {_meaning(code)}", code=code)

    def fault_cleared(self, at_s: float, device: str, code: str) -> None:
        self.cleared += 1
        self._open.discard((device, code))
        self._tell(at_s, device, "fault_cleared", f"over   {_meaning(code)}", code=code)

    def progress(self, at_s: float, percent: int) -> None:
        self._tell(at_s, "", "progress", f"{percent} %, open faults: {len(self._open)}", percent=percent)

    def missing(self, happenings: Sequence[Happening]) -> list[str]:
        """The promises that were not kept, each in one sentence."""
        return [
            f"{happening.device}: {code} was not reported after {happening.fault or happening.act.value}"
            f" at {clock_text(happening.at_s)}"
            for happening in happenings
            for code in happening.shows
            if self._raised_at_s.get((happening.device, code), -1.0) < happening.at_s
        ]

    def ended(self, at_s: float, took_s: float, missing: Sequence[str]) -> None:
        for sentence in missing:
            self._tell(at_s, "", "missing", f"missing: {sentence}")
        words = f"done: {self.raised} faults, {self.cleared} over, {self.reports} health reports, in {took_s:.1f} s"
        self._tell(at_s, "", "done", words, raised=self.raised, cleared=self.cleared, missing=len(missing))

    def _tell(self, at_s: float, device: str, kind: str, words: str, **more: object) -> None:
        if self.as_json:
            line = {"at_s": round(at_s, 2), "device": device, "type": kind, **more}
            self.write(json.dumps(line, ensure_ascii=False) + "\n")
        else:
            self.write(f"+{clock_text(at_s)}  {device:<10} {words}\n")


def clock_text(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _meaning(code: str) -> str:
    meaning = codes.get(code)
    return code if meaning is None else f"{code} ({meaning.title_zh} / {meaning.title_en})"
