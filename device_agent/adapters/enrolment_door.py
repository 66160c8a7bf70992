"""``device-agent enroll``: from a code to a bundle, with a key that is made here and never leaves.

Order matters. The authority's certificate is fetched from whoever answers, and believed only when its fingerprint is
the code's; the code's secret goes only to a peer whose own certificate leads to that. The key is on disk before it is
asked about, so that a device that was cut off asks again with the same one and gets the same answer.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from device_agent.adapters import identity_files
from device_agent.adapters.mqtt_link import NO_CHECK_TIME
from device_agent.errors import AgentError
from protocol import codec
from protocol.enrolment import (
    Code,
    Enrolled,
    EnrolRequest,
    Pending,
    Renewed,
    RenewRequest,
    enrol_proof_bytes,
    fingerprint,
    renew_proof_bytes,
)
from protocol.errors import Malformed

ANSWER_S: Final = 20.0
MAX_ANSWER: Final = 64 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class EnrolmentFailed(AgentError):
    """``code`` of the instance is the server's, where it gave one."""

    code = "enrolment_failed"

    def __init__(self, detail: str, code: str = "") -> None:
        super().__init__(detail)
        self.reason = code


@dataclass(frozen=True, slots=True)
class Server:
    """``ca_pem`` None: nothing is believed of what it says. ``has_public_name``: a proxy with a certificate of a public
    authority stands in front. ``hears_no_secret``: what it is told is worth nothing to another, and what it says is
    believed for other reasons; then this machine's clock decides nothing either.
    """

    url: str
    ca_pem: str | None = None
    has_public_name: bool = False
    hears_no_secret: bool = False

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"} if body else {}
        with self.answering(method, path, body, headers) as answer:
            return answer.status, answer.read(MAX_ANSWER)

    @contextmanager
    def answering(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer as it comes; what breaks while it is read is told as ``EnrolmentFailed`` too."""
        parts = urlsplit(self.url)
        link = self._link(parts.scheme, parts.hostname or "", parts.port)
        try:
            link.request(method, path, body, dict(headers))
            yield link.getresponse()
        except ssl.SSLCertVerificationError as error:
            raise EnrolmentFailed(
                f"{self.url} does not show a certificate of the authority in the code: {error.verify_message}; "
                "somebody stands between, or the code is another server's",
                "server_not_trusted",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise EnrolmentFailed(f"{self.url} is not reached: {error}", "server_not_reached") from error
        finally:
            link.close()

    def _link(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http" and host in _LOOPBACK:
            return http.client.HTTPConnection(host, port, timeout=ANSWER_S)
        if scheme != "https" or not host:
            raise EnrolmentFailed(f"expected https://HOST[:PORT] (http on loopback only), came {self.url[:200]!r}")
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_S, context=self._context())

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.has_public_name:
            context.load_default_certs()
        elif self.ca_pem is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.ca_pem is not None:
            context.load_verify_locations(cadata=self.ca_pem)
            if self.hears_no_secret or not self.has_public_name:
                # A device that has just left its box may think that it is 1970.
                context.verify_flags |= ssl.VerifyFlags(NO_CHECK_TIME)
        return context


def fetch_authority(url: str, code: Code, *, has_public_name: bool) -> str:
    """The authority's certificate as PEM. Raises ``EnrolmentFailed`` unless it is the one in the code."""
    status, answer = Server(url, None, has_public_name).ask("GET", "/enrol/v1/authority")
    pem = answer.decode("ascii", "replace")
    try:
        der = ssl.PEM_cert_to_DER_cert(pem)
    except ValueError as error:
        raise EnrolmentFailed(f"{url} answered {status} without a certificate", "server_not_trusted") from error
    if fingerprint(der) != code.fingerprint:
        raise EnrolmentFailed(
            f"the authority at {url} is not the one in the code: somebody stands between, or the code is another "
            "server's; nothing was sent",
            "server_not_trusted",
        )
    return pem


def enrol(
    server: Server,
    code: Code,
    serial_number: str,
    model: str,
    bundle: Path,
    *,
    wait_s: float,
    say: Callable[[str], None],
) -> str:
    """The link's id. Raises ``EnrolmentFailed``; asks again while a person has not decided, for ``wait_s``."""
    key = identity_files.pending_key(bundle)
    csr, der = identity_files.signing_request(key)
    proof = identity_files.sign(key, enrol_proof_bytes(code.secret, serial_number, model, der))
    body = codec.to_json(EnrolRequest(code.secret, serial_number, model, csr, proof))
    give_up_s = time.monotonic() + wait_s
    while True:
        status, answer = server.ask("POST", "/enrol/v1/requests", body)
        if status == 200:
            enrolled = _as(answer, Enrolled)
            return identity_files.keep_bundle(bundle, enrolled, server.ca_pem or "", key)
        if status != 202:
            _refused(status, answer)
        pause_s = float(_as(answer, Pending).retry_after_s)
        if time.monotonic() + pause_s > give_up_s:
            raise EnrolmentFailed("nobody has let this device in yet: run the same command again", "pending")
        say("A person has to let this device in; asking again …")
        time.sleep(pause_s)


def renew(server: Server, link: str, present: identity_files.Identity, key: identity_files.Key) -> str | None:
    """The new certificate for ``key``; None: a person has to let this device in again."""
    csr, der = identity_files.signing_request(key)
    proof = identity_files.sign(present.key, renew_proof_bytes(link, der))
    status, answer = server.ask("POST", "/enrol/v1/renewals", codec.to_json(RenewRequest(link, csr, proof)))
    if status == 202:
        return None
    if status != 200:
        _refused(status, answer)
    renewed: Renewed = _as(answer, Renewed)
    return renewed.certificate


def _as(answer: bytes, kind: type[Any]) -> Any:
    value = codec.from_json(answer, kind)
    if isinstance(value, Malformed):
        raise EnrolmentFailed(f"the server's answer is not understood: {value.detail}", "answer_not_understood")
    return value


def _refused(status: int, answer: bytes) -> NoReturn:
    try:
        said = json.loads(answer)
        code, detail = str(said["code"])[:60], str(said["detail"])[:300]
    except (ValueError, KeyError, TypeError, RecursionError):
        code, detail = "", f"answer {status}"
    raise EnrolmentFailed(f"the server refuses: {detail}", code)
