"""Codes for devices that enrol themselves, and what people decide about those that wait.

A code is for one device of one tenant: its serial number and model. It is used once, and only until it expires. Only
its hash is kept. A serial number that is in service gets a code only for the device it belongs to: its key is replaced
then, as after a factory reset.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.enrollment.enrolment_rows import EnrolmentRows
from fleet_server.enrollment.errors import (
    EnrolmentNotFound,
    EnrolmentNotWaiting,
    SerialInService,
    SiteUnknown,
)
from fleet_server.enrollment.models import Enrolment
from fleet_server.enrollment.pallet import Wanted
from fleet_server.kit.identifiers import device_id, uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from protocol.enrolment import ALPHABET, SECRET_CHARS, Code, fingerprint, secret_digest

LONGEST_LIFE = timedelta(days=90)
# How long one that waits for a person is kept.
PENDING_LIFE = timedelta(days=30)


class State(StrEnum):
    OPEN = "open"
    PENDING = "pending"
    APPROVED = "approved"
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Kind(StrEnum):
    NEW = "new"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Made:
    """The code is known here and never again."""

    row: Enrolment
    code: Code


class Codes:
    """``root_pem`` gives the certificate whose fingerprint is in every code."""

    def __init__(self, session: Session, actor: Actor, root_pem: Callable[[], bytes], now: datetime) -> None:
        self._session = session
        self._rows = EnrolmentRows(session, actor.tenant_id)
        self._actor = actor
        self._root_pem = root_pem
        self._now = now

    def make(self, wanted: Sequence[Wanted], life: timedelta, *, needs_approval: bool) -> list[Made]:
        """All or none."""
        root = x509.load_pem_x509_certificate(self._root_pem()).public_bytes(Encoding.DER)
        made = [self._make(one, life, fingerprint(root), needs_approval=needs_approval) for one in wanted]
        serials = [one.serial_number for one in wanted]
        data = {"count": len(made), "serial_numbers": serials[:20], "hours": life / timedelta(hours=1)}
        record(self._session, self._actor, "enrolment_codes_made", made[0].row.device_id, data, now=self._now)
        return made

    def page(self, state: str | None, cursor: str | None, limit: int) -> Page[Enrolment]:
        """Newest first."""
        before = decode_cursor(cursor, 1)[0] if cursor else None
        if not isinstance(before, str | None):
            raise CursorInvalid("cursor is not one of the list of enrolments")
        rows = self._rows.list_newest(state, before, limit + 1)
        shown = list(rows[:limit])
        return Page(shown, encode_cursor(shown[-1].id) if len(rows) > limit else None)

    def site_named(self, text: str) -> str:
        """The id of a site, given itself or by a merchant id that only one site has. Raises ``SiteUnknown``."""
        found = self._rows.sites_named(text.strip())
        if len(found) != 1:
            raise SiteUnknown(f"expected a site or a merchant with one site, found {len(found)}: give the site's id")
        return found[0]

    def approve(self, enrolment_id: str, site_id: str | None) -> Enrolment:
        """Lets a device in that waits; it gets its certificate when it asks next."""
        row = self._waiting(enrolment_id)
        if row.kind == Kind.NEW:
            site = site_id or row.site_id
            if site is None or not self._rows.has_site(site):
                raise SiteUnknown("expected the id of a site of this tenant, where the device stands")
            self._rows.place(row, site)
        return self._written(row, State.APPROVED, "enrolment_approved")

    def refuse(self, enrolment_id: str) -> Enrolment:
        return self._written(self._waiting(enrolment_id), State.REFUSED, "enrolment_refused")

    def withdraw(self, enrolment_id: str) -> Enrolment:
        """A code that nobody has used."""
        row = self._rows.get(enrolment_id)
        if row is None:
            raise EnrolmentNotFound(enrolment_id)
        if row.state != State.OPEN:
            raise EnrolmentNotWaiting(f"expected a code that nobody has used, this enrolment is {row.state}")
        return self._written(row, State.WITHDRAWN, "enrolment_code_withdrawn")

    def _make(self, wanted: Wanted, life: timedelta, root: str, *, needs_approval: bool) -> Made:
        site = wanted.site or None
        if site is not None and not self._rows.has_site(site):
            raise SiteUnknown(f"expected the id of a site of this tenant, came {wanted.site[:64]!r}")
        known = self._rows.device_of_serial(wanted.serial_number)
        if known is not None and known.link_id != known.id:
            raise SerialInService(f"{wanted.serial_number} hangs on a gateway, and speaks through that")
        if known is not None and known.model != wanted.model:
            raise SerialInService(f"{wanted.serial_number} is in service as a {known.model}: take that out of service")
        secret = "".join(secrets.choice(ALPHABET) for _ in range(SECRET_CHARS))
        row = Enrolment(
            id=uuid7(self._now),
            tenant_id=self._actor.tenant_id,
            kind=Kind.NEW.value,
            state=State.OPEN.value,
            secret_sha256=secret_digest(secret),
            device_id=device_id() if known is None else known.id,
            serial_number=wanted.serial_number,
            model=wanted.model,
            terminal_class=wanted.terminal_class,
            label_zh=wanted.label_zh or wanted.model,
            label_en=wanted.label_en or wanted.model,
            site_id=site if known is None else known.site_id,
            needs_approval=needs_approval,
            created_by=self._actor.name,
            created_at=self._now,
            expires_at=self._now + life,
        )
        self._rows.add(row)
        return Made(row, Code(secret, root))

    def _waiting(self, enrolment_id: str) -> Enrolment:
        row = self._rows.get(enrolment_id)
        if row is None:
            raise EnrolmentNotFound(enrolment_id)
        if row.state != State.PENDING:
            raise EnrolmentNotWaiting(f"expected a device that waits for a person, this enrolment is {row.state}")
        return row

    def _written(self, row: Enrolment, state: State, word: str) -> Enrolment:
        self._rows.decide(row, state.value, self._actor.name, self._now)
        data = {"serial_number": row.serial_number, "enrolment": row.id}
        record(self._session, self._actor, word, row.device_id, data, now=self._now)
        return row
