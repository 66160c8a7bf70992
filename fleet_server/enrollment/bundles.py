"""What a link is given to become part of the fleet: its certificate, the authority's, the signed policy, and who it is.

A bundle is complete or absent; certificates past two thirds of their life are made anew, the rest stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509

from fleet_server.enrollment.authority import Issued, Issuing, due_for_renewal, is_issued_by
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.enrollment.own_names import public_host
from fleet_server.enrollment.policy import root_after_history
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.enrollment.repository import EnrolledDevice
from fleet_server.settings import ServerSettings
from protocol import codec
from protocol.policy import Root


@dataclass(frozen=True, slots=True)
class BundleMaker:
    authority: Issuing
    folder: Path  # one folder a link in it, named by its key
    settings: ServerSettings
    policy: bytes

    def write(
        self, link: EnrolledDevice, attached: Mapping[str, str], newest_serial: str | None, now: datetime
    ) -> IssuedCertificate | None:
        """``attached``: device ids by line. Answers the row of the certificate, if a new one was made.

        ``newest_serial``: of the newest certificate that the link was ever given. When that is not the bundle's, or the
        link was heard, the device has a key of its own, or the bundle's: another would take it from it.
        """
        place = self.folder / link.key
        is_its_own = newest_serial != _serial_of(place / "client.crt") or link.last_seen_at is not None
        if newest_serial is not None and is_its_own and not self.settings.demo:
            return None
        make_private_dir(place)
        issued = self._renew_certificate(place, link, now)
        write_private(place / "ca.crt", self.authority.certificate_pem)
        write_private(place / "policy.json", self.policy)
        # Last: with it the bundle is complete.
        write_private(place / "enrolment.json", codec.to_json(enrolment_document(link, attached, self.settings)))
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


def _serial_of(certificate: Path) -> str | None:
    try:
        return f"{x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number:x}"
    except (OSError, ValueError):
        return None


class Link(Protocol):
    """What a bundle says of its link, from wherever it was read."""

    @property
    def id(self) -> str: ...
    @property
    def tenant_id(self) -> str: ...
    @property
    def terminal_class(self) -> str: ...
    @property
    def serial_number(self) -> str: ...
    @property
    def model(self) -> str: ...


def refresh_bundles(settings: ServerSettings) -> None:
    """Bundles that wait to be carried begin with the newest policy, and with the root that signed it."""
    root = present_root(settings)
    for bundle in (settings.data / "agents").glob("*/policy.json"):
        document = bundle.with_name("enrolment.json")
        if document.exists():
            said = msgspec.json.decode(document.read_bytes(), type=dict[str, object])
            write_private(document, codec.to_json({**said, **_root_document(root)}))
        write_private(bundle, settings.policy_file.read_bytes())


def present_root(settings: ServerSettings) -> Root:
    """Who signs the policy now: the first root, or one that took its place."""
    return root_after_history(settings.policy_file, settings.root_public_file.read_text("ascii").strip())


def _root_document(root: Root) -> dict[str, object]:
    return {"root_public": root.keys[0], "roots": list(root.keys), "root_threshold": root.threshold}


def enrolment_document(link: Link, attached: Mapping[str, str], settings: ServerSettings) -> dict[str, object]:
    """``enrolment.json``. ``server_url``: where the agent renews its certificate."""
    return {
        "link": link.id,
        "tenant": link.tenant_id,
        "broker": {"host": public_host(settings.mqtt_host), "port": settings.mqtt_port},
        **_root_document(present_root(settings)),
        "attached": dict(sorted(attached.items())),
        "terminal_class": link.terminal_class,
        "serial_number": link.serial_number,
        "model": link.model,
        "server_url": settings.url,
    }
