"""Who is meant when somebody asks for his data, or to be erased: somebody who signs in, the contact of a site, or only
words that stand in texts.

Invariant: what stands in a person's place afterwards is made of the id, never of a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, or_, select

from fleet_server.audit.subjects import of_person, shown
from fleet_server.auth.models import User
from fleet_server.devices.asking import looks_like_a_phone, phone_digits, phone_forms
from fleet_server.devices.models import Device, Site
from fleet_server.kit.identifiers import uuid7
from fleet_server.personal.errors import NothingAsked

ERASED = "[erased]"
MAX_SITES = 50
MOBILE_DIGITS = 11


class Kind(StrEnum):
    PERSON = "person"
    SITE = "site"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Subject:
    """``name``: the sign-in name, of a person. ``words``: what mentions look like. ``title``: for whoever asked."""

    kind: Kind
    id: str
    tenant_id: str
    words: tuple[str, ...]
    name: str = ""
    title: str = ""

    @property
    def reference(self) -> str:
        return of_person(self.id) if self.kind is Kind.PERSON else f"{self.kind.value}:{self.id}"

    @property
    def label(self) -> str:
        """As the audit calls a person who is gone."""
        return shown(self.reference, {}) if self.kind is Kind.PERSON else ERASED


def find_subjects(
    session: Session, tenant_id: str, now: datetime, *, person: str = "", phone: str = "", name: str = ""
) -> Sequence[Subject]:
    """By one of the three. Where nothing is about the person as such there is still what texts say."""
    person, phone, name = person.strip(), phone.strip(), name.strip()
    if sum(map(bool, (person, phone, name))) != 1:
        raise NothingAsked("expected one of a sign-in name, a telephone number or a name")
    if phone and not (looks_like_a_phone(phone) and phone_digits(phone)):
        raise NothingAsked("expected a telephone number of at least five digits")
    found = [*_people(session, tenant_id, person or name), *_sites(session, tenant_id, phone, name)]
    if person or found:
        return found
    words = tuple(dict.fromkeys(mentions(phone or name)))
    return [Subject(Kind.WORDS, uuid7(now), tenant_id, words, title=phone or name)]


def subject_of(session: Session, tenant_id: str, reference: str) -> Subject | None:
    """A person or site of before, as long as there is one."""
    kind, _, id_ = reference.partition(":")
    if kind == Kind.PERSON.value:
        person = session.exec(select(User).where(User.id == id_, User.tenant_id == tenant_id)).first()
        return None if person is None else _of_person(person)
    site = session.exec(select(Site).where(Site.id == id_, Site.tenant_id == tenant_id)).first()
    return None if site is None or kind != Kind.SITE.value else _of_site(site)


def mentions(text: str) -> Iterator[str]:
    """How it may stand in texts: as it is, and a telephone number as people write them."""
    if not text:
        return
    yield text
    digits = phone_digits(text) if looks_like_a_phone(text) else ""
    for form in phone_forms(digits):
        yield form
        if len(form) == MOBILE_DIGITS:
            for between in " -":
                yield between.join((form[:3], form[3:7], form[7:]))


def _people(session: Session, tenant_id: str, name: str) -> Iterator[Subject]:
    if not name:
        return
    named = or_(User.name == name, User.display_name == name)
    for person in session.exec(select(User).where(User.tenant_id == tenant_id, named)):
        yield _of_person(person)


def _sites(session: Session, tenant_id: str, phone: str, name: str) -> Iterator[Subject]:
    if phone:
        forms = phone_forms(phone_digits(phone))
        with_sim = select(Device.site_id).where(Device.tenant_id == tenant_id, _digits(Device.sim_phone).in_(forms))
        asked = or_(_digits(Site.phone).in_(forms), col(Site.id).in_(with_sim))
    elif name:
        asked = col(Site.contact_name) == name
    else:
        return
    for site in session.exec(select(Site).where(Site.tenant_id == tenant_id, asked).limit(MAX_SITES)):
        yield _of_site(site, phone or name)


def _of_person(person: User) -> Subject:
    words = tuple(dict.fromkeys(word for word in (person.name, person.display_name) if word))
    return Subject(Kind.PERSON, person.id, person.tenant_id, words, name=person.name, title=person.name)


def _of_site(site: Site, *more: str) -> Subject:
    """A short place would be found everywhere: an address counts only with a number in it."""
    address = site.address if re.search(r"\d", site.address) else ""
    words = [form for word in (site.contact_name, site.phone, address, *more) for form in mentions(word)]
    title = f"{site.merchant_name_zh} / {site.merchant_name_en} · {site.name_zh} / {site.name_en}"
    return Subject(Kind.SITE, site.id, site.tenant_id, tuple(dict.fromkeys(words)), title=title)


def _digits(column: Any) -> Any:
    made = column
    for between in " -()./":
        made = func.replace(made, between, "")
    return made
