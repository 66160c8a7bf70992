"""A log written, rotated and looked at in any order: each line is read once, in its order, and none is missed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from device_agent.adapters.app_log import AppLog


class LogLife(RuleBasedStateMachine):
    """Rotations keep the old file, as logrotate and the terminals do; one rotation at most between two looks."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tm-log-"))
        self.path = self.folder / "pay.log"
        self.log = AppLog(self.path, "smart", place_file=self.folder / "place")
        self.log.follow()
        self.written = 0
        self.read = 0
        self.rotations = 0
        self.is_rotated = False

    @rule(count=st.integers(1, 5), half=st.booleans())
    def writes(self, count: int, half: bool) -> None:
        for _ in range(count):
            text = f"line {self.written} recv field39=00\n"
            with self.path.open("a", encoding="utf-8") as file:
                if half:
                    file.write(text[:7])
                    file.flush()
                    self.look()
                    file.write(text[7:])
                else:
                    file.write(text)
            self.written += 1

    @rule()
    def rotates(self) -> None:
        # A file that is gone before it was ever opened cannot be read.
        if self.is_rotated or self.log._file is None:
            return
        self.rotations += 1
        self.path.rename(self.folder / f"pay.log.{self.rotations}")
        self.is_rotated = True

    @rule()
    def look(self) -> None:
        before = self.log.counts.lines
        self.log.follow()
        self.read += self.log.counts.lines - before
        # What was rotated away is read to its end; the new file may not be there yet.
        self.is_rotated = self.is_rotated and not self.path.exists()

    @rule()
    def agent_restarts(self) -> None:
        # Between two looks nothing may be rotated away unread: no place can lead back to it.
        if self.is_rotated:
            return
        self.look()
        self.log.close()
        self.log = AppLog(self.path, "smart", place_file=self.folder / "place")

    def teardown(self) -> None:
        self.look()
        self.look()
        self.log.close()
        shutil.rmtree(self.folder)
        assert self.read == self.written


TestLogLife = LogLife.TestCase
TestLogLife.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
