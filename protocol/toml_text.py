"""TOML that people write, read once into a typed value; what is wrong is one sentence: place, key, expected, came."""

from __future__ import annotations

import tomllib
from typing import TypeVar

import msgspec

T = TypeVar("T")


class TomlWrong(Exception):
    """``path: expected …, came …`` in words, without the name of the file."""


def read_toml(text: str, into: type[T]) -> T:
    """Raises `TomlWrong`."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TomlWrong(f"expected TOML, came {error}") from error
    except RecursionError as error:
        raise TomlWrong("expected TOML, came brackets within brackets, hundreds deep") from error
    try:
        return msgspec.convert(table, into)
    except msgspec.ValidationError as error:
        raise TomlWrong(_in_words(error, table)) from error


def _in_words(error: msgspec.ValidationError, table: dict[str, object]) -> str:
    """``key: expected …, came …`` from msgspec's ``Expected … - at `$.key` ``."""
    sentence, _, place = str(error).partition(" - at ")
    key = place.strip("`").removeprefix("$").removeprefix(".") or "the file"
    missing = sentence.partition("missing required field ")[2]
    unknown = sentence.partition("contains unknown field ")[2]
    if missing:
        return f"{key}: expected the key {missing.strip('`')}, came none"
    if unknown:
        return f"{key}: expected only known keys, came {unknown.strip('`')!r}"
    expected, _, got = sentence.removeprefix("Expected ").replace("`", "").partition(", got ")
    return f"{key}: expected {expected}, came {got or repr(str(_value_at(key, table))[:60])}"


def _value_at(key: str, table: dict[str, object]) -> object:
    value: object = table
    for part in key.replace("[", ".").replace("]", "").split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal():
            value = value[int(part)]
    return value
