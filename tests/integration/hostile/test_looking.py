"""Whoever looks notices: what is no text, what is not whole, what makes lines of its own."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Callable

import pytest

from protocol.shown_text import cell, one_line
from tests.integration.hostile.looking import Witness
from tests.integration.hostile.words import Planted

Show = Callable[[Witness, str], None]


def table_of(text: str) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([text])
    return out.getvalue()


GOOD: dict[str, Show] = {
    "page": lambda witness, text: witness.page("p", f"<p title='{html.escape(text)}'>{html.escape(text)}</p>"),
    "cut": lambda witness, text: witness.page("p", f"<p>{html.escape(text[:40])}…</p>"),
    "json": lambda witness, text: witness.json("j", json.dumps({text: [text]})),
    "table": lambda witness, text: witness.table("t", table_of(cell(text))),
    "events": lambda witness, text: witness.events(
        "e", f"id: 1\ndata: {one_line(json.dumps({'a': text}))}\n\n: ping\n"
    ),
    "terminal": lambda witness, text: witness.terminal("c", one_line(text)),
    "metrics": lambda witness, text: witness.metrics("m", f"# HELP a b\na{{b={json.dumps(text)}}} 1.0\n"),
}
BAD: dict[str, Show] = {
    "no text": lambda witness, text: witness.page("p", f"<p>{text}</p>"),
    "twice escaped": lambda witness, text: witness.page("p", f"<p>{html.escape(html.escape(text))}</p>"),
    "a piece missing": lambda witness, text: witness.json("j", json.dumps(text.replace("<b zqx>", ""))),
    "a formula": lambda witness, text: witness.table("t", table_of(one_line(text))),
    "a table that steers": lambda witness, text: witness.table("t", table_of("'" + text)),
    "a line of its own": lambda witness, text: witness.events("e", f"data: {text}\n\n"),
    "an end of a line to some": lambda witness, text: witness.events(
        "e", f"data: {json.dumps({'a': text}, ensure_ascii=False)}\n"
    ),
    "lines of JSON": lambda witness, text: witness.lines_of_json("j", json.dumps(text, ensure_ascii=False)),
    "a terminal that is steered": lambda witness, text: witness.terminal("c", text),
    "a metric of its own": lambda witness, text: witness.metrics("m", f'a{{b="{text}"}} 1.0\n'),
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_text_and_whole_is_good(name: str) -> None:
    planted = Planted()
    witness = Witness(planted)
    GOOD[name](witness, planted.text("a field"))
    assert witness.wrong == []
    assert set(witness.seen) == set(planted.fields)


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_is_noticed(name: str) -> None:
    planted = Planted()
    witness = Witness(planted)
    BAD[name](witness, planted.text("a field"))
    assert witness.wrong != []
