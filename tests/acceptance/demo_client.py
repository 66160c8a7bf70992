"""The demo as its user has it: a command that is started, an address, a token, faults to make."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from simulators.broker import free_port

START_S = 120.0
# The last it says when it is started.
ALL_UP = "Ctrl-C stops everything"
PATIENCE_S = 30.0
T = TypeVar("T")
FINAL = {
    "SUCCEEDED", "FAILED", "ROLLED_BACK", "REJECTED", "EXPIRED", "UNREACHABLE", "TIMED_OUT", "CANCELLED", "SUPERSEDED",
    "UNKNOWN", "INCONSISTENT",
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


class Demo:
    """``simulators demo`` on a folder of its own."""

    def __init__(
        self, data: Path, *, port: int | None = None, host: str | None = None, database_url: str | None = None
    ) -> None:
        self.data = data
        self._host = host
        self.port = port or free_port()
        self._database_url = database_url
        self._process: subprocess.Popen[str] | None = None
        self.facts: dict[str, Any] = {}

    def start(self) -> str:
        """What it said until it was all up."""
        before = self.said().count(ALL_UP)
        self.launch()
        self.until(
            self.said, "all up", START_S, is_so=lambda said: said.count(ALL_UP) > before or not self.is_running()
        )
        if not self.is_running():
            raise AssertionError(f"the demo ended: {self.said()}\n{self.logs()}")
        self.facts = json.loads((self.data / "demo.json").read_text("utf-8"))
        return self.said()

    def launch(self) -> None:
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "simulators", "demo", "--data", str(self.data), "--port", str(self.port)]
        command += ["--host", self._host] if self._host else []
        command += ["--database-url", self._database_url] if self._database_url else []
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                env=clean_environment(),
            )

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """The exit code after Ctrl-C."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def said(self) -> str:
        return self._output.read_text("utf-8") if self._output.is_file() else ""

    def logs(self) -> str:
        return "\n".join(
            f"== {log.name}\n{log.read_text('utf-8')[-3000:]}" for log in (self.data / "logs").glob("*.log")
        )

    @property
    def _output(self) -> Path:
        return self.data.with_name(self.data.name + ".out")

    def device(self, key: str) -> str:
        found: str = self.facts["devices"][key]["id"]
        return found

    def user(self, role: str) -> dict[str, str]:
        found: dict[str, str] = next(user for user in self.facts["users"] if user["role"] == role)
        return found

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        request = urllib.request.Request(self.facts["url"] + path, method=method)
        headers = {"Authorization": f"Bearer {self.facts['api_token']}", "Content-Type": "application/json"} | headers
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=PATIENCE_S) as response:
                return Answer(response.status, json.load(response), dict(response.headers))
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, json.load(refusal), dict(refusal.headers))

    def get(self, path: str) -> Any:
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def about(self, key: str) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/api/v1/devices/{self.device(key)}")
        return body

    def open_codes(self, key: str) -> set[str]:
        return {fault["code"] for fault in self.about(key)["faults"]}

    def request(self, key: str, action: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        body = {"device": self.device(key), "action": action, "params": params or {}}
        answer = self.call("POST", "/api/v1/executions", body)
        assert answer.status == 201, answer
        asked: dict[str, Any] = answer.body
        return asked

    def execution(self, identifier: str) -> dict[str, Any]:
        body: dict[str, Any] = self.get(f"/api/v1/executions/{identifier}")
        return body

    def run(
        self, key: str, action: str, params: dict[str, Any] | None = None, within_s: float = 90.0
    ) -> dict[str, Any]:
        """The execution once it is final."""
        return self.until_state(self.request(key, action, params)["id"], *FINAL, within_s=within_s)

    def timeline(self, key: str, types: str = "") -> list[dict[str, Any]]:
        wanted = f"&types={types}" if types else ""
        items: list[dict[str, Any]] = self.get(f"/api/v1/devices/{self.device(key)}/timeline?limit=200{wanted}")[
            "items"
        ]
        return items

    def break_(self, key: str, fault: str) -> None:
        self._simulators("break", key, fault)

    def mend(self, key: str, *fault: str) -> None:
        self._simulators("mend", key, *fault)

    def screen(self, key: str) -> list[str]:
        """What whoever stands before the device can read."""
        lines: list[str] = self._simulators("screen", key)["lines"]
        return lines

    def _simulators(self, *words: str) -> dict[str, Any]:
        """Over the socket, as the command does, without the seconds of starting Python."""
        message = dict(zip(("cmd", "device", "fault"), words, strict=False))
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE_S)
            connection.connect(str(self.data / "simulators.sock"))
            connection.sendall(json.dumps(message).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        assert answer["ok"], answer
        return answer

    def until(
        self, look: Callable[[], T], what: str, within_s: float = PATIENCE_S, *, is_so: Callable[[T], Any] = bool
    ) -> float:
        """Seconds until it was so; fails with what was awaited, what was seen last, and what the processes said."""
        began = time.monotonic()
        while True:
            seen = look()
            if is_so(seen):
                return time.monotonic() - began
            if time.monotonic() - began > within_s:
                break
            time.sleep(0.05)
        raise AssertionError(
            f"waited {within_s:g} s for {what}; saw at last: {seen!r}\n{self.said()[-2000:]}\n{self.logs()}"
        )

    def until_open(self, key: str, code: str, within_s: float = PATIENCE_S) -> float:
        return self.until(
            lambda: self.open_codes(key), f"{code} to be open on {key}", within_s, is_so=lambda codes: code in codes
        )

    def until_no_fault(self, key: str, within_s: float = PATIENCE_S) -> float:
        return self.until(
            lambda: self.open_codes(key), f"no fault to be open on {key}", within_s, is_so=lambda codes: not codes
        )

    def until_missed(self, key: str) -> float:
        return self.until(
            lambda: self.about(key)["presence"], f"{key} to be missed", is_so=lambda presence: presence != "online"
        )

    def until_state(self, identifier: str, *states: str, within_s: float = PATIENCE_S) -> dict[str, Any]:
        """The execution as it was seen in one of these states."""
        seen: list[dict[str, Any]] = []

        def state() -> str:
            seen[:] = [self.execution(identifier)]
            return str(seen[0]["state"])

        what = f"execution {identifier} to be {' or '.join(sorted(states))}"
        self.until(state, what, within_s, is_so=lambda state: state in states)
        return seen[0]

    def processes(self, *words: str) -> list[int]:
        """Pids of this demo's processes whose command line has all ``words`` and our folder."""
        return [pid for pid, line in command_lines() if str(self.data) in line and all(word in line for word in words)]

    def kill(self, *words: str) -> list[int]:
        pids = self.processes(*words)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids


def command_lines() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended while we looked
            yield int(folder.name), line.replace(b"\0", b" ").decode("utf-8", "replace")


def clean_environment() -> dict[str, str]:
    """Ours without what would point the commands elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TILLMEDIC_")}


def run_command(*words: str, within_s: float = 90.0) -> subprocess.CompletedProcess[str]:
    """A command of the product as a user runs it, by module so that no PATH is needed."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        env=clean_environment(),
    )
