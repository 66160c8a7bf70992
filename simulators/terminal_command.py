"""`simulators terminal CLASS --socket PATH [--log PATH] [--fault NAME]`: one terminal by itself, until stopped."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from protocol.catalogue.vocabulary import TerminalClass
from simulators.errors import SimulatorError
from simulators.terminal import TRADE_EVERY_S, SimulatedTerminal

_CLASSES = {
    "esign": TerminalClass.E_SIGN,
    "traditional": TerminalClass.TRADITIONAL,
    "smart": TerminalClass.SMART,
    "kiosk": TerminalClass.KIOSK,
}
# Room in a Unix socket's address, on Linux.
MAX_SOCKET_PATH_BYTES = 107


def add_terminal_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("terminal", help="one terminal by itself, reached by its service's socket")
    parser.add_argument("terminal_class", choices=list(_CLASSES), metavar="CLASS", help=", ".join(_CLASSES))
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket of its service")
    parser.add_argument("--log", type=Path, default=None, help="its payment application's log file")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME", help="a cause it begins with")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trade-every", type=float, default=TRADE_EVERY_S, metavar="SECONDS", help="0: never")
    parser.set_defaults(run=run_terminal)


def run_terminal(args: argparse.Namespace) -> int:
    """Serves until SIGINT or SIGTERM; 2 when what was asked for cannot be."""
    terminal = SimulatedTerminal(
        _CLASSES[args.terminal_class],
        seed=args.seed,
        socket_path=args.socket,
        log_path=args.log,
        trade_every_s=args.trade_every,
    )
    path_bytes = len(str(args.socket).encode())
    if path_bytes > MAX_SOCKET_PATH_BYTES:
        return _refuse(f"--socket: expected a path of at most {MAX_SOCKET_PATH_BYTES} bytes, came {path_bytes}")
    # Before it serves: whoever sees the socket may already ask it to stop.
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    try:
        for name in args.fault:
            terminal.apply_fault(name)
        terminal.start()
    except SimulatorError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"--socket {args.socket}: {error.strerror}")
    sys.stdout.write(f"{terminal.model.model} {terminal.serial_number} serves {args.socket}\n")
    sys.stdout.flush()
    stopped.wait()
    terminal.stop()
    return 0


def _refuse(sentence: str) -> int:
    sys.stderr.write(f"simulators terminal: {sentence}\n")
    return 2
