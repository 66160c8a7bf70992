"""Card numbers in every text that a device can say on its line: none may be in what the agent keeps, logs or sends.

The simulated devices answer on real lines (a pty, a Unix socket) with numbers where their name, version, identity,
access point or log stands; the real agent polls them and runs every check that it declares of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from device_agent.core.effects import Publish
from device_agent.logs import ScrubbedFormatter
from protocol.commands import ActionKind
from simulators.peripherals import escpos_printer
from simulators.peripherals.at_commands import COMMANDS, Answer, Form
from simulators.testing.bench import Bench
from simulators.testing.bench_terminal import BenchTerminal
from simulators.testing.recorder import Recorder
from simulators.testing.recording_link import RecordingLink
from tests.protocol.redaction.card_samples import FORMS, generated
from tests.support.card_hunt import inflated, leaks, leaks_in_files

pytestmark = pytest.mark.integration
NUMBERS = generated(108, seed=17)
SHORT = [number for number in NUMBERS if len(number) <= 16]
WRITTEN = [FORMS[form] for form in sorted(FORMS)]
Plant = Callable[[Any, pytest.MonkeyPatch], None]


def into_modem(modem: Any, patch: pytest.MonkeyPatch) -> None:
    for place, name in enumerate(("+CGMI", "+GMI", "+CGMM", "+GMM", "+CGMR", "+GMR", "I")):
        said = f"M {SHORT[place]}"
        patch.setitem(COMMANDS._handlers, (name, Form.RUN), lambda *_, said=said: Answer((said,)))
    state = modem.state
    state.apn, state.imei, state.iccid, state.imsi = SHORT[7], SHORT[8], NUMBERS[-1], SHORT[9]
    state.area, state.cell = SHORT[10], SHORT[11]


def into_zvt(terminal: Any, _patch: pytest.MonkeyPatch) -> None:
    state = terminal._state
    state.software_version, state.device_name = f"SW {SHORT[12]}", f"PT {SHORT[13]}"
    state.serial_number, state.terminal_id = SHORT[14].zfill(16), f"T {SHORT[15]}"


def into_printer(printer: Any, patch: pytest.MonkeyPatch) -> None:
    printer._state.serial_number = SHORT[16]
    for place, item in enumerate((65, 66, 67)):
        patch.setitem(escpos_printer._IDENTITY, item, f"P {SHORT[17 + place]}".encode())


def into_terminal(terminal: Any, _patch: pytest.MonkeyPatch) -> None:
    said = [f"V {number}" for number in SHORT[20:24]]
    terminal.model = replace(terminal.model, model=said[0], firmware=said[1], app_version=said[2])
    terminal.log._model = terminal.model
    terminal.serial_number = SHORT[24]
    for place, name in enumerate(terminal.memory.config):
        terminal.memory.config[name] = SHORT[25 + place % 8]
    for place, write in enumerate(WRITTEN):
        terminal.log.write(datetime.now(UTC), f"told {write(NUMBERS[30 + place])} just now")


# With how many of the numbers arrive at least, masked.
PLANTS: dict[str, tuple[Plant, int]] = {
    "modem": (into_modem, 3),
    "zvt": (into_zvt, 2),
    "escpos": (into_printer, 1),
    "e_sign": (into_terminal, 20),
    "traditional": (into_terminal, 20),
}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with TemporaryDirectory(prefix="tm-") as folder:
        made = Bench(Path(folder))
        yield made
        made.stop()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "agent.log"
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(ScrubbedFormatter())
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    yield path
    root.removeHandler(handler)
    handler.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Whatever the agent hands to its link, as it would go on the wire."""
    kept: list[bytes] = []
    publish = RecordingLink.publish

    def keep(self: RecordingLink, message: Publish) -> None:
        kept.append(message.payload)
        publish(self, message)

    monkeypatch.setattr(RecordingLink, "publish", keep)
    return kept


def run_all(recorder: Recorder, terminal: BenchTerminal) -> int:
    (watched,) = recorder._watched
    ran = 0
    for name in watched.link.actions(watched.device):
        declared = watched.link.action(watched.device, name)
        if declared is not None and declared.kind is ActionKind.CHECK:
            recorder.run_check(terminal, name)
            ran += 1
    return ran


@pytest.mark.parametrize("family", PLANTS)
def test_nothing_that_a_device_says_on_its_line_is_kept_or_sent_whole(
    family: str, bench: Bench, log: Path, sent: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = bench.terminal(family)
    plant, arriving = PLANTS[family]
    plant(terminal.hardware, monkeypatch)
    recorder = bench.recorder()
    assert run_all(recorder, terminal) > 0
    logging.getLogger("tests").warning("the device said %s", NUMBERS[0])
    kept = leaks_in_files(NUMBERS, terminal.folder / "agent")
    kept.pop(str(terminal.folder / "agent" / "enrolment.json"), None)  # what the installer wrote of the device
    wire = b"\n".join(sent)
    readable = b"\n".join([wire, *inflated(wire)]).decode("utf-8", "replace")
    arrived = [number for number in NUMBERS if f"PAN …{number[-4:]}]" in readable]
    assert len(arrived) >= arriving
    assert kept == {}
    assert leaks(NUMBERS, wire) == []
    assert leaks(NUMBERS, log.read_bytes()) == []
    assert "PAN …".encode() in log.read_bytes()
