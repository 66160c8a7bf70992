"""``simulators playbook NAME``: what a playbook would do, step by step, on a simulated device, healthy or broken."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulators.errors import FaultUnknown, SimulatorError

if TYPE_CHECKING:
    from protocol.parameters import ParamValue
    from protocol.playbooks.language import Playbook
    from simulators.dry_run.walk import Ended, Stepped

FAMILIES = ("e_sign", "traditional", "smart", "kiosk", "zvt", "escpos", "modem")


class PlaybookUnfit(SimulatorError):
    code = "playbook_unfit"


def add_playbook_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("playbook", help="dry run of a playbook; without a name, list those there are")
    parser.add_argument("playbook", nargs="?", help="a name, or the path of a TOML file")
    parser.add_argument("--on", default="smart", choices=FAMILIES, metavar="FAMILY", help=", ".join(FAMILIES))
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="what is broken; may be repeated")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable that is asked for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=run_playbook)


def run_playbook(arguments: argparse.Namespace) -> int:
    """0; 1 when the walk reached none of the playbook's ends."""
    from protocol.playbooks.reading import shipped
    from simulators.dry_run.virtual_device import VirtualDevice
    from simulators.dry_run.walk import Ended, dry_run

    if arguments.playbook is None:
        for name, one in shipped().items():
            sys.stdout.write(f"{name:<24} {one.title.zh} / {one.title.en}\n")
        return 0
    playbook = _read(arguments.playbook)
    given = _given(playbook, arguments.set)
    device = VirtualDevice(arguments.on, seed=arguments.seed)
    for fault in arguments.fault:
        if fault not in device.hardware.known_faults():
            raise FaultUnknown(fault, device.hardware.known_faults())
        device.hardware.apply_fault(fault)
    for told in dry_run(playbook, device, given):
        sys.stdout.write(_as_json(told) if arguments.json else _in_words(told))
        sys.stdout.flush()
    left = sorted(device.hardware.faults())
    if not arguments.json:
        sys.stdout.write(f"仍有的故障 / left broken: {', '.join(left) or '无 / nothing'}\n")
    return 0 if isinstance(told, Ended) and told.over.end is not None else 1


def _read(name_or_path: str) -> Playbook:
    from protocol.playbooks.checking import PlaybookInvalid
    from protocol.playbooks.reading import read_playbook, shipped

    found = shipped().get(name_or_path)
    if found is not None:
        return found
    try:
        return read_playbook(Path(name_or_path).read_text("utf-8"), name_or_path)
    except PlaybookInvalid as error:
        raise PlaybookUnfit(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped())
        raise PlaybookUnfit(f"{name_or_path}: expected a file in UTF-8 or one of {known}, came {error}") from error


def _given(playbook: Playbook, texts: list[str]) -> dict[str, ParamValue]:
    from protocol.playbooks.checking import check_given, given_from_text

    given = given_from_text(playbook, [text.partition("=")[::2] for text in texts])
    wrong = check_given(playbook, given)
    if wrong:
        raise PlaybookUnfit(f"--set {'; '.join(str(one) for one in wrong)}")
    return given


def _in_words(told: Stepped | Ended) -> str:
    from simulators.dry_run.walk import Ended

    at = f"{told.at_s:8.0f} s  "
    if isinstance(told, Ended):
        if told.over.end is None:
            return f"{at}结束，需要人来看 / over, somebody has to look: {told.over.why}\n"
        end = told.over.end
        parts = f" [{', '.join(end.parts)}]" if end.parts else ""
        return f"{at}{end.kind}{parts}: {end.say.zh}\n{'':12}{end.say.en}\n"
    heard = told.heard
    found = "" if heard is None else f" -> {' '.join(_words_of(heard))}"
    params = f" {json.dumps(dict(told.params), ensure_ascii=False)}" if told.params else ""
    what = told.step.action or f"{told.step.wait_s} s"
    return f"{at}{told.step.title.zh} / {told.step.title.en} ({what}{params}){found}\n"


def _words_of(heard: Any) -> list[str]:
    verdict = [] if heard.verdict is None else [str(heard.verdict)]
    return [str(heard.result), *verdict, *sorted(heard.codes)]


def _as_json(told: Stepped | Ended) -> str:
    from simulators.dry_run.walk import Ended

    line: dict[str, object] = {"at_s": round(told.at_s, 3)}
    if isinstance(told, Ended):
        end = told.over.end
        line |= {"end": None if end is None else end.name, "why": told.over.why}
        line |= {} if end is None else {"as": end.kind, "cause": end.cause, "parts": end.parts, "to": end.to}
    else:
        heard = told.heard
        line |= {"step": told.step.name, "action": told.step.action or None, "params": dict(told.params)}
        line |= {"result": None if heard is None else heard.result, "verdict": None if heard is None else heard.verdict}
        line |= {"codes": [] if heard is None else sorted(heard.codes)}
    return json.dumps(line, ensure_ascii=False) + "\n"
