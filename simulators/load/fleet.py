"""The fleet that a load run enrols: links with what hangs on them, written down as a fleet file and read back from the
bundles that enrolment makes.

Keys and numbers follow from the place of a device, so that a second run on the same folder finds the same fleet.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from protocol.codec import UNREADABLE
from protocol.identifiers import LinkId
from protocol.session import MAX_ATTACHED
from protocol.signing import Envelope, Policy
from simulators.errors import SimulatorError

MAX_LINKS: Final = 20_000  # as many as the broker's configuration lets in
TERMINAL_CLASS: Final = "traditional"
_CITIES: Final = (("上海", "Shanghai"), ("成都", "Chengdu"), ("西安", "Xi'an"), ("广州", "Guangzhou"))


class FleetTooLarge(SimulatorError):
    code = "fleet_too_large"


class BundleUnreadable(SimulatorError):
    code = "bundle_unreadable"


@dataclass(frozen=True, slots=True)
class FleetSize:
    links: int
    attached: int  # to each link

    def __post_init__(self) -> None:
        if not 1 <= self.links <= MAX_LINKS:
            raise FleetTooLarge(f"expected 1 to {MAX_LINKS} links, came {self.links}")
        if not 0 <= self.attached <= MAX_ATTACHED:
            raise FleetTooLarge(f"expected 0 to {MAX_ATTACHED} devices on a link, came {self.attached}")

    @property
    def terminals(self) -> int:
        """What a desk counts: the attached ones, or the links themselves where nothing is attached."""
        return self.links * (self.attached or 1)


@dataclass(frozen=True, slots=True)
class Bundle:
    """``attached``: device ids by line, in the order of lines."""

    link: LinkId
    attached: dict[str, str]
    folder: Path
    host: str
    port: int


class _Enrolment(msgspec.Struct, frozen=True):
    link: str
    attached: dict[str, str]
    broker: dict[str, Any]


def link_key(place: int) -> str:
    return f"load-{place:05d}"


def write_fleet_file(path: Path, size: FleetSize) -> None:
    """One entry a line; a file of 400,000 devices is never in memory as a whole."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("w", encoding="utf-8") as file:
        file.write('{"sites":[\n')
        file.writelines(_lines(_site(place) for place in range(size.links)))
        file.write('],"devices":[\n')
        file.writelines(_lines(_devices(size)))
        file.write("]}\n")
    beside.chmod(0o600)
    beside.replace(path)


def read_bundles(agents: Path, size: FleetSize) -> list[Bundle]:
    """Raises ``BundleUnreadable`` for the first link that was not enrolled."""
    return [_read_bundle(agents / link_key(place)) for place in range(size.links)]


def read_policy(path: Path) -> Policy:
    """Not verified: it lies in the folder of the server that runs here."""
    envelope = msgspec.json.decode(path.read_bytes(), type=Envelope)
    return msgspec.json.decode(base64.b64decode(envelope.payload), type=Policy)


def _read_bundle(folder: Path) -> Bundle:
    try:
        found = msgspec.json.decode((folder / "enrolment.json").read_bytes(), type=_Enrolment)
    except (OSError, *UNREADABLE) as error:
        raise BundleUnreadable(f"expected an enrolment bundle in {folder}, came {error}") from error
    attached = dict(sorted(found.attached.items()))
    return Bundle(LinkId(found.link), attached, folder, str(found.broker["host"]), int(found.broker["port"]))


def _lines(entries: Iterator[dict[str, Any]]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        yield ("," if number else "") + json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n"


def _site(place: int) -> dict[str, Any]:
    zh, en = _CITIES[place % len(_CITIES)]
    return {
        "key": link_key(place),
        "merchant_id": f"8{place:014d}",
        "merchant_name": {"zh": f"模拟商户 {place}", "en": f"Simulated merchant {place}"},
        "site_name": {"zh": f"模拟门店 {place}", "en": f"Simulated site {place}"},
        "city": {"zh": zh, "en": en},
        "timezone": "Asia/Shanghai",
    }


def _devices(size: FleetSize) -> Iterator[dict[str, Any]]:
    for place in range(size.links):
        key = link_key(place)
        kind = "gateway" if size.attached else "terminal"
        yield _device(key, key, kind, None, None, place)
        for number in range(size.attached):
            yield _device(f"{key}-{number:03d}", key, "attached", key, f"l{number:03d}", place)


def _device(key: str, site: str, kind: str, host: str | None, line: str | None, place: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "key": key,
        "site": site,
        "kind": kind,
        "serial_number": f"LOAD{key[4:]}",
        "model": "SIM-1",
        "terminal_class": TERMINAL_CLASS,
        "label": {"zh": f"模拟终端 {key[5:]}", "en": f"Simulated terminal {key[5:]}"},
    }
    if kind != "gateway":
        entry["terminal_id"] = f"{place % 100_000:05d}{key[-3:]}"
    if host is not None:
        entry |= {"attached_to": host, "line": line}
    return entry
