"""Processor time, memory and disk of the processes of an installation, looked at while it runs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

_LOOK_EVERY_S = 5.0
_PARTS = ("ingest", "api", "scheduler")


@dataclass(slots=True)
class _Part:
    used_s: float = 0.0
    began_s: dict[int, float] = field(default_factory=dict)
    last_s: dict[int, float] = field(default_factory=dict)
    peak_mb: float = 0.0


class Machine:
    """``look`` as often as one likes; it looks each few seconds. Processes may come and go."""

    def __init__(self, roots: Mapping[str, int]) -> None:
        """``roots``: process ids by name; ``fleet-server`` is told apart by what its children do."""
        self._roots = dict(roots)
        self._parts: dict[str, _Part] = {}
        self._began_s = time.monotonic()
        self._looked_s = float("-inf")

    def begin(self) -> None:
        self._parts.clear()
        self._began_s = time.monotonic()
        self._look()

    def look(self) -> None:
        if time.monotonic() - self._looked_s >= _LOOK_EVERY_S:
            self._look()

    def cores(self) -> dict[str, float]:
        """Mean share of a core since `begin`, by part."""
        self._look()
        span_s = time.monotonic() - self._began_s
        return {
            name: sum(part.last_s[pid] - part.began_s[pid] for pid in part.last_s) / span_s
            for name, part in sorted(self._parts.items())
        }

    def peak_mb(self) -> dict[str, float]:
        return {name: part.peak_mb for name, part in sorted(self._parts.items())}

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        memory: dict[str, float] = {}
        for name, process in self._processes():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                times = process.cpu_times()
                part = self._parts.setdefault(name, _Part())
                part.last_s[process.pid] = times.user + times.system
                part.began_s.setdefault(process.pid, part.last_s[process.pid])
                # Shared pages once only: a database's processes share most of theirs.
                memory[name] = memory.get(name, 0.0) + process.memory_full_info().pss / 2**20
        for name, mb in memory.items():
            self._parts[name].peak_mb = max(self._parts[name].peak_mb, mb)

    def _processes(self) -> Iterable[tuple[str, psutil.Process]]:
        yield "links", psutil.Process(os.getpid())
        for name, pid in self._roots.items():
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(pid)
                for process in (root, *root.children(recursive=True)):
                    yield (_part_of(process) if name == "fleet-server" else name), process


def _part_of(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        words = process.cmdline()
        return next((part for part in _PARTS if part in words), "supervisor")
    return "supervisor"
