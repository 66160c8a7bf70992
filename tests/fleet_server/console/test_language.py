from __future__ import annotations

import pytest
from babel.messages.pofile import read_po

from fleet_server.console.language import DOMAIN, LOCALE_DIR, Language, choose, translations
from tools.build_locale import extracted

FULL_WIDTH = "，。；：？！（）"


def catalogue(language: Language) -> dict[str, str]:
    path = LOCALE_DIR / language.folder / "LC_MESSAGES" / f"{DOMAIN}.po"
    with path.open("rb") as opened:
        return {str(message.id): str(message.string) for message in read_po(opened) if message.id}


@pytest.mark.parametrize("language", list(Language))
def test_every_text_of_the_sources_stands_in_the_catalogue_and_nothing_else(language: Language) -> None:
    """Where this fails: `python tools/build_locale.py`, then translate what is new."""
    wanted = {str(message.id) for message in extracted() if message.id}
    assert set(catalogue(language)) == wanted


@pytest.mark.parametrize("language", list(Language))
def test_no_text_is_untranslated(language: Language) -> None:
    assert [source for source, text in catalogue(language).items() if not text] == []


def test_a_translation_keeps_every_value_of_its_source() -> None:
    for source, text in catalogue(Language.ZH).items():
        values = {part.split(")")[0] for part in source.split("%(")[1:]}
        assert {part.split(")")[0] for part in text.split("%(")[1:]} == values, source


def test_chinese_sentences_use_full_width_punctuation() -> None:
    sentences = [text for text in catalogue(Language.ZH).values() if len(text) > 12 and not text.isascii()]
    assert [text for text in sentences if text.endswith((".", "!", "?"))] == []
    assert any(mark in text for text in sentences for mark in FULL_WIDTH)


def test_the_own_choice_comes_before_the_browsers() -> None:
    assert choose("en", "zh-CN,zh;q=0.9") is Language.EN
    assert choose(None, "zh-CN,zh;q=0.9") is Language.ZH
    assert choose(None, "fr;q=0.9,en-GB;q=0.8,zh;q=0.1") is Language.EN


@pytest.mark.parametrize("header", ["", "xx", ";;;q=,=", "en;q=nonsense", "*", "q" * 5000])
def test_no_header_breaks_the_choice(header: str) -> None:
    assert choose("no-such-language", header) in set(Language)


def test_the_catalogue_works_without_being_compiled_first() -> None:
    translations.cache_clear()
    assert translations(Language.ZH).gettext("Proved") == "证实修好"
