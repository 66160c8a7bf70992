"""`device-agent enroll`: what was typed becomes an enrolment, and what the machine knows of itself fills the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from device_agent.adapters import enrolment_door
from device_agent.errors import ConfigurationInvalid
from protocol.enrolment import Code, read_code
from protocol.shown_text import one_line

_MAX_CODE_CHARS: Final = 2000
_OWN_SERIAL: Final = (Path("/sys/class/dmi/id/product_serial"), Path("/proc/device-tree/serial-number"))
_OWN_MODEL: Final = (Path("/sys/class/dmi/id/product_name"), Path("/proc/device-tree/model"))


def enroll(
    server: str, code: str, bundle: Path, serial: str, model: str, *, wait_s: float, has_public_name: bool
) -> int:
    """Raises ``AgentError`` with one sentence; run again it goes on where it stopped."""
    url, wanted = _read(server, code)
    if (bundle / "enrolment.json").exists():
        raise ConfigurationInvalid(f"{bundle} holds an identity already: give --bundle another folder, or remove it")
    serial_number = serial or _own(_OWN_SERIAL, "--serial")
    its_model = model or _own(_OWN_MODEL, "--model")
    ca_pem = enrolment_door.fetch_authority(url, wanted, has_public_name=has_public_name)
    link = enrolment_door.enrol(
        enrolment_door.Server(url, ca_pem, has_public_name),
        wanted,
        serial_number,
        its_model,
        bundle,
        wait_s=wait_s,
        say=_say,
    )
    _say(f"Enrolled as {link}: {bundle}")
    return 0


def _read(server: str, text: str) -> tuple[str, Code]:
    """A QR code holds both: ``URL/enrol#CODE``. ``-``: on standard input, as what is typed here all users may read."""
    if text == "-":
        text = sys.stdin.readline(_MAX_CODE_CHARS)
    address, sign, rest = text.strip().partition("#")
    if sign:
        parts = urlsplit(address)
        server, text = server or f"{parts.scheme}://{parts.netloc}", rest
    code = read_code(text)
    if code is None:
        raise ConfigurationInvalid("--code: expected 40 letters and digits in groups of five, came something else")
    if not server:
        raise ConfigurationInvalid("--server: expected https://HOST[:PORT], came nothing")
    return server.rstrip("/"), code


def _own(places: tuple[Path, ...], option: str) -> str:
    for place in places:
        try:
            found = place.read_text("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            continue
        if found:
            return found
    raise ConfigurationInvalid(f"{option}: this machine does not tell it, so it has to be given")


def _say(line: str) -> None:
    sys.stdout.write(one_line(line) + "\n")
