"""``simulators``: stand-ins for hardware and network, alone or together as the demo. Imports what a command needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from protocol.shown_text import harmless_stream
from simulators.errors import SimulatorError


def main(arguments: list[str] | None = None) -> int:
    """Exit code 2 and one sentence for what the caller can put right."""
    if arguments is None:
        sys.stdout, sys.stderr = harmless_stream(sys.stdout), harmless_stream(sys.stderr)
    argv = sys.argv[1:] if arguments is None else arguments
    parser = _parser(argv[0] if argv else "")
    parsed = parser.parse_args(argv)
    run: Callable[[argparse.Namespace], int] = parsed.run
    try:
        return run(parsed)
    except SimulatorError as error:
        sys.stderr.write(f"simulators: {error}\n")
        return 2


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulators", description="Stand-ins for payment hardware and its network.")
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    known = {
        "demo": _add_demo,
        "break": _add_changes,
        "mend": _add_changes,
        "list": _add_changes,
        "screen": _add_changes,
        "serial": _add_serial,
        "terminal": _add_terminal,
        "run": _add_scenario,
        "playbook": _add_playbook,
        "load": _add_load,
    }
    adders = [known[command]] if command in known else list(dict.fromkeys(known.values()))
    for add in adders:
        add(subparsers)
    return parser


def _add_demo(subparsers: Any) -> None:
    from simulators.demo.start import add_demo_parser

    add_demo_parser(subparsers)


def _add_changes(subparsers: Any) -> None:
    from simulators.demo.change_command import add_change_parsers

    add_change_parsers(subparsers)


def _add_serial(subparsers: Any) -> None:
    from simulators.serial_command import add_serial_parser

    add_serial_parser(subparsers)


def _add_terminal(subparsers: Any) -> None:
    from simulators.terminal_command import add_terminal_parser

    add_terminal_parser(subparsers)


def _add_scenario(subparsers: Any) -> None:
    from simulators.scenario_command import add_scenario_parser

    add_scenario_parser(subparsers)


def _add_playbook(subparsers: Any) -> None:
    from simulators.playbook_command import add_playbook_parser

    add_playbook_parser(subparsers)


def _add_load(subparsers: Any) -> None:
    from simulators.load.command import add_load_parser

    add_load_parser(subparsers)


if __name__ == "__main__":
    raise SystemExit(main())
