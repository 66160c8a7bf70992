"""The desk's page explains every word of state that the console can show, in both languages, as the console says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from fleet_server.console import words
from fleet_server.console.language import DOMAIN, LOCALE_DIR
from fleet_server.console.words import Shape
from protocol.commands import QUEUE_EXPIRY, ActionKind

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "support.md").read_text("utf-8")
ROWS = {tuple(cell.strip() for cell in line.split("|")[1:3]) for line in PAGE.splitlines() if line.startswith("| ")}
SHOWN: dict[str, list[Shape]] = {
    "runs": [*words.STATES.values(), words.PROVED, words.NOT_FIXED, words.NOT_NEEDED],
    "results": list(words.OUTCOMES.values()),
    "terminals": list(words.CONDITIONS.values()),
}


@pytest.fixture(scope="module")
def chinese() -> Mapping[str, str]:
    with (LOCALE_DIR / "zh_CN" / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as file:
        return {str(message.id): str(message.string) for message in read_po(file)}


@pytest.mark.parametrize("what", SHOWN)
def test_every_word_of_state_is_explained_as_the_console_says_it(what: str, chinese: Mapping[str, str]) -> None:
    missing = [one.words for one in SHOWN[what] if (one.words, chinese[one.words]) not in ROWS]
    assert missing == []


def test_how_long_a_request_waits_is_what_the_server_does() -> None:
    stated = re.search(r"a check or test for (\d+) minutes, a fix for (\d+) hours", PAGE)
    assert stated is not None
    assert QUEUE_EXPIRY[ActionKind.CHECK].total_seconds() == QUEUE_EXPIRY[ActionKind.TEST].total_seconds()
    assert int(stated[1]) * 60 == QUEUE_EXPIRY[ActionKind.CHECK].total_seconds()
    assert int(stated[2]) * 3600 == QUEUE_EXPIRY[ActionKind.FIX].total_seconds()


def test_chinese_words_in_brackets_are_those_of_the_console(chinese: Mapping[str, str]) -> None:
    known = {*chinese.values(), "全面检查", "商户号", "终端号"}
    shown = set(re.findall(r"\(([\u4e00-\u9fff]+)\)", PAGE))
    assert shown
    assert shown - known == set()
