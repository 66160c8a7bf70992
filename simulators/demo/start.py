"""``simulators demo``: starts everything in order, says what it does, owns it all, stops it all.

Order: state folder and lock, ``fleet-server init``, broker, hardware, fleet server, agents. Everything runs as a
process of its own except the simulated hardware, which lives here. A second start on the same folder goes on with the
same data; a second demo on a folder in use is refused.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import queue
import sys
import time
from pathlib import Path
from typing import IO, Any

from simulators.broker import find_mosquitto, free_port, is_free
from simulators.demo.control import ControlSocket, Request
from simulators.demo.installation import Installation, initialise, wait_until_ready, wait_until_up, write_private
from simulators.demo.rig import Rig
from simulators.errors import SimulatorError
from simulators.processes import Child
from simulators.stop_signals import StopAsked, StopSignals

DEFAULT_PORT = 8700
# A Unix socket's path has at most 107 bytes; the longest below the state folder is an agent's control socket.
MAX_DATA_BYTES = 107 - len("/agents/esign1/state/control.sock")
_MAX_RESTARTS = 3
_RESTARTS_WITHIN_S = 60.0


class DemoCannotStart(SimulatorError):
    code = "demo_cannot_start"


def add_demo_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("demo", help="the whole product with a small fleet of simulated terminals")
    parser.add_argument("--data", type=Path, default=Path(".run"), help="state folder (default .run)")
    parser.add_argument("--host", default="127.0.0.1", help="address of the console (other than loopback: https)")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"port of the console (default {DEFAULT_PORT})")
    parser.add_argument(
        "--database-url",
        default=os.environ.get("TILLMEDIC_DATABASE_URL"),
        help="PostgreSQL in place of SQLite (postgresql+psycopg://…); TILLMEDIC_DATABASE_URL shows in no process list",
    )
    parser.add_argument("--poll", type=float, default=0.5, help="seconds between polls of a serial line")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Exit code 0 after Ctrl-C or SIGTERM."""
    signals = StopSignals()
    demo = Demo(arguments, signals)
    try:
        signals.install()
        demo.start()
        demo.serve()
    except StopAsked:
        _say("stopping …")
    finally:
        signals.ignore()
        demo.stop()
    _say("stopped")
    return 0


