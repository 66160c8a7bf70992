"""`device-agent`: run the agent, or ask the one that runs. What is wrong with the set-up is one sentence each."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from device_agent.errors import AgentError, ConfigurationInvalid
from device_agent.logs import catch_crashes, configure_logs
from protocol.redaction import scrub
from protocol.shown_text import harmless_stream, one_line

DEFAULT_CONFIG: Final = Path("agent.toml")
EXIT_FAILED: Final = 1
EXIT_MISUSED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    if arguments is None:
        # What devices say is shown and logged; it must not steer the terminal of whoever reads it.
        sys.stdout, sys.stderr = harmless_stream(sys.stdout), harmless_stream(sys.stderr)
    options = _parser().parse_args(arguments)
    configure_logs(logging.DEBUG if options.verbose else logging.INFO)
    try:
        return _COMMANDS.get(options.command, _ask)(options)
    except ConfigurationInvalid as error:
        return _said(str(error), EXIT_MISUSED)
    except AgentError as error:
        return _said(str(error), EXIT_FAILED)
    except BrokenPipeError:
        # Whoever read the answer has seen enough.
        return EXIT_FAILED


def _run(options: argparse.Namespace) -> int:
    from device_agent.bootstrap import build
    from device_agent.config import load

    config = load(options.config)
    catch_crashes()
    agent = build(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: agent.stop())
    agent.run()
    return 0


def _enroll(options: argparse.Namespace) -> int:
    from device_agent.enrolling import enroll

    return enroll(
        options.server,
        options.code,
        options.bundle,
        options.serial,
        options.model,
        wait_s=options.wait,
        has_public_name=options.public_tls,
    )


def _ask(options: argparse.Namespace) -> int:
    from device_agent import command_line
    from device_agent.config import load

    config = load(options.config)
    match options.command:
        case "status":
            return command_line.status(config, as_json=options.json)
        case "check":
            return command_line.check(config, options.action, options.device, options.param, as_json=options.json)
        case "fixes":
            return command_line.fixes(config, as_json=options.json)
        case "bundle":
            return command_line.bundle(config, options.out, options.log_kib)
        case _:
            return command_line.doctor(config, as_json=options.json)


_COMMANDS: Final = {"run": _run, "enroll": _enroll}


def _said(sentence: str, exit_code: int) -> int:
    sys.stderr.write(f"device-agent: {one_line(scrub(sentence).text)}\n")
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="device-agent", description=__doc__)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="the agent's TOML file (agent.toml)")
    shared.add_argument("--verbose", action="store_true", help="log what the libraries say as well")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", parents=[shared], help="run the agent until it is stopped")
    _add_enroll(commands)
    _add_bundle(commands, shared)
    for name, words in (
        ("status", "how the running agent is: connection, spool, devices, faults"),
        ("fixes", "what can be done to the devices here (started by a signed command only)"),
        ("doctor", "what is wrong with the set-up: certificate, broker, clock, spool, lines"),
        ("check", "run a check (it changes nothing); without a name, list them"),
    ):
        command = commands.add_parser(name, parents=[shared], help=words)
        command.add_argument("--json", action="store_true", help="for programs")
        if name == "check":
            command.add_argument("action", nargs="?", help="name of the check")
            command.add_argument("--device", default="", help="id of the device; the agent's own when left out")
            command.add_argument("param", nargs="*", metavar="NAME=VALUE", help="parameters of the check")
    return parser


def _add_bundle(commands: argparse._SubParsersAction[argparse.ArgumentParser], shared: argparse.ArgumentParser) -> None:
    words = "logs, configuration, versions and traces as one file, without card data"
    command = commands.add_parser("bundle", parents=[shared], help=words)
    command.add_argument("--out", type=Path, required=True, help="the file to write (tar, gzip)")
    command.add_argument("--log-kib", type=_log_kib, default=1024, help="how much of each log, KiB (1024)")


def _log_kib(text: str) -> int:
    from device_agent.bundling import MAX_LOG_KIB

    value = int(text)
    if not 1 <= value <= MAX_LOG_KIB:
        raise argparse.ArgumentTypeError(f"expected 1 to {MAX_LOG_KIB}, came {value}")
    return value


def _add_enroll(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = commands.add_parser("enroll", help="become part of a fleet: with a code, by a key that is made here")
    command.add_argument("--server", default="", help="https://HOST[:PORT]; left out when the code has it (QR code)")
    command.add_argument(
        "--code",
        required=True,
        help="the code, or the text of its QR code; -: from standard input",
    )
    command.add_argument("--bundle", type=Path, default=Path("bundle"), help="folder for the identity (bundle)")
    command.add_argument("--serial", default="", help="serial number; left out: as this machine tells it")
    command.add_argument("--model", default="", help="model; left out: as this machine tells it")
    command.add_argument("--wait", type=float, default=600.0, help="seconds to wait for a person's decision")
    command.add_argument(
        "--public-tls", action="store_true", help="a proxy with a certificate of a public authority stands in front"
    )
    command.add_argument("--verbose", action="store_true", help="log what the libraries say as well")


if __name__ == "__main__":
    sys.exit(main())
