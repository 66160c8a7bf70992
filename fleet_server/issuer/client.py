"""Asking the issuer: over its socket, or, where none answers and its folder is ours, a process made for the occasion.

Keys that are made for the asking never leave this process. Nothing is asked, and no process made, before it has to be.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_server.enrollment.authority import Certified, Issued
from fleet_server.enrollment.errors import AuthorityLapsed, NameNotEnrollable
from fleet_server.errors import FleetError
from fleet_server.issuer import messages
from fleet_server.issuer.errors import OF_ISSUER, IssuerUnreachable, NameTaken
from fleet_server.issuer.process import READY, reached_by_name
from protocol.codec import UNREADABLE
from protocol.enrolment import renew_proof_bytes

_PATIENCE_S = 20.0
# A process that is made has a lot to load, on a machine where others do as well; its death is noticed at once.
_STARTING_S = 300.0
# The process that was there may have ended, and the one made for the occasion have met one that just started.
_TRIES = 3
# Names the descriptor of the only peer that a process made for the occasion has.
HANDED = "TILLMEDIC_ISSUER_FD"
_KINDS: dict[str, type[FleetError]] = {**OF_ISSUER, **{one.code: one for one in (NameNotEnrollable, AuthorityLapsed)}}


class Channel(Protocol):
    def ask(self, line: bytes) -> bytes: ...
    def close(self) -> None: ...


class SocketChannel:
    """Opens ``connect()`` when first asked, and again when the process at the other end ended meanwhile."""

    def __init__(self, connect: Callable[[], socket.socket], after: Callable[[], None] = lambda: None) -> None:
        self._connect = connect
        self._after = after
        self._link: socket.socket | None = None
        self._lock = threading.Lock()

    def ask(self, line: bytes) -> bytes:
        with self._lock:
            said = ""
            for _ in range(_TRIES):
                try:
                    return self._once(line)
                except OSError as error:
                    said = str(error)
                    self.close()
            raise IssuerUnreachable(f"the issuer does not answer: {said}")

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None
        self._after()

    def _once(self, line: bytes) -> bytes:
        if self._link is None:
            self._link = self._connect()
        self._link.settimeout(_PATIENCE_S)
        self._link.sendall(line + b"\n")
        answer = bytearray()
        while not answer.endswith(b"\n"):
            piece = self._link.recv(65536)
            if not piece:
                raise ConnectionResetError("it closed the connection")
            answer += piece
        return bytes(answer)


class IssuerClient:
    """``Issuing`` for whoever has no key, and what only the issuer can do."""

    def __init__(self, channel: Channel, chain_pem: Callable[[], bytes]) -> None:
        self._channel = channel
        self._chain_pem = chain_pem

    def close(self) -> None:
        self._channel.close()

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self._chain_pem())

    @property
    def certificate_pem(self) -> bytes:
        chain = x509.load_pem_x509_certificates(self._chain_pem())
        return chain[-1].public_bytes(serialization.Encoding.PEM)

    def issue_link(self, link_id: str, now: datetime, *, former_key_pem: bytes | None = None) -> Issued:
        """For a bundle. Without ``former_key_pem``, which proves a renewal, the operator's word replaces the key."""
        del now
        key, csr = _new_request()
        try:
            return self.enrol(link_id, csr).with_key(key)
        except NameTaken:
            former = _loaded(former_key_pem)
        if former is not None:
            with suppress(FleetError):
                return self.renew(link_id, csr, sign_proof(former, renew_proof_bytes(link_id, _der(csr)))).with_key(key)
        return self.replace(link_id, csr, "operator, for a bundle").with_key(key)

    def issue_service(self, name: str, now: datetime) -> Issued:
        del now
        key, csr = _new_request()
        return self._certified(messages.Service(name, csr)).with_key(key)

    def issue_server(self, hosts: Iterable[str], now: datetime) -> Issued:
        del now
        key, csr = _new_request()
        return self._certified(messages.Server(list(hosts), csr)).with_key(key)

    def issue_probe(self, name: str, now: datetime) -> Issued:
        del now
        key, csr = _new_request()
        return self._certified(messages.Probe(name, csr)).with_key(key)

    def revocation_list(self, serials: Collection[int], now: datetime) -> bytes:
        del now
        return self._ask(messages.Lists([f"{one:x}" for one in sorted(serials)])).pem.encode()

    def enrol(self, name: str, csr: str) -> Certified:
        return self._certified(messages.Enrol(name, csr))

    def renew(self, name: str, csr: str, proof: str, approved_by: str = "") -> Certified:
        return self._certified(messages.Renew(name, csr, proof, approved_by))

    def replace(self, name: str, csr: str, approved_by: str) -> Certified:
        return self._certified(messages.Replace(name, csr, approved_by))

    def describe(self) -> bytes:
        """The issuing certificate and the root's behind it."""
        return self._ask(messages.Describe()).pem.encode()

    def retire(self, name: str, reason: str, known: dict[str, datetime]) -> list[str]:
        return self._ask(messages.Retire(name, reason, known)).serials

    def take_over(self, name: str) -> Issued:
        key, csr = _new_request()
        return self._certified(messages.TakeOver(name, csr)).with_key(key)

    def _certified(self, ask: messages.Ask) -> Certified:
        answer = self._ask(ask)
        if answer.not_after is None:
            raise IssuerUnreachable("expected a certificate from the issuer, came none")
        return Certified(answer.pem.encode(), answer.serial, answer.not_after)

    def _ask(self, ask: messages.Ask) -> messages.Answer:
        try:
            answer = msgspec.json.decode(self._channel.ask(msgspec.json.encode(ask)), type=messages.Answer)
        except UNREADABLE as error:
            raise IssuerUnreachable(f"the issuer's answer is not understood: {error}") from error
        if answer.code:
            raise _KINDS.get(answer.code, IssuerUnreachable)(answer.detail)
        return answer


