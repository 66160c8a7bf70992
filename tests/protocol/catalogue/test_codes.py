from __future__ import annotations

import re

import pytest

from protocol.catalogue import codes, faults
from protocol.catalogue.vocabulary import Family, Owner, Severity

ALL = codes.all()
CJK = re.compile(r"[\u4e00-\u9fff]")
JARGON = re.compile(r"TMK|TPK|CAPK|AID|APN|PDP|DNS|DHCP|TLS|MAC|\b0?6 ?\d\d\b|0x")


def test_all_codes_of_the_sources_are_there() -> None:
    ids = [code.id for code in ALL]
    assert len(ids) == len(set(ids))
    assert sum(code.family is not Family.AGENT for code in ALL) == 286


@pytest.mark.parametrize("family", Family)
def test_every_family_has_codes_and_a_prefix_of_its_own(family: Family) -> None:
    own = [code for code in ALL if code.family is family]
    assert own
    assert {code.id.partition(".")[0] for code in own} == {codes.PREFIXES[family]}


def test_every_code_has_meaning_advice_and_sentence_in_chinese() -> None:
    for code in ALL:
        for text in (code.title_zh, code.fix_zh, code.say_zh):
            assert CJK.search(text), (code.id, text)


def test_every_code_has_meaning_advice_and_sentence_in_english() -> None:
    for code in ALL:
        for text in (code.title_en, code.fix_en, code.say_en):
            assert text.strip(), code.id
            assert CJK.search(text) is None, (code.id, text)


def test_a_sentence_to_read_out_is_a_whole_sentence_without_jargon() -> None:
    for code in ALL:
        assert code.say_zh.endswith("。"), code.id
        assert code.say_en.endswith("."), code.id
        assert JARGON.search(code.say_zh) is None, (code.id, code.say_zh)
        assert JARGON.search(code.say_en) is None, (code.id, code.say_en)


def test_a_part_to_bring_has_a_name_in_both_languages() -> None:
    for code in ALL:
        assert (code.part is None) == (code.part_zh is None), code.id
        assert code.part_zh is None or CJK.search(code.part_zh), code.id


def test_no_advice_is_left_as_by_cause_when_causes_are_known() -> None:
    assert [code.id for code in ALL if code.causes and code.fix_en == "by cause"] == []


def test_every_cause_and_check_named_is_in_the_fault_model() -> None:
    model = faults.load()
    for code in ALL:
        assert set(code.causes) <= set(model.causes), code.id
        assert set(code.checks) <= set(model.checks), code.id


def test_what_a_code_hides_exists() -> None:
    ids = {code.id for code in ALL}
    for code in ALL:
        assert set(code.hides) <= ids, code.id


def test_hiding_has_no_cycle() -> None:
    for code in ALL:
        reached, frontier = set[str](), list(code.hides)
        while frontier:
            hidden = codes.get(frontier.pop())
            assert hidden is not None
            if hidden.id not in reached:
                reached.add(hidden.id)
                frontier.extend(hidden.hides)
        assert code.id not in reached


def test_a_dead_sim_explains_everything_behind_it() -> None:
    present = ["agent.UPLOAD_STUCK", "agent.NET_DOWN", "cme.13", "term.NET_NO_PDP", "escpos.eot4.paper_end"]
    explained = codes.consequences(present)
    assert set(explained) == {"agent.UPLOAD_STUCK", "agent.NET_DOWN", "term.NET_NO_PDP"}
    assert "cme.13" not in explained


def test_a_cutter_fault_explains_the_generic_printer_signs() -> None:
    explained = codes.consequences(["escpos.eot1.offline", "escpos.eot2.error", "escpos.eot3.cutter"])
    assert set(explained) == {"escpos.eot1.offline", "escpos.eot2.error"}


def test_codes_that_nobody_explains_stand_alone() -> None:
    assert codes.consequences(["term.BATT_LOW", "escpos.eot4.paper_end", "no.such"]) == {}


def test_a_cause_is_never_explained_by_its_own_consequence() -> None:
    explained = codes.consequences([code.id for code in ALL])
    assert set(explained) != {code.id for code in ALL}
    for consequence, cause in explained.items():
        assert consequence != cause


def test_an_unknown_code_is_none() -> None:
    assert codes.get("zvt.no_such") is None
    assert codes.get("nobody.00") is None
    assert codes.get("../metrics") is None
    assert codes.get("") is None


def test_the_hosts_own_zvt_digits_share_one_entry() -> None:
    found = codes.lookup(Family.ZVT, "35")
    assert found is not None
    assert (found.id, found.code, found.owner) == ("zvt.01-63", "35", Owner.ACQUIRER)
    exact = codes.lookup(Family.ZVT, "51")
    assert exact is not None
    assert exact.id == "zvt.51"
    assert codes.lookup(Family.ZVT, "D1") is None
    assert codes.lookup(Family.ZVT, "x") is None


@pytest.mark.parametrize(
    ("profile", "code", "meaning"),
    [
        (None, "45", "unionpay39.45"),
        ("sign_in_45", "45", "unionpay39.77"),
        ("sign_in_69", "69", "unionpay39.77"),
        ("sign_in_69", "80", "unionpay39.A0"),
        ("sign_in_69", "56", "unionpay39.94"),
        ("sign_in_69", "51", "unionpay39.51"),
        ("no_such_profile", "56", "unionpay39.56"),
    ],
)
def test_digits_mean_what_the_acquirers_profile_says(profile: str | None, code: str, meaning: str) -> None:
    found = codes.lookup(Family.UNIONPAY39, code, acquirer_profile=profile)
    assert found is not None
    assert (found.id, found.code) == (meaning, code)


def test_every_acquirer_profile_leads_to_known_meanings() -> None:
    assert codes.acquirer_profiles() == {"sign_in_45", "sign_in_69"}
    for entry in codes._profiles().values():
        assert all(codes.get(meaning) is not None for meaning in entry.values())


def test_a_decline_by_the_bank_is_not_a_fault_of_the_device() -> None:
    for code_id in ("unionpay39.51", "unionpay39.55", "unionpay39.61"):
        code = codes.get(code_id)
        assert code is not None
        assert (code.owner, code.severity) == (Owner.CARDHOLDER, Severity.INFO)
        assert not code.is_device_fault_likely


def test_severities_are_ranked_from_mild_to_bad() -> None:
    assert [severity.rank for severity in Severity] == [0, 1, 2, 3]
    assert Severity.CRITICAL.rank > Severity.INFO.rank


def test_every_member_of_the_vocabulary_has_a_title_in_both_languages() -> None:
    for member in (*Owner, *Severity, *Family):
        assert member.title_zh
        assert member.title_en


def test_debounce_is_short_enough_to_be_seen() -> None:
    assert all(0 <= code.visible_after_s <= 30 for code in ALL)
    for immediate in (
        "escpos.eot4.paper_end",
        "term.STORAGE_FULL",
        "cme.10",
        "cme.13",
        "agent.LINE_SILENT",
        "agent.SERVICE_SILENT",
        "agent.NET_DOWN",
    ):
        code = codes.get(immediate)
        assert code is not None
        assert code.visible_after_s == 0
