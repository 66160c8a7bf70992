from __future__ import annotations

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from protocol.safety import Condition
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.executions.test_overrides import fix


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("This rule is wrong:", "The battery is low.", "Change the rule, not the people.")),
        ("zh", ("这条规则有问题：", "该改的是规则，不是人。")),
    ],
)
def test_page_says_in_words_which_rule_is_wrong(
    browser: Browser, console_engine: Engine, language: str, words: tuple[str, ...]
) -> None:
    client = browser("viewer", language=language)
    assert words[0] not in client.get("/overrides").text
    with transaction(console_engine) as session:
        fix(session, count=30)
        fix(session, Condition.BATTERY_LOW.value, count=9)
    page = client.get("/overrides?days=7").text
    assert all(word in page for word in words)
    assert '<option value="7" selected>' in page
    assert '<option value="30" selected>' in client.get("/overrides?days=x").text
