"""The server's door of software: HTTPS to whoever leads to the enrolment's authority, with this device's pass."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from device_agent.adapters import identity_files
from device_agent.adapters.enrolment_door import EnrolmentFailed, Server
from device_agent.software.errors import SoftwareUnreachable
from device_agent.software.parts import CHUNK, Answer
from protocol.artifacts import DevicePass, pass_bytes, pass_header

_PARTIAL = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15}|\*)")


@dataclass(frozen=True, slots=True)
class SoftwareDoor:
    """``now_ms``: by the trusted clock."""

    url: str
    bundle: Path
    state: Path
    link: str
    now_ms: Callable[[], int]

    @contextmanager
    def fetch(self, path: str, offset: int) -> Iterator[Answer]:
        """Raises ``SoftwareUnreachable``."""
        headers = {"Authorization": self._pass()}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        ca_pem = (self.bundle / "ca.crt").read_text("ascii")
        # What comes is believed for its signatures; the pass says nothing that another could use.
        server = Server(self.url, ca_pem, has_public_name=True, hears_no_secret=True)
        try:
            with server.answering("GET", path, None, headers) as answer:
                yield Answer(answer.status, _offset(answer, offset), _chunks(answer))
        except EnrolmentFailed as error:
            raise SoftwareUnreachable(str(error)) from error

    def _pass(self) -> str:
        mine = identity_files.load_identity(self.bundle, self.state, self.link)
        at_ms = self.now_ms()
        chain = x509.load_pem_x509_certificates(mine.certificate_file.read_bytes())[:2]
        shown = [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain]
        return pass_header(
            DevicePass(self.link, at_ms, shown, identity_files.sign(mine.key, pass_bytes(self.link, at_ms)))
        )


def _offset(answer: HTTPResponse, asked: int) -> int:
    """Where the answer begins. A server, or a proxy, that knows no ranges gives the whole."""
    if answer.status != 206:
        return 0
    said = _PARTIAL.fullmatch(answer.getheader("Content-Range") or "")
    if said is None or int(said[1]) != asked:
        raise SoftwareUnreachable(f"expected what begins at byte {asked}, came {answer.getheader('Content-Range')!r}")
    return asked


def _chunks(answer: HTTPResponse) -> Iterator[bytes]:
    while piece := answer.read1(CHUNK):
        yield piece
