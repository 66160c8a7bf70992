"""A site as somebody may see it: whom to call and where, plain or masked. Services hand out nothing else.

What a shop writes over its door (name, city) is shown to all who may see its devices; contact, telephone number and
address are about a person, and so may be the number of a SIM card that a merchant brought along.

Invariant: what is masked here cannot be told from the answer: no length, no middle part, not more than the first sign
of a name, and the first three and last four digits of a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fleet_server.auth.roles import Actor, Permission
from fleet_server.devices.models import Site

HIDDEN = "****"
# A shorter number would be told by what is left of it.
_SHORTEST_PHONE = 10


class Sight(Enum):
    """How much of people somebody sees."""

    MASKED = "masked"
    PLAIN = "plain"


def sight_of(actor: Actor) -> Sight:
    return Sight.PLAIN if actor.may(Permission.PERSONAL_READ) else Sight.MASKED


@dataclass(frozen=True, slots=True)
class SiteShown:
    """``is_masked``: something of it is there and not shown."""

    id: str
    merchant_id: str
    merchant_name_zh: str
    merchant_name_en: str
    name_zh: str
    name_en: str
    city_zh: str
    city_en: str
    contact_name: str
    phone: str
    address: str
    timezone: str
    trading_hours: list[list[str]] | None
    is_masked: bool

    @property
    def has_contact(self) -> bool:
        return bool(self.contact_name or self.phone or self.address)


def site_shown(site: Site, sight: Sight) -> SiteShown:
    is_plain = sight is Sight.PLAIN
    return SiteShown(
        id=site.id,
        merchant_id=site.merchant_id,
        merchant_name_zh=site.merchant_name_zh,
        merchant_name_en=site.merchant_name_en,
        name_zh=site.name_zh,
        name_en=site.name_en,
        city_zh=site.city_zh,
        city_en=site.city_en,
        contact_name=site.contact_name if is_plain else masked_name(site.contact_name),
        phone=site.phone if is_plain else masked_phone(site.phone),
        address=site.address if is_plain else masked_place(site.address),
        timezone=site.timezone,
        trading_hours=site.trading_hours,
        is_masked=not is_plain and bool(site.contact_name or site.phone or site.address),
    )


def masked_phone(phone: str) -> str:
    """Enough to recognise a number by, not enough to call it."""
    digits = "".join(one for one in phone if one.isdigit())
    if not phone:
        return ""
    return HIDDEN if len(digits) < _SHORTEST_PHONE else f"{digits[:3]} {HIDDEN} {digits[-4:]}"


def masked_name(name: str) -> str:
    return name[:1] + "**" if name else ""


def masked_place(address: str) -> str:
    return HIDDEN if address else ""
