"""Which language a page speaks, and its catalogue.

Source texts are English; `locale/*/LC_MESSAGES/console.po` holds both languages. A compiled `.mo` beside it is used
when it is there and not older; else the `.po` is compiled in memory, so a start without any set-up works too.
"""

from __future__ import annotations

import io
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Self

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

LOCALE_DIR = Path(__file__).parent / "locale"
DOMAIN = "console"
COOKIE = "tillmedic_language"


class Language(Enum):
    """The value is the tag of `<html lang>`."""

    ZH = "zh-CN", "zh_CN", "简体中文", "中文"
    EN = "en", "en", "English", "EN"

    folder: str
    own_name: str
    short_name: str

    def __new__(cls, tag: str, folder: str, own_name: str, short_name: str) -> Self:
        member = object.__new__(cls)
        member._value_ = tag
        member.folder = folder
        member.own_name = own_name
        member.short_name = short_name
        return member

    @property
    def tag(self) -> str:
        return str(self.value)

    @property
    def other(self) -> Language:
        return Language.EN if self is Language.ZH else Language.ZH

    def pick(self, zh: str, en: str) -> str:
        """The text in this language; the other one is better than nothing."""
        return (zh or en) if self is Language.ZH else (en or zh)


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for "to be translated later"
    return message


def choose(cookie: str | None, accept_language: str) -> Language:
    """The person's own choice, else the first of the browser's languages that is one of ours, else Chinese."""
    for language in Language:
        if cookie == language.tag:
            return language
    for tag in _by_preference(accept_language):
        if tag.startswith("zh"):
            return Language.ZH
        if tag.startswith("en"):
            return Language.EN
    return Language.ZH


def _by_preference(accept_language: str) -> list[str]:
    weighted: list[tuple[float, str]] = []
    for part in accept_language[:200].split(","):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or "1")
        except ValueError:
            weight = 0.0
        if tag and weight > 0:
            weighted.append((-weight, tag.lower()))
    return [tag for _, tag in sorted(weighted, key=lambda one: one[0])]


@cache
def translations(language: Language) -> Translations:
    source = LOCALE_DIR / language.folder / "LC_MESSAGES" / f"{DOMAIN}.po"
    compiled = source.with_suffix(".mo")
    if compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime:
        with compiled.open("rb") as opened:
            return Translations(opened, DOMAIN)
    return Translations(io.BytesIO(compile_catalogue(source)), DOMAIN)


def compile_catalogue(source: Path) -> bytes:
    with source.open("rb") as opened:
        catalogue = read_po(opened, domain=DOMAIN)
    made = io.BytesIO()
    write_mo(made, catalogue)
    return made.getvalue()