class Demo:
    def __init__(self, arguments: argparse.Namespace, signals: StopSignals) -> None:
        self._signals = signals
        self._host: str = arguments.host
        self._port: int = arguments.port
        self._poll_s: float = arguments.poll
        self._database_url: str | None = arguments.database_url
        self._restarts: list[float] = []
        self.data: Path = arguments.data.absolute()
        self._lock: IO[str] | None = None
        self._servers: list[Child] = []
        self._rig: Rig | None = None
        self._control: ControlSocket | None = None

    def start(self) -> None:
        began = time.monotonic()
        self._take_folder()
        mosquitto = find_mosquitto()
        self._look_at_address()
        _say(f"state folder {self.data}")
        installation = initialise(
            self.data,
            self._host,
            self._port,
            self._broker_port(),
            database_url=self._database_url,
            hold=self._signals.held,
        )
        _say("identities, database and broker configuration are ready")
        broker = self._child("broker", mosquitto.command(installation.broker_config), mosquitto.environment)
        broker.start()
        self._rig = Rig(self.data, installation, self._child, poll_s=self._poll_s)
        self._rig.start_hardware()
        server = self._child("fleet-server", _python("fleet_server", "run", "--data", str(self.data)))
        server.start()
        _say("broker, fleet server and devices are starting")
        wait_until_ready(installation, [broker, server])
        # Not before: a hello that nobody hears is repeated after 5 s, then 10, then 20.
        self._rig.start_agents()
        _say("the fleet server is ready, three agents are starting")
        wait_until_up(installation, [broker, server, *self._rig.agents()])
        self._control = ControlSocket(self.data / "simulators.sock")
        write_private(self.data / "demo.json", json.dumps(installation.published(), ensure_ascii=False, indent=1))
        self._greet(installation, time.monotonic() - began)

    def serve(self) -> None:
        """Answers the control socket and watches the processes until somebody stops us."""
        while self._control is not None:
            try:
                request = self._control.requests.get(timeout=0.3)
            except queue.Empty:
                self._watch()
                continue
            self._answer(request)

    def stop(self) -> None:
        """In the reverse order of starting; agents say goodbye while broker and server still listen."""
        if self._control is not None:
            self._control.close()
        if self._rig is not None:
            self._rig.stop()
        for child in reversed(self._servers):
            child.stop()
        if self._lock is not None:
            (self.data / "demo.json").unlink(missing_ok=True)
            self._lock.close()

    def _take_folder(self) -> None:
        length = len(os.fsencode(self.data))
        if length > MAX_DATA_BYTES:
            raise DemoCannotStart(
                f"state folder {self.data} cannot be used: its path has {length} bytes, sockets in it allow"
                f" {MAX_DATA_BYTES}; choose another with DATA="
            )
        try:
            self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.data.chmod(0o700)
            (self.data / "logs").mkdir(exist_ok=True)
            self._lock = (self.data / "demo.lock").open("w", encoding="utf-8")
        except OSError as error:
            raise DemoCannotStart(
                f"state folder {self.data} cannot be used: {error.strerror}; choose another with DATA="
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock = None
            raise DemoCannotStart(
                f"another demo runs on {self.data}: stop it first, or choose another with DATA="
            ) from error
        # What a demo left that was killed: the file says that all is up.
        (self.data / "demo.json").unlink(missing_ok=True)

    def _broker_port(self) -> int:
        """The port of the last run when it is free, so that nothing has to be written anew."""
        kept = self.data / "broker-port"
        port = int(kept.read_text("utf-8")) if kept.is_file() else 0
        if not port or not is_free("127.0.0.1", port):
            port = free_port()
            write_private(kept, str(port))
        return port

    def _look_at_address(self) -> None:
        where = f"port {self._port} on {self._host}"
        try:
            is_ours = is_free(self._host, self._port)
        except (OSError, OverflowError) as error:
            words = getattr(error, "strerror", None) or str(error)
            raise DemoCannotStart(f"{where} cannot be used: {words}; choose others with HOST= and PORT=") from error
        if not is_ours:
            raise DemoCannotStart(f"{where} is taken: choose another with PORT=")

    def _child(self, name: str, command: list[str], environment: dict[str, str] | None = None) -> Child:
        child = Child(name, command, self.data / "logs" / f"{name}.log", environment, hold=self._signals.held)
        if name in {"broker", "fleet-server"}:
            self._servers.append(child)
        return child

    def _watch(self) -> None:
        """Starts again what died; gives up on what dies again and again."""
        now = time.monotonic()
        for child in self._servers:
            if child.is_running():
                continue
            self._restarts = [at for at in self._restarts if now - at < _RESTARTS_WITHIN_S] + [now]
            if len(self._restarts) > _MAX_RESTARTS:
                raise DemoCannotStart(
                    f"{child.name} ends again and again (exit code {child.exit_code}): see {child.log}"
                )
            _say(f"{child.name} ended (exit code {child.exit_code}), started again")
            child.start()
        if self._rig is not None:
            for sentence in self._rig.watch():
                _say(sentence)

    def _answer(self, request: Request) -> None:
        message, rig = request.message, self._rig
        if rig is None:
            return
        try:
            match message.get("cmd"):
                case "list":
                    request.reply({"ok": True, "devices": rig.listing()})
                case "break" | "mend" as command:
                    said = rig.change(command, str(message.get("device")), message.get("fault"))
                    _say(said)
                    request.reply({"ok": True, "said": said})
                case "screen":
                    request.reply({"ok": True, "lines": rig.screen(str(message.get("device")))})
                case other:
                    request.reply(
                        {
                            "ok": False,
                            "code": "not_understood",
                            "detail": f"expected list, break, mend or screen, came {other!r}",
                        }
                    )
        except SimulatorError as error:
            request.reply({"ok": False, "code": error.code, "detail": str(error)})

    def _greet(self, installation: Installation, took_s: float) -> None:
        _say(f"all up after {took_s:.0f} s\n\n  console   {installation.url}\n")
        for user in installation.users:
            password = user["password"] or "(as printed at the first start)"
            _say(f"  sign in as {user['name']:<12} {password}   {user['role']}")
        _say(f"\n  break something:  {_script('simulators')} break prn1 paper_out --data {self.data}")
        _say(f"  mend it:          {_script('simulators')} mend prn1 --data {self.data}")
        if installation.url.startswith("https:"):
            _say(f"\n  No browser knows yet who signed this address. Import the file {installation.ca_file}")
            _say("  as an authority for web sites on each machine that opens the console (Chromium: Settings, Manage")
            _say("  certificates; Firefox: Settings, View Certificates, Authorities).")
        _say("\n  Ctrl-C stops everything; the data stays.")


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _script(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return os.path.relpath(beside) if beside.exists() else name


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
