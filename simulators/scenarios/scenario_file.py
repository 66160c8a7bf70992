"""A scenario as it is written down, read once into a typed value.

    title = { zh = "打印机缺纸", en = "The printer runs out of paper" }
    seed = 1                      # of everything that is left to chance
    lasts_s = 900
    poll_s = 1                    # how often the agent looks at each device

    [[devices]]
    key = "prn1"                  # a key of the demo's fleet, so that the same file runs into a demo
    family = "escpos"             # zvt, escpos, modem, e_sign, smart, traditional, kiosk

    [[events]]                    # one of: break, mend, reboot
    at_s = 60
    device = "prn1"
    break = "paper_out"
    shows = ["escpos.eot4.paper_end"]   # codes that must be reported before the end

    [[random]]                    # so many times one of these faults, each for a while, where the seed puts them
    device = "prn1"
    faults = ["paper_out", "cover_open"]
    count = 4
    between_s = [100, 800]
    lasts_s = [20, 60]

A wrong file is refused with one sentence: file, key, what was expected, what came.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated, Final, NoReturn

import msgspec
from msgspec import Meta

from protocol.toml_text import TomlWrong, read_toml
from simulators.errors import SimulatorError
from simulators.fault_plan import DeviceKind, faults_for

MAX_FILE_BYTES: Final = 256 * 1024
_SUFFIX: Final = ".toml"

Seconds = Annotated[float, Meta(ge=0, le=30 * 86_400)]
Span = tuple[Seconds, Seconds]
Name = Annotated[str, Meta(min_length=1, max_length=64)]


class ScenarioInvalid(SimulatorError):
    code = "scenario_invalid"


class Title(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    zh: Annotated[str, Meta(min_length=1, max_length=120)]
    en: Annotated[str, Meta(min_length=1, max_length=120)]


class ScenarioDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
    family: Annotated[str, Meta(pattern="^(zvt|escpos|modem|e_sign|smart|traditional|kiosk)$")]
    trade_every_s: Annotated[float, Meta(ge=0, le=86_400)] = 120.0  # terminals of their own; 0: they do not trade


class ScenarioEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"break_": "break"}):
    at_s: Seconds
    device: Name
    break_: Name | None = None
    mend: Name | None = None
    reboot: bool = False
    shows: Annotated[list[Name], Meta(max_length=16)] = []


class RandomFaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: Name
    faults: Annotated[list[Name], Meta(min_length=1, max_length=32)]
    count: Annotated[int, Meta(ge=1, le=1000)]
    between_s: Span
    lasts_s: Span


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: Title
    seed: Annotated[int, Meta(ge=0, le=2**31)]
    lasts_s: Annotated[float, Meta(gt=0, le=30 * 86_400)]
    devices: Annotated[list[ScenarioDevice], Meta(min_length=1, max_length=32)]
    poll_s: Annotated[float, Meta(ge=0.1, le=3600)] = 5.0
    events: Annotated[list[ScenarioEvent], Meta(max_length=1000)] = []
    random: Annotated[list[RandomFaults], Meta(max_length=64)] = []


def known_scenarios() -> tuple[str, ...]:
    """The names of those that come with the product."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX)))


def read_scenario(name_or_path: str) -> Scenario:
    """Raises `ScenarioInvalid`."""
    known = known_scenarios()
    if name_or_path in known:
        place = f"{name_or_path}{_SUFFIX}"
        text = resources.files(__package__).joinpath(place).read_text("utf-8")
    else:
        place = name_or_path
        text = _read(Path(name_or_path), known)
    try:
        scenario = read_toml(text, Scenario)
    except TomlWrong as error:
        raise ScenarioInvalid(f"{place}: {error}") from error
    _Checker(place, scenario).check()
    return scenario


def _read(path: Path, known: tuple[str, ...]) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ScenarioInvalid(f"{path}: expected at most {MAX_FILE_BYTES} bytes, came {path.stat().st_size}")
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ScenarioInvalid(f"{path}: expected UTF-8, came other bytes at {error.start}") from error
    except OSError as error:
        raise ScenarioInvalid(
            f"{path}: expected a file or one of {', '.join(known)}, came {error.strerror or error}"
        ) from error


class _Checker:
    """What the types do not say: devices are known, times in order, faults fit."""

    def __init__(self, place: str, scenario: Scenario) -> None:
        self._place = place
        self._scenario = scenario
        self._families = {device.key: device.family for device in scenario.devices}

    def check(self) -> None:
        keys = [device.key for device in self._scenario.devices]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                self._refuse(f"devices[{index}].key", "a key that no earlier device has", key)
        for index, event in enumerate(self._scenario.events):
            self._check_event(f"events[{index}]", event)
        for index, random in enumerate(self._scenario.random):
            self._check_random(f"random[{index}]", random)

    def _check_event(self, key: str, event: ScenarioEvent) -> None:
        self._check_device(key, event.device)
        acts = [name for name in (event.break_, event.mend) if name is not None] + (["reboot"] if event.reboot else [])
        if len(acts) != 1:
            self._refuse(key, "one of break, mend, reboot", str(len(acts)))
        if event.at_s > self._scenario.lasts_s:
            self._refuse(f"{key}.at_s", f"at most lasts_s ({self._scenario.lasts_s:g})", f"{event.at_s:g}")
        if event.break_ is not None:
            self._check_fault(f"{key}.break", event.device, event.break_)
        if event.mend is not None:
            self._check_fault(f"{key}.mend", event.device, event.mend)
        if event.reboot and self._families[event.device] in {"zvt", "escpos", "modem"}:
            self._refuse(f"{key}.reboot", "a terminal of its own", self._families[event.device])

    def _check_random(self, key: str, random: RandomFaults) -> None:
        self._check_device(key, random.device)
        for fault in random.faults:
            self._check_fault(f"{key}.faults", random.device, fault)
        for name, (low, high) in (("between_s", random.between_s), ("lasts_s", random.lasts_s)):
            if low > high:
                self._refuse(f"{key}.{name}", "a lower and a higher number", f"{low:g} and {high:g}")
        if random.between_s[1] > self._scenario.lasts_s:
            self._refuse(
                f"{key}.between_s", f"at most lasts_s ({self._scenario.lasts_s:g})", f"{random.between_s[1]:g}"
            )

    def _check_device(self, key: str, device: str) -> None:
        if device not in self._families:
            self._refuse(f"{key}.device", f"one of {', '.join(self._families)}", device)

    def _check_fault(self, key: str, device: str, fault: str) -> None:
        known = [one.name for one in faults_for(DeviceKind(self._families[device]))]
        if fault not in known:
            self._refuse(key, f"a fault of {self._families[device]} ({', '.join(known)})", fault)

    def _refuse(self, key: str, expected: str, came: str) -> NoReturn:
        raise ScenarioInvalid(f"{self._place}: {key}: expected {expected}, came {came[:60]!r}")
