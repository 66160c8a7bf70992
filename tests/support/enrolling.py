"""Devices that enrol and renew against an application, as `device_agent` does, and as it must not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi.testclient import TestClient

from fleet_server.enrollment.private_files import make_private_dir
from fleet_server.issuer.client import sign_proof
from fleet_server.issuer.opening import prepare
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings
from protocol.enrolment import EnrolRequest, RenewRequest, enrol_proof_bytes, read_code
from tests.support.signing_requests import Key, der_of, new_key, renewal_proof, request_of


def prepare_installation(settings: ServerSettings) -> None:
    """Authority, policy and the root's public key: what an enrolment hands out."""
    for folder in (settings.data, settings.server_dir, settings.keys_dir, settings.tls_dir):
        make_private_dir(folder)
    prepare(settings, utc_now())
    settings.policy_file.write_text('{"policy": "of a test"}', "utf-8")
    settings.root_public_file.write_text("ab" * 32 + "\n", "ascii")


@dataclass
class Device:
    """``client`` is the network."""

    client: TestClient
    serial_number: str = "ES0000002"
    model: str = "A920"
    key: Key = field(default_factory=new_key)

    def request(self, code: str, *, csr: str | None = None, proof: str | None = None) -> dict[str, Any]:
        read = read_code(code)
        secret = read.secret if read is not None else code
        csr = csr or request_of(self.key)
        signed = enrol_proof_bytes(secret, self.serial_number, self.model, der_of(csr))
        asked = EnrolRequest(secret, self.serial_number, self.model, csr, proof or sign_proof(self.key, signed))
        body: dict[str, Any] = msgspec.to_builtins(asked)
        return body

    def enrol(self, code: str, **how: Any) -> Any:
        return self.client.post("/enrol/v1/requests", json=self.request(code, **how))

    def renew(self, link: str, key: Key, *, proof: str | None = None, csr: str | None = None) -> Any:
        csr = csr or request_of(key)
        asked = RenewRequest(link, csr, proof or renewal_proof(self.key, link, csr))
        return self.client.post("/enrol/v1/renewals", json=msgspec.to_builtins(asked))
