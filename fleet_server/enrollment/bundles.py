"""What a link is given to become part of the fleet: its certificate, the authority's, the signed policy, and who it is.

A bundle is complete or absent; certificates past two thirds of their life are made anew, the rest stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fleet_server.enrollment.authority import Issued, Issuing, due_for_renewal, is_issued_by
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.enrollment.repository import EnrolledDevice
from protocol import codec


@dataclass(frozen=True, slots=True)
class BundleMaker:
    authority: Issuing
    folder: Path  # one folder a link in it, named by its key
    broker_host: str
    broker_port: int
    root_public: str
    policy: bytes

    def write(self, link: EnrolledDevice, attached: Mapping[str, str], now: datetime) -> IssuedCertificate | None:
        """``attached``: device ids by line. Answers the row of the certificate, if a new one was made."""
        place = make_private_dir(self.folder / link.key)
        issued = self._renew_certificate(place, link, now)
        write_private(place / "ca.crt", self.authority.certificate_pem)
        write_private(place / "policy.json", self.policy)
        # Last: with it the bundle is complete.
        write_private(place / "enrolment.json", codec.to_json(self._enrolment(link, attached)))
        if issued is None:
            return None
        return IssuedCertificate(
            serial=issued.serial,
            tenant_id=link.tenant_id,
            link_id=link.id,
            issued_at=now,
            not_after=issued.not_after,
        )

    def _renew_certificate(self, place: Path, link: EnrolledDevice, now: datetime) -> Issued | None:
        certificate, key = place / "client.crt", place / "client.key"
        if certificate.exists() and key.exists():
            pem = certificate.read_bytes()
            if not due_for_renewal(pem, now) and is_issued_by(pem, self.authority):
                return None
        former = key.read_bytes() if key.exists() else None
        issued = self.authority.issue_link(link.id, now, former_key_pem=former)
        write_private(key, issued.key_pem)
        write_private(certificate, issued.certificate_pem)
        return issued

    def _enrolment(self, link: EnrolledDevice, attached: Mapping[str, str]) -> dict[str, object]:
        return {
            "link": link.id,
            "tenant": link.tenant_id,
            "broker": {"host": self.broker_host, "port": self.broker_port},
            "root_public": self.root_public,
            "attached": dict(sorted(attached.items())),
            "terminal_class": link.terminal_class,
            "serial_number": link.serial_number,
            "model": link.model,
        }
