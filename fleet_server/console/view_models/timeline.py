"""The timeline: everything that happened, newest first, by day. Repeats and the steps of one run are folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite
from typing import Any, Protocol

from fleet_server.console.language import N_
from fleet_server.console.moments import Calendar, Moment
from fleet_server.console.playbook_words import ENDS, PLAYBOOK_MOVES, STOPPED, WALKING
from fleet_server.console.view_models.codes import code_text
from fleet_server.console.view_models.readings import metric_title, unit_text, value_text
from fleet_server.console.view_models.results import result_row, shown_value
from fleet_server.console.words import (
    PRESENCE_REASONS,
    PRESENCES,
    UNKNOWN_SHAPE,
    Shape,
    known_state,
    state_shape,
)
from fleet_server.ingest.gaps import SET_BACK, SPOOL_LOST
from protocol.catalogue import metrics
from protocol.commands import ActionKind

FILTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "": (N_("All"), ()),
    "faults": (N_("Faults"), ("fault_raised", "fault_cleared")),
    "runs": (N_("Checks and fixes"), ("execution", "verdict")),
    "connection": (N_("Connection"), ("presence", "gap", "capabilities")),
    "gaps": (N_("Gaps"), ("gap",)),
    "readings": (N_("Readings"), ("reading",)),
    "notes": (N_("Notes and security"), ("note", "security")),
}


class Happening(Protocol):
    """A row of the event table (`fleet_server.timeline.models.Event`)."""

    id: int | None
    type: str
    device_id: str
    execution_id: str | None
    at: datetime
    actor: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Line:
    """One folded line of evidence."""

    clock: str
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    id: int
    key: str  # entries with the same key are folded
    day: str
    icon: str
    tone: str
    at: Moment
    clock: str
    text: str
    code: str
    sub: str
    href: str
    is_gap: bool
    is_headline: bool  # names what its folded neighbours belong to
    count: int
    lines: list[Line]


def entries(events: Sequence[Happening], calendar: Calendar, titles: Mapping[str, str]) -> list[Entry]:
    """``titles``: names of actions, by the name they are declared under."""
    folded: list[Entry] = []
    runs: dict[str, int] = {}
    for event in events:
        entry = _entry(event, calendar, titles)
        # A run's events are one line wherever they stand; other things only where nothing came between.
        place = runs.get(entry.key, len(folded) - 1) if folded else -1
        before = folded[place] if place >= 0 else None
        if before is not None and before.key == entry.key and before.day == entry.day:
            lines = before.lines or [Line(before.clock, _line(before))]
            shown = _titled(before, entry) if entry.is_headline and not before.is_headline else before
            folded[place] = replace(shown, count=before.count + 1, lines=[*lines, Line(entry.clock, _line(entry))])
            continue
        folded.append(entry)
        if entry.href:
            runs[entry.key] = len(folded) - 1
    return folded


def _titled(entry: Entry, headline: Entry) -> Entry:
    """Results of a run stand under the run's own name, at the time of the newest of them."""
    return replace(
        entry, icon=headline.icon, tone=headline.tone, text=headline.text, sub=headline.sub, is_headline=True
    )


def _line(entry: Entry) -> str:
    return f"{entry.text} {entry.sub}".strip()


def _entry(event: Happening, calendar: Calendar, titles: Mapping[str, str]) -> Entry:
    describe = _DESCRIBE.get(event.type, _other)
    shape, text, sub, code = describe(event, calendar, titles)
    moment = calendar.at(event.at)
    href = f"/runs/{event.execution_id}" if event.execution_id else ""
    if event.actor and event.type != "execution":
        sub = f"{sub} · {event.actor}" if sub else event.actor
    return Entry(
        id=event.id or 0,
        key=f"run {event.execution_id}" if event.execution_id else f"{event.type} {code} {text}",
        day=calendar.day(event.at),
        icon=shape.icon,
        tone=shape.tone.split()[0],
        at=moment if moment is not None else Moment("", "", ""),
        clock=calendar.clock(event.at),
        text=text,
        code=code,
        sub=sub,
        href=href,
        is_gap=event.type == "gap",
        is_headline=event.type == "execution",
        count=1,
        lines=[],
    )


_Described = tuple[Shape, str, str, str]


