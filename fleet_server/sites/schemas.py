"""HTTP shapes of what is written of sites. They are read as devices show theirs: `fleet_server.devices.schemas`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.config import JsonDict

from fleet_server.kit.schemas import Answer, Asked
from fleet_server.sites.files import MAX_LINES
from fleet_server.sites.values import LONGEST

# Described only: who is refused is told by the service what was expected. What is not printable, or blank
# throughout, no form says; nor which time zones there are.
_NOT_EMPTY: JsonDict = {"minLength": 1}
_PHONE: JsonDict = {"pattern": r"^[0-9+ ().\-/;,]*$"}
Name = Annotated[str, Field(max_length=120, json_schema_extra=_NOT_EMPTY)]
City = Annotated[str, Field(max_length=80)]
Phone = Annotated[str, Field(max_length=LONGEST["phone"], json_schema_extra=_PHONE)]
MerchantId = Annotated[str, Field(max_length=LONGEST["merchant_id"], json_schema_extra=_NOT_EMPTY)]
Timezone = Annotated[
    str, Field(max_length=LONGEST["timezone"], description="such as Asia/Shanghai", json_schema_extra=_NOT_EMPTY)
]


class _Changeable(Asked):
    city_zh: City | None = None
    city_en: City | None = None
    contact_name: Annotated[str | None, Field(max_length=LONGEST["contact_name"], description="whom to call")] = None
    phone: Phone | None = None
    address: Annotated[str | None, Field(max_length=LONGEST["address"])] = None

    def given(self) -> dict[str, str]:
        return {name: value for name, value in self.model_dump().items() if value is not None}


class SiteAsked(_Changeable):
    merchant_id: MerchantId
    merchant_name_zh: Name
    merchant_name_en: Name
    name_zh: Name
    name_en: Name
    timezone: Timezone


class SiteChange(_Changeable):
    """What is left out stays as it is."""

    merchant_id: MerchantId | None = None
    merchant_name_zh: Name | None = None
    merchant_name_en: Name | None = None
    name_zh: Name | None = None
    name_en: Name | None = None
    timezone: Timezone | None = None


class SitesAsked(Asked):
    csv: Annotated[str, Field(max_length=400 * MAX_LINES, description="heading and a line a site")]


class SitesTaken(Answer):
    added: int
    changed: int


class PlaceAsked(Asked):
    site: Annotated[str, Field(max_length=64, description="id of the site it stands at from now on")]
