"""`simulators serial zvt|escpos|modem --link PATH [--tcp HOST:PORT] [--fault NAME]`: one peripheral, for any program.

Runs until it is interrupted. The simulated device stands alone: no agent, no server, no broker.
"""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from simulators.errors import SimulatorError

if TYPE_CHECKING:
    import argparse

    from simulators.peripherals.peripheral import Peripheral

FAMILIES = ("zvt", "escpos", "modem")


class AddressInvalid(SimulatorError):
    code = "address_invalid"


def add_serial_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("serial", help="one simulated peripheral on a pty or TCP port, for any program")
    parser.add_argument("family", choices=FAMILIES)
    parser.add_argument("--link", type=Path, help="stable path that leads to the pty")
    parser.add_argument("--tcp", metavar="HOST:PORT", help="also answer here (port 0: any free one)")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="break it so from the start")
    parser.add_argument("--seed", type=int, default=1, help="seed of the line's noise")
    parser.set_defaults(run=run_serial)


def run_serial(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; 2 and one sentence when it cannot start."""
    from simulators.serial_line import SerialLine

    # Before it serves: whoever sees the line may already ask it to stop.
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        tcp = _address(args.tcp) if args.tcp else None
        line = SerialLine(make_peripheral(args.family), seed=args.seed, link=args.link, tcp=tcp)
        for name in args.fault:
            line.apply_fault(name)
        line.start()
    except (SimulatorError, OSError) as error:
        sys.stderr.write(f"simulators serial: {error}\n")
        return 2
    places = [line.path] if line.path else []
    places += [f"tcp://{line.tcp_address[0]}:{line.tcp_address[1]}"] if line.tcp_address else []
    sys.stdout.write(f"{args.family} on {' and '.join(places)}\n")
    sys.stdout.flush()
    stop.wait()
    line.stop()
    return 0


def make_peripheral(family: str) -> Peripheral:
    from simulators.peripherals.at_modem import AtModem
    from simulators.peripherals.escpos_printer import EscposPrinter
    from simulators.peripherals.zvt_terminal import ZvtTerminal

    match family:
        case "zvt":
            return ZvtTerminal()
        case "escpos":
            return EscposPrinter()
        case _:
            return AtModem()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise AddressInvalid(f"expected HOST:PORT, got {text[:64]!r}")
    return host.strip("[]"), int(port)
