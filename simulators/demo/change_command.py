"""``simulators break``, ``mend``, ``list`` and ``screen``: what a person does to the running demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from simulators.demo.control import ask


def add_change_parsers(subparsers: Any) -> None:
    breaking = subparsers.add_parser("break", help="break a device of the running demo")
    breaking.add_argument("device", help="key, id or serial number")
    breaking.add_argument("fault")
    mending = subparsers.add_parser("mend", help="mend one fault of a device, or all")
    mending.add_argument("device", help="key, id or serial number")
    mending.add_argument("fault", nargs="?")
    listing = subparsers.add_parser("list", help="devices of the running demo and what can be broken")
    reading = subparsers.add_parser("screen", help="what a device of the running demo shows, or has printed last")
    reading.add_argument("device", help="key, id or serial number")
    for parser in (breaking, mending, listing, reading):
        parser.add_argument("--data", type=Path, default=Path(".run"), help="state folder of the demo (default .run)")
    breaking.set_defaults(run=run_change, command="break")
    mending.set_defaults(run=run_change, command="mend")
    listing.set_defaults(run=run_list)
    reading.set_defaults(run=run_screen)


def run_change(arguments: argparse.Namespace) -> int:
    message = {"cmd": arguments.command, "device": arguments.device, "fault": arguments.fault}
    answer = ask(arguments.data / "simulators.sock", message)
    sys.stdout.write(f"{answer['said']}\n")
    return 0


def run_list(arguments: argparse.Namespace) -> int:
    from simulators.demo.rig import listing_text

    answer = ask(arguments.data / "simulators.sock", {"cmd": "list"})
    sys.stdout.write(listing_text(answer["devices"]) + "\n")
    return 0


def run_screen(arguments: argparse.Namespace) -> int:
    answer = ask(arguments.data / "simulators.sock", {"cmd": "screen", "device": arguments.device})
    sys.stdout.write("".join(f"{line}\n" for line in answer["lines"]) or "nothing to read\n")
    return 0
