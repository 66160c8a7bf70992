"""Forms made from a declared action, and what came back from one, as values of the declared types.

The names in the form are the declared names with the prefix ``p.``; what was typed comes back with its error beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_server.console.language import N_, Language
from fleet_server.console.moments import Calendar
from fleet_server.console.templating import number_text
from protocol.parameters import Parameter, ParamType, ParamValue, check_params

PREFIX = "p."
_ON = "on"


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    title: str


@dataclass(frozen=True, slots=True)
class FormField:
    name: str  # as declared, shown in code
    field: str  # as in the form
    title: str
    type: ParamType
    unit: str
    value: str
    hint: str
    error: str
    is_required: bool
    options: list[Option]
    max_length: int


@dataclass(frozen=True, slots=True)
class Filled:
    """``values`` are complete and valid exactly when ``errors`` is empty; ``errors`` are by declared name."""

    values: dict[str, ParamValue]
    errors: dict[str, str]


def form_fields(
    declared: list[Parameter], calendar: Calendar, typed: Mapping[str, str] | None, errors: Mapping[str, str]
) -> list[FormField]:
    """``typed``: what came from the form, or None for a fresh one with the declared defaults."""
    return [_field(parameter, calendar, typed, errors.get(parameter.name, "")) for parameter in declared]


def read_form(declared: list[Parameter], typed: Mapping[str, str], calendar: Calendar) -> Filled:
    values: dict[str, ParamValue] = {}
    errors: dict[str, str] = {}
    for parameter in declared:
        field = PREFIX + parameter.name
        if field not in typed and parameter.default is not None and parameter.type is not ParamType.SWITCH:
            # Not on the form at all: the declared default counts. An emptied field is something else.
            continue
        text = typed.get(field, "")
        value = _value(parameter, text)
        if value is None:
            if parameter.required or text:
                errors[parameter.name] = _expected(parameter, text, calendar)
            continue
        values[parameter.name] = value
        if isinstance(check_params([parameter], {parameter.name: value}), list):
            errors[parameter.name] = _expected(parameter, text, calendar)
    return Filled(values, errors)


def _value(parameter: Parameter, text: str) -> ParamValue | None:
    """None when there is nothing, or nothing of this type."""
    stripped = text.strip()
    match parameter.type:
        case ParamType.SWITCH:
            return text == _ON
        case ParamType.INTEGER | ParamType.NUMBER:
            return _number(stripped.replace(",", ""), whole=parameter.type is ParamType.INTEGER)
        case ParamType.CHOICE | ParamType.TEXT:
            return stripped or None


def _number(text: str, *, whole: bool) -> int | float | None:
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None


def _field(parameter: Parameter, calendar: Calendar, typed: Mapping[str, str] | None, error: str) -> FormField:
    pick = calendar.language.pick
    return FormField(
        name=parameter.name,
        field=PREFIX + parameter.name,
        title=pick(parameter.title.zh, parameter.title.en),
        type=parameter.type,
        unit=parameter.unit,
        value=_default(parameter) if typed is None else typed.get(PREFIX + parameter.name, ""),
        hint=_range_words(parameter, calendar),
        error=error,
        is_required=parameter.required,
        options=[Option(choice.value, pick(choice.title.zh, choice.title.en)) for choice in parameter.choices],
        max_length=parameter.max_length,
    )


def _default(parameter: Parameter) -> str:
    if parameter.default is None:
        return ""
    if isinstance(parameter.default, bool):
        return _ON if parameter.default else ""
    return str(parameter.default)


def _range_words(parameter: Parameter, calendar: Calendar) -> str:
    gettext = calendar.texts.gettext
    unit = f" {parameter.unit}" if parameter.unit else ""
    low = None if parameter.minimum is None else number_text(parameter.minimum)
    high = None if parameter.maximum is None else number_text(parameter.maximum)
    if low is not None and high is not None:
        return gettext("%(low)s to %(high)s") % {"low": low, "high": high} + unit
    if low is not None:
        return gettext("at least %(low)s") % {"low": low} + unit
    if high is not None:
        return gettext("at most %(high)s") % {"high": high} + unit
    if parameter.type is ParamType.TEXT:
        return gettext("at most %(n)s characters") % {"n": parameter.max_length}
    return ""


_EXPECTED: Mapping[ParamType, str] = {
    ParamType.INTEGER: N_("a whole number"),
    ParamType.NUMBER: N_("a number"),
    ParamType.TEXT: N_("a text"),
    ParamType.CHOICE: N_("one of the choices"),
    ParamType.SWITCH: N_("yes or no"),
}


def _expected(parameter: Parameter, text: str, calendar: Calendar) -> str:
    """The error names what was expected and what came."""
    gettext = calendar.texts.gettext
    wanted = gettext(_EXPECTED[parameter.type])
    bounds = _range_words(parameter, calendar)
    comma = "，" if calendar.language is Language.ZH else ", "
    wanted = comma.join(part for part in (wanted, bounds, parameter.pattern) if part)
    came = text.strip()[:60] or gettext("nothing")
    return gettext("Expected %(wanted)s; came %(came)s") % {"wanted": wanted, "came": came}
