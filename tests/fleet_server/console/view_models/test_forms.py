from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.console.language import Language, translations
from fleet_server.console.moments import Calendar, zone_of
from fleet_server.console.view_models.forms import PREFIX, form_fields, read_form
from protocol.parameters import check_params
from tests.fleet_server.console.declared import ACTIONS, NETWORK, PRINT

CALENDAR = Calendar(Language.ZH, translations(Language.ZH), zone_of("Asia/Shanghai"), datetime(2026, 3, 2, tzinfo=UTC))


@settings(max_examples=100)
@given(
    action=st.sampled_from(ACTIONS),
    typed=st.dictionaries(
        st.sampled_from(["p.count", "p.target", "p.lines", "p.cut", "p.title", "p.other", "csrf"]),
        st.one_of(st.text(max_size=30), st.sampled_from(["3", "on", "acquirer", "1e9", "nan", "-1", "1,000"])),
    ),
)
def test_what_a_form_accepts_the_protocol_accepts_too(action: object, typed: dict[str, str]) -> None:
    declared = next(one for one in ACTIONS if one is action).params
    filled = read_form(declared, typed, CALENDAR)
    if not filled.errors:
        assert isinstance(check_params(declared, filled.values), dict)


def test_a_fresh_form_holds_the_declared_defaults() -> None:
    values = {field.name: field.value for field in form_fields(PRINT.params, CALENDAR, None, {})}
    assert values == {"lines": "4", "cut": "on", "title": ""}


def test_a_form_that_comes_back_holds_what_was_typed_and_what_was_expected() -> None:
    typed = {PREFIX + "count": "90", PREFIX + "target": "moon"}
    errors = read_form(NETWORK.params, typed, CALENDAR).errors
    fields = {field.name: field for field in form_fields(NETWORK.params, CALENDAR, typed, errors)}
    assert fields["count"].value == "90"
    assert fields["count"].error == "要整数，1 至 9；收到 90"
    assert "moon" in fields["target"].error


def test_a_switch_that_is_not_ticked_is_no() -> None:
    assert read_form(PRINT.params, {"p.lines": "4"}, CALENDAR).values["cut"] is False


def test_a_value_that_the_form_did_not_have_is_the_default_and_an_emptied_one_is_missing() -> None:
    assert read_form(NETWORK.params, {}, CALENDAR).errors == {}
    assert set(read_form(NETWORK.params, {PREFIX + "count": ""}, CALENDAR).errors) == {"count"}
