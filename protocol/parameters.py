"""Parameters of an action: declared by the device, shown as a form by the server, checked on both sides by this code.

Invariant: what ``check_params`` accepts has exactly the declared names, each of the declared type and in its range.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

MAX_PARAMETERS = 16
MAX_TEXT_CHARS = 256

# A form is classes and characters, each as often as said, with one group that may be missing: no choices, and nothing
# repeated that is repeated itself. Of such with three open ends a text of 256 characters takes milliseconds.
_ITEM = r"(?:\[[^\[\]\\]+\]|\\d|[A-Za-z0-9 _@:/-])(?:\{\d{1,3}(?:,\d{1,3})?\}|[+*?])?"
_FORM = re.compile(rf"(?:{_ITEM})*(?:\((?:{_ITEM})+\)\??(?:{_ITEM})*)?")
_CLASS = re.compile(r"\[[^\]]*\]")
_OPEN = re.compile(r"[+*?]|\{\d+,")
_MOST_OPEN = 3
ParamName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
ParamValue = bool | int | float | Annotated[str, Meta(max_length=MAX_TEXT_CHARS)]
Params = Annotated[dict[ParamName, ParamValue], Meta(max_length=MAX_PARAMETERS)]
Title = Annotated[str, Meta(min_length=1, max_length=120)]


class ParamType(StrEnum):
    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    CHOICE = "choice"
    SWITCH = "switch"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same words in both interface languages."""

    zh: Title
    en: Title


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: Annotated[str, Meta(max_length=64)]
    title: Words


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: ParamName
    title: Words
    type: ParamType
    unit: Annotated[str, Meta(max_length=24)] = ""
    required: bool = True
    default: ParamValue | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: Annotated[list[Choice], Meta(max_length=32)] = []
    pattern: Annotated[str, Meta(max_length=120)] = ""
    max_length: Annotated[int, Meta(ge=1, le=MAX_TEXT_CHARS)] = 64

    def __post_init__(self) -> None:
        if not is_quick(self.pattern):
            raise ValueError(f"pattern: expected a plain form that is matched at once, came {self.pattern!r}")


@dataclass(frozen=True, slots=True)
class ParamError:
    """What was expected and what came, for one parameter."""

    name: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.name}: expected {self.expected}, came {self.came}"


def is_quick(pattern: str) -> bool:
    """Whether no text can keep whoever matches it busy: a device declares what the server matches."""
    if _FORM.fullmatch(pattern) is None:
        return False
    if len(_OPEN.findall(_CLASS.sub("", pattern))) > _MOST_OPEN:
        return False
    try:
        re.compile(pattern)
    except (re.error, OverflowError):
        return False
    return True


def check_params(declared: list[Parameter], given: dict[str, ParamValue]) -> dict[str, ParamValue] | list[ParamError]:
    """``given`` with defaults filled in, or every reason why it does not fit."""
    known = {parameter.name: parameter for parameter in declared}
    errors = [ParamError(name, "a declared parameter", "an unknown name") for name in given if name not in known]
    values: dict[str, ParamValue] = {}
    for parameter in declared:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            if parameter.required:
                errors.append(ParamError(parameter.name, "a value", "nothing"))
            continue
        wrong = _wrong(parameter, value)
        if wrong is None:
            values[parameter.name] = value
        else:
            errors.append(ParamError(parameter.name, wrong, repr(value)[:60]))
    return errors or values


def _wrong(parameter: Parameter, value: ParamValue) -> str | None:
    """What was expected instead of ``value``, or None when it fits."""
    match parameter.type:
        case ParamType.SWITCH:
            return None if isinstance(value, bool) else "true or false"
        case ParamType.INTEGER | ParamType.NUMBER:
            return _wrong_number(parameter, value)
        case ParamType.CHOICE:
            allowed = [choice.value for choice in parameter.choices]
            return None if value in allowed else "one of " + ", ".join(allowed)
        case ParamType.TEXT:
            if not isinstance(value, str) or len(value) > parameter.max_length or not value.isprintable():
                return f"printable text of at most {parameter.max_length} characters"
            if parameter.pattern and re.fullmatch(parameter.pattern, value) is None:
                return f"text of the form {parameter.pattern}"
            return None


def _wrong_number(parameter: Parameter, value: ParamValue) -> str | None:
    whole = parameter.type is ParamType.INTEGER
    word = "a whole number" if whole else "a number"
    unit = f" {parameter.unit}" if parameter.unit else ""
    if isinstance(value, bool | str) or (whole and not isinstance(value, int)):
        return word
    if parameter.minimum is not None and value < parameter.minimum:
        return f"{word} of at least {parameter.minimum:g}{unit}"
    if parameter.maximum is not None and value > parameter.maximum:
        return f"{word} of at most {parameter.maximum:g}{unit}"
    return None if value == value else word  # noqa: PLR0124 - NaN is the one number unequal to itself