def connect_to(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with reached_by_name(path) as name:
            link.connect(name)
    except OSError:
        link.close()
        raise
    return link


class OnOccasion:
    """Connects to the process that listens at ``path``, else to one that ends with the connection."""

    def __init__(self, path: Path, data: Path) -> None:
        self._path = path
        self._data = data
        self._process: subprocess.Popen[bytes] | None = None

    def connect(self) -> socket.socket:
        with suppress(OSError):
            return connect_to(self._path)
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fleet_server", "issuer", "--data", str(self._data)],
                env={**os.environ, HANDED: str(its.fileno())},
                pass_fds=(its.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        ours.settimeout(_STARTING_S)
        try:
            if ours.recv(1) != READY:
                raise ConnectionRefusedError("a process made for the occasion ended before it was ready")
        except OSError:
            ours.close()
            raise
        return ours

    def wait(self) -> None:
        """After the connection was closed."""
        if self._process is not None:
            try:
                self._process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                # It keeps the folder from the next one, and whoever asked from an answer in words.
                self._process.kill()
                self._process.wait()
            self._process = None


def sign_proof(key: ec.EllipticCurvePrivateKey, signed: bytes) -> str:
    return key.sign(signed, ec.ECDSA(hashes.SHA256())).hex()


def _new_request() -> tuple[ec.EllipticCurvePrivateKey, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return key, request.public_bytes(serialization.Encoding.PEM).decode()


def _der(csr: str) -> bytes:
    return x509.load_pem_x509_csr(csr.encode()).public_bytes(serialization.Encoding.DER)


def _loaded(pem: bytes | None) -> ec.EllipticCurvePrivateKey | None:
    if pem is None:
        return None
    with suppress(ValueError, TypeError):
        key = serialization.load_pem_private_key(pem, password=None)
        return key if isinstance(key, ec.EllipticCurvePrivateKey) else None
    return None
