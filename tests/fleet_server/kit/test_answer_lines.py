"""A line feed ends a line of an answer, and nothing else does."""

from __future__ import annotations

import httpx2
import pytest

from fleet_server.kit import answer_lines
from fleet_server.kit.answer_lines import LineTooLong, lines_of

FORGED = 'data: {"text":"a\u2028data: forged\x85data: forged\x0bx"}'


def answer(*pieces: str) -> httpx2.Response:
    return httpx2.Response(200, content=iter([piece.encode() for piece in pieces]))


def test_what_python_takes_for_an_end_of_a_line_ends_none() -> None:
    assert list(lines_of(answer(FORGED + "\n\n", "id: 1\n"))) == [FORGED, "", "id: 1"]


def test_a_line_may_come_in_pieces_and_the_last_without_an_end() -> None:
    assert list(lines_of(answer("a", "b\nc", "", "d\n", "e"))) == ["ab", "cd", "e"]


def test_a_line_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_lines, "MAX_LINE_CHARS", 10)
    with pytest.raises(LineTooLong):
        list(lines_of(answer("a" * 6, "b" * 6)))
