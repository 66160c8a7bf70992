from __future__ import annotations

import pytest

from fleet_server.auth.roles import Role
from fleet_server.sites.shown import Sight, masked_name, masked_phone, masked_place, sight_of, site_shown
from tests.fleet_server.factories import actor, site

PLAIN = {Role.SUPPORT, Role.APPROVER, Role.TENANT_ADMIN, Role.OPERATOR}


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("13812345678", "138 **** 5678"),
        ("+86 138-1234-5678", "861 **** 5678"),
        ("021-5555 0101", "021 **** 0101"),
        ("5555010", "****"),
        ("110", "****"),
        ("", ""),
    ],
)
def test_a_telephone_number_is_shown_in_part_and_a_short_one_not_at_all(phone: str, shown: str) -> None:
    assert masked_phone(phone) == shown


def test_names_of_any_length_look_alike_but_for_their_first_sign() -> None:
    assert {masked_name("王明"), masked_name("王小明"), masked_name("王")} == {"王**"}
    assert masked_name("") == masked_place("") == ""
    assert masked_place("虚构路 12 号") == masked_place("8") == "****"


@pytest.mark.parametrize("role", Role)
def test_who_sees_people_plain(role: Role) -> None:
    assert (sight_of(actor(role)) is Sight.PLAIN) is (role in PLAIN)


def test_what_is_over_the_door_is_shown_to_all_and_the_rest_says_that_it_is_masked() -> None:
    masked = site_shown(site("s-1-0001"), Sight.MASKED)
    assert (masked.merchant_name_en, masked.name_en, masked.is_masked) == ("Dawn Convenience", "Shop one", True)
    assert "小明" not in repr(masked)
    assert "虚构路" not in repr(masked)
    assert "5555" not in repr(masked)
    nobody = site_shown(site("s-2-0002", phone="", contact_name="", address=""), Sight.MASKED)
    assert not nobody.is_masked
