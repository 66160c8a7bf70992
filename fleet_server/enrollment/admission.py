"""Devices that ask for themselves: enrolling with a code, and renewing with the key they have.

Order matters. What can be refused without the database is refused first; the code's row is held from its finding to the
end, so of two that come at once one waits and finds it used; the issuer signs before the commit, and gives the same
answer again to who lost it. Refusals are answers here and not exceptions, for a wrong try has to be counted and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hmac import compare_digest

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.devices.models import Device
from fleet_server.enrollment.authority import Certified
from fleet_server.enrollment.bundles import enrolment_document
from fleet_server.enrollment.codes import PENDING_LIFE, Kind, State
from fleet_server.enrollment.enrolment_rows import EnrolmentRows, find_by_secret, find_link
from fleet_server.enrollment.errors import (
    CodeExpired,
    CodeForAnother,
    CodeUnknown,
    CodeUsed,
    EnrolmentRefused,
    SerialInService,
)
from fleet_server.enrollment.models import Enrolment, IssuedCertificate
from fleet_server.enrollment.registration import register_device
from fleet_server.errors import FleetError
from fleet_server.issuer.client import IssuerClient
from fleet_server.issuer.errors import NameRetired, NameTaken, TooLongAsleep
from fleet_server.issuer.signing_requests import check_proof, key_name, read_request
from fleet_server.kit.identifiers import uuid7
from fleet_server.settings import ServerSettings
from fleet_server.tenants.repository import is_suspended
from protocol.enrolment import (
    Enrolled,
    EnrolRequest,
    Pending,
    Renewed,
    RenewRequest,
    enrol_proof_bytes,
    secret_digest,
)

ASK_AGAIN_S = 15
# Wrong serial numbers or models with a right code; after that the code is worth nothing.
MAX_WRONG_TRIES = 5


@dataclass(frozen=True, slots=True)
class Refusal:
    """``is_guess``: counts against the address that it came from."""

    error: FleetError
    is_guess: bool = False


class Admission:
    def __init__(self, session: Session, issuer: IssuerClient, settings: ServerSettings, now: datetime) -> None:
        self._session = session
        self._issuer = issuer
        self._settings = settings
        self._now = now

    def enrol(self, asked: EnrolRequest, address: str) -> Enrolled | Pending | Refusal:
        """Raises ``RequestRefused`` and ``ProofInvalid`` before anything is looked up."""
        public, der = read_request(asked.csr, ())
        check_proof(public, asked.proof, enrol_proof_bytes(asked.secret, asked.serial_number, asked.model, der))
        row = find_by_secret(self._session, secret_digest(asked.secret))
        if row is None or row.state == State.WITHDRAWN or is_suspended(self._session, row.tenant_id):
            return Refusal(CodeUnknown("this code is not known: it was mistyped, withdrawn, or never made"), True)
        refused = self._check(row, asked, key_name(public))
        if refused is not None:
            return refused
        if row.state == State.OPEN:
            row.key_sha256, row.address, row.asked_at = key_name(public), address[:64], self._now
            is_certain = row.site_id is not None and not row.needs_approval
            row.state = (State.APPROVED if is_certain else State.PENDING).value
        if row.state == State.PENDING:
            return Pending(ASK_AGAIN_S)
        return self._admit(row, asked.csr)

    def renew(self, asked: RenewRequest) -> Renewed | Pending | Refusal:
        """Raises what the issuer refuses."""
        link = find_link(self._session, asked.link)
        if link is None:
            return Refusal(NameRetired("this device is not in service here"), True)
        rows = EnrolmentRows(self._session, link.tenant_id)
        returning = rows.returning(link.id)
        approved_by = returning.decided_by if returning is not None and returning.state == State.APPROVED else ""
        try:
            made = self._issuer.renew(link.id, asked.csr, asked.proof, approved_by)
        except TooLongAsleep:
            return self._let_wait(rows, link, returning)
        if approved_by and returning is not None:
            returning.state = State.DONE.value
        self._written(rows, link, "certificate_renewed", made)
        return Renewed(made.certificate_pem.decode())

    def _check(self, row: Enrolment, asked: EnrolRequest, key: str) -> Refusal | None:
        if not compare_digest(row.serial_number, asked.serial_number) or row.model != asked.model:
            row.wrong_tries += 1
            if row.state == State.OPEN and row.wrong_tries >= MAX_WRONG_TRIES:
                row.state = State.WITHDRAWN.value
            return Refusal(CodeForAnother("this code is for another serial number or model"), True)
        if row.state == State.OPEN:
            is_over = self._now >= row.expires_at
            return Refusal(CodeExpired(f"this code ended {row.expires_at:%Y-%m-%d %H:%M} UTC")) if is_over else None
        if row.key_sha256 != key:
            return Refusal(CodeUsed("this code was used by another device"), True)
        if row.state == State.REFUSED or (row.state == State.PENDING and self._is_forgotten(row)):
            return Refusal(EnrolmentRefused("this device was not let in: ask whoever made the code"))
        return None

    def _admit(self, row: Enrolment, csr: str) -> Enrolled | Refusal:
        rows = EnrolmentRows(self._session, row.tenant_id)
        device = rows.device_of_serial(row.serial_number)
        if device is not None and device.id != row.device_id:
            return Refusal(SerialInService("a device of this serial number is in service: take that out first"))
        try:
            made = self._issuer.enrol(row.device_id, csr)
        except NameTaken:
            if device is None or row.state == State.DONE:
                raise
            # The code was made for a device that has a key: after a factory reset, or in place of its bundle.
            made = self._issuer.replace(row.device_id, csr, row.decided_by or row.created_by)
        if device is None:
            device = register_device(self._session, row, rows.site(row.site_id or ""), self._now)
        row.state = State.DONE.value
        self._written(rows, device, "device_enrolled", made)
        return Enrolled(
            certificate=made.certificate_pem.decode(),
            enrolment=enrolment_document(device, rows.attached(device.id), self._settings),
            policy=self._settings.policy_file.read_text("utf-8"),
        )

    def _let_wait(self, rows: EnrolmentRows, link: Device, returning: Enrolment | None) -> Pending | Refusal:
        if returning is not None and returning.state == State.REFUSED and not self._is_forgotten(returning):
            return Refusal(EnrolmentRefused("this device was not let in again: ask whoever runs it"))
        if returning is None or returning.state != State.PENDING:
            rows.add(
                Enrolment(
                    id=uuid7(self._now),
                    tenant_id=link.tenant_id,
                    kind=Kind.RETURN.value,
                    state=State.PENDING.value,
                    device_id=link.id,
                    serial_number=link.serial_number,
                    model=link.model,
                    terminal_class=link.terminal_class,
                    label_zh=link.label_zh,
                    label_en=link.label_en,
                    site_id=link.site_id,
                    created_by=link.id,
                    created_at=self._now,
                    expires_at=self._now + PENDING_LIFE,
                    asked_at=self._now,
                )
            )
        return Pending(ASK_AGAIN_S)

    def _written(self, rows: EnrolmentRows, device: Device, word: str, made: Certified) -> None:
        if rows.has_certificate(made.serial):
            return
        rows.add(
            IssuedCertificate(
                serial=made.serial,
                tenant_id=device.tenant_id,
                link_id=device.id,
                issued_at=self._now,
                not_after=made.not_after,
            )
        )
        itself = Actor(device.id, device.id, Role.VIEWER, device.tenant_id, ActorKind.TOKEN)
        record(self._session, itself, word, device.id, {"serial_number": device.serial_number}, now=self._now)

    def _is_forgotten(self, row: Enrolment) -> bool:
        return self._now >= (row.asked_at or row.created_at) + PENDING_LIFE
