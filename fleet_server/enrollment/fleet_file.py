"""The fleet file: sites and devices as an operator writes them down, read once into typed values.

Rules beyond the types: keys and serial numbers are unique; an attached device names a gateway of the file and a line
that no other uses; a time zone exists; hours are ``HH:MM``, where an end before its beginning is past midnight.
"""

from __future__ import annotations

import zoneinfo
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from msgspec import Meta

from fleet_server.enrollment.errors import FleetFileInvalid
from protocol.catalogue.vocabulary import TerminalClass
from protocol.codec import UNREADABLE
from protocol.session import MAX_ATTACHED, LineName

MAX_FILE_BYTES = 512 * 1024 * 1024
MAX_DEVICES = 1_000_000

# Also a folder name of the device's bundle.
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
Text80 = Annotated[str, Meta(max_length=80)]
Text120 = Annotated[str, Meta(min_length=1, max_length=120)]
Number32 = Annotated[str, Meta(min_length=1, max_length=32)]
Hour = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)\Z")]


class DeviceKind(StrEnum):
    TERMINAL = "terminal"
    GATEWAY = "gateway"
    ATTACHED = "attached"


class Named(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    zh: Text120
    en: Text120


class Place(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    zh: Text80 = ""
    en: Text80 = ""


class SiteEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Key
    merchant_id: Number32
    merchant_name: Named
    site_name: Named
    timezone: Annotated[str, Meta(max_length=64)]
    city: Place = Place()
    phone: Annotated[str, Meta(max_length=32)] = ""
    contact_name: Text80 = ""
    address: Annotated[str, Meta(max_length=240)] = ""
    trading_hours: Annotated[list[tuple[Hour, Hour]], Meta(max_length=8)] | None = None


class DeviceEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Key
    site: Key
    kind: DeviceKind
    serial_number: Annotated[str, Meta(min_length=1, max_length=64)]
    model: Annotated[str, Meta(min_length=1, max_length=80)]
    terminal_class: TerminalClass
    label: Named
    attached_to: Key | None = None
    line: LineName | None = None
    terminal_id: Number32 | None = None
    sim_phone: Number32 | None = None


class FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sites: Annotated[list[SiteEntry], Meta(max_length=MAX_DEVICES)]
    devices: Annotated[list[DeviceEntry], Meta(max_length=MAX_DEVICES)]


def read_fleet_file(path: Path) -> FleetFile:
    """Raises ``FleetFileInvalid`` naming the file, the place in it, what was expected and what came."""
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FleetFileInvalid(f"{path}: {size} bytes, limit {MAX_FILE_BYTES}")
        fleet = msgspec.json.decode(path.read_bytes(), type=FleetFile)
    except OSError as error:
        raise FleetFileInvalid(f"{path} cannot be read: {error.strerror}") from error
    except UNREADABLE as error:
        raise FleetFileInvalid(f"{path}: {error}") from error
    _Checker(path, fleet).check()
    return fleet


class _Checker:
    def __init__(self, path: Path, fleet: FleetFile) -> None:
        self._path = path
        self._fleet = fleet
        self._devices = {device.key: device for device in fleet.devices}
        self._sites = {site.key for site in fleet.sites}
        self._attached: Counter[str] = Counter()

    def check(self) -> None:
        sites, devices = self._fleet.sites, self._fleet.devices
        self._check_unique("sites", "key", (site.key for site in sites))
        self._check_unique("devices", "key", (device.key for device in devices))
        self._check_unique("devices", "serial_number", (device.serial_number for device in devices))
        known_zones = zoneinfo.available_timezones()
        for index, site in enumerate(sites):
            if site.timezone not in known_zones:
                self._refuse(f"sites[{index}].timezone", "a name such as Asia/Shanghai", site.timezone)
            for begin, end in site.trading_hours or ():
                if begin == end:
                    self._refuse(f"sites[{index}].trading_hours", "an end that differs", f"{begin} to {end}")
        taken: set[tuple[str, str]] = set()
        for index, device in enumerate(devices):
            self._check_device(f"devices[{index}]", device, taken)

    def _check_device(self, place: str, device: DeviceEntry, taken: set[tuple[str, str]]) -> None:
        if device.site not in self._sites:
            self._refuse(f"{place}.site", "a key of sites", device.site)
        if device.kind is not DeviceKind.ATTACHED:
            if device.attached_to is not None or device.line is not None:
                self._refuse(f"{place}.kind", "attached, because it names a line", device.kind.value)
            return
        host = self._devices.get(device.attached_to or "")
        if host is None or host.kind is not DeviceKind.GATEWAY:
            self._refuse(f"{place}.attached_to", "the key of a gateway", device.attached_to)
        if device.line is None:
            self._refuse(f"{place}.line", "the name of a line of the gateway", None)
        if (host.key, device.line) in taken:
            self._refuse(f"{place}.line", "a line that no other device uses", device.line)
        taken.add((host.key, device.line))
        self._attached[host.key] += 1
        if self._attached[host.key] > MAX_ATTACHED:
            self._refuse(f"{place}.attached_to", f"at most {MAX_ATTACHED} devices on a gateway", host.key)

    def _check_unique(self, table: str, column: str, values: Iterable[str]) -> None:
        seen: set[str] = set()
        for index, value in enumerate(values):
            if value in seen:
                self._refuse(f"{table}[{index}].{column}", "a value that no earlier entry has", value)
            seen.add(value)

    def _refuse(self, place: str, expected: str, came: str | None) -> NoReturn:
        raise FleetFileInvalid(f"{self._path}: at $.{place}: expected {expected}, came {came!r}")
