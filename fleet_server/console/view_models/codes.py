"""An error code as a person reads it: statement, owner, what to do, what to say."""

from __future__ import annotations

from dataclasses import dataclass

from fleet_server.console.language import Language
from fleet_server.console.words import OWNERS
from protocol.catalogue import codes
from protocol.catalogue.vocabulary import Owner


@dataclass(frozen=True, slots=True)
class CodeText:
    """``is_known`` is False for a code that the catalogue does not have: then only the code itself is shown."""

    code: str
    title: str
    owner_icon: str
    owner: str  # source text
    advice: str
    say_zh: str
    say_en: str
    part: str
    is_known: bool


def code_text(code: str, language: Language) -> CodeText:
    found = codes.get(code)
    if found is None:
        glyph, owner = OWNERS[Owner.NONE]
        return CodeText(code, code, glyph, owner, "", "", "", "", is_known=False)
    glyph, owner = OWNERS[found.owner]
    return CodeText(
        code=code,
        title=sentence(language.pick(found.title_zh, found.title_en)),
        owner_icon=glyph,
        owner=owner,
        advice=sentence(language.pick(found.fix_zh, found.fix_en)),
        say_zh=found.say_zh,
        say_en=found.say_en,
        part=found.part or "",
        is_known=True,
    )


def sentence(text: str) -> str:
    """English titles of the catalogue begin in lower case; a statement does not."""
    return text[:1].upper() + text[1:]