def _presence(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    shape = PRESENCES.get(str(event.data.get("status")), UNKNOWN_SHAPE)
    reason = PRESENCE_REASONS.get(str(event.data.get("reason", "")), "")
    gettext = calendar.texts.gettext
    return shape, gettext(shape.words), gettext(reason) if reason else "", ""


def _fault_raised(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    code = str(event.data.get("code", ""))
    severe = str(event.data.get("severity")) in {"major", "critical"}
    shape = Shape("bad", "bad", "") if severe else Shape("warn", "warn", "")
    return shape, code_text(code, calendar.language).title, str(event.data.get("evidence", "")), code


def _fault_cleared(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    code = str(event.data.get("code", ""))
    title = code_text(code, calendar.language).title
    text = calendar.texts.gettext("Over: %(what)s") % {"what": title}
    lasted = event.data.get("lasted_s")
    sub = ""
    if isinstance(lasted, int | float) and isfinite(lasted):
        sub = calendar.texts.gettext("lasted %(span)s") % {"span": calendar.span(lasted)}
    return Shape("ok", "ok", ""), text, sub, code


def _execution(event: Happening, calendar: Calendar, titles: Mapping[str, str]) -> _Described:
    gettext = calendar.texts.gettext
    name = str(event.data.get("action", ""))
    kind = next((one for one in ActionKind if one.value == event.data.get("kind")), ActionKind.CHECK)
    came_back = bool(event.data.get("came_back"))
    code = str(event.data.get("code", ""))
    shape = state_shape(known_state(str(event.data.get("state"))), kind, code, came_back=came_back)
    text = f"{titles.get(name, name)}: {gettext(shape.words)}"
    if event.data.get("late"):
        # Evidence: it is not shown as if it had moved anything.
        said = gettext("Said after its end, which stays as it is: %(what)s") % {"what": text}
        return Shape("note", "warn", ""), said, str(event.data.get("detail", "")), ""
    return shape, text, str(event.actor or event.data.get("actor", "")), ""


def _playbook(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    """Each step is told by its own run."""
    gettext, data = calendar.texts.gettext, event.data
    title = data.get("title")
    name = calendar.language.pick(str(title.get("zh")), str(title.get("en"))) if isinstance(title, dict) else ""
    ended = next((shape for kind, shape in ENDS.items() if kind.value == data.get("end_kind")), STOPPED)
    shape = ended if data.get("what") == "ended" else PLAYBOOK_MOVES.get(str(data.get("what")), WALKING)
    return shape, gettext("Playbook %(name)s: %(state)s") % {"name": name, "state": gettext(shape.words)}, "", ""


def _verdict(event: Happening, calendar: Calendar, titles: Mapping[str, str]) -> _Described:
    row = result_row(event.data, calendar, titles)
    return row.shape, row.title, f"{row.value} {row.unit}".strip(), ""


def _reading(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    values = event.data.get("metrics")
    parts = []
    for name, value in sorted(values.items())[:6] if isinstance(values, dict) else []:
        shown = value_text(name, shown_value(value), calendar.language)
        metric = metrics.get(name)
        unit = "" if metric is None else unit_text(metric, calendar.language)
        parts.append(f"{metric_title(name, calendar.language)} {shown} {unit}".rstrip())
    return (
        Shape("read", "calm", ""),
        calendar.texts.gettext("A reading left or re-entered its range"),
        "; ".join(parts),
        "",
    )


_WHY_DECLARED: Mapping[str, str] = {
    SET_BACK: N_("Records are gone: the server's database went back, and the device no longer had them"),
    SPOOL_LOST: N_("Records are gone: the device's file of them was damaged; what could be read was saved"),
}


def _gap(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    words = {
        "open": N_("No data for a while; it may still come"),
        "filled": N_("No data for a while; it has arrived since"),
        "declared": N_("No data for a while; the device gave it up"),
    }
    state, reason = str(event.data.get("state")), str(event.data.get("reason"))
    text = _WHY_DECLARED.get(reason) if state == "declared" else None
    text = text or words.get(state, N_("No data for a while"))
    first, last = event.data.get("first"), event.data.get("last")
    sub = ""
    if isinstance(first, int) and isinstance(last, int):
        count = event.data.get("count", last - first + 1)
        sub = calendar.texts.gettext("%(n)s records") % {"n": count}
    return Shape("todo", "calm", ""), calendar.texts.gettext(text), sub, ""


def _note(event: Happening, _calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    return Shape("note", "calm", ""), str(event.data.get("text", "")), "", ""


def _security(event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    code, detail = str(event.data.get("code", "")), str(event.data.get("detail", ""))
    return Shape("lock", "warn", ""), calendar.texts.gettext("Noted for security"), detail, code


def _capabilities(_event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    return Shape("rows", "calm", ""), calendar.texts.gettext("The device told what it can do"), "", ""


def _other(_event: Happening, calendar: Calendar, _titles: Mapping[str, str]) -> _Described:
    return Shape("note", "calm", ""), calendar.texts.gettext("Something happened"), "", ""


_DESCRIBE = {
    "presence": _presence,
    "fault_raised": _fault_raised,
    "fault_cleared": _fault_cleared,
    "execution": _execution,
    "verdict": _verdict,
    "reading": _reading,
    "gap": _gap,
    "note": _note,
    "security": _security,
    "playbook": _playbook,
    "capabilities": _capabilities,
}
