"""The host as the agent sees it: load, memory, storage, temperature and uptime by psutil, the network by real sockets.

Everything here reads. A host that does not tell a value (no thermal zone, no battery) leaves it out; nothing is ever
zero for "not known". `poll` never raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from device_agent.adapters.host_metrics import HostMetrics
from device_agent.drivers.network_target import NetworkTarget
from device_agent.drivers.results import FaultSign, LineStatistics, PollResult, Reading
from device_agent.drivers.terminal import messages
from device_agent.drivers.terminal.signs import signs_of
from device_agent.errors import ActionFailed
from protocol.safety import Condition


@dataclass(frozen=True, slots=True)
class HostState:
    boot: str = ""
    conditions: frozenset[Condition] = frozenset()


class HostDevice:
    family = "host"

    def __init__(
        self,
        *,
        target: NetworkTarget | None = None,
        certificate: Path | None = None,
        metrics: HostMetrics | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._target = target or NetworkTarget()
        self._certificate = certificate
        self._metrics = metrics or HostMetrics()
        self._wall = wall

    @property
    def line_statistics(self) -> LineStatistics:
        return LineStatistics()

    def close(self) -> None:
        """Holds nothing open."""

    def conditions(self) -> frozenset[Condition]:
        """The host itself is never in the middle of a payment."""
        return frozenset()

    def boot(self) -> str:
        return self._metrics.boot()

    def poll(self, now: datetime) -> PollResult[HostState]:
        readings = self.readings()
        # What a full disk or low memory means is the same on a gateway as on a terminal.
        faults: frozenset[FaultSign] = signs_of(readings)
        return PollResult(now, True, readings, faults, HostState(self.boot()), self.line_statistics)

    def readings(self) -> Mapping[str, Reading]:
        return self._metrics.readings()

    def clock_get(self) -> messages.ClockReading:
        return messages.ClockReading(int(self._wall() * 1000))

    def storage(self) -> messages.Storage:
        free_pct, free_mb = self._metrics.storage()
        return messages.Storage(free_pct, free_mb)

    def logs_status(self) -> messages.LogsStatus | None:
        """The host's logs are its owner's business."""
        return None

    def memory(self) -> messages.Memory:
        return messages.Memory(self._metrics.memory_available_pct())

    def certificate(self) -> messages.Certificate:
        if self._certificate is None:
            raise ActionFailed("not_configured", "no certificate file is configured for this agent")
        from device_agent.adapters.certificate_file import not_after_ms

        return messages.Certificate(not_after_ms(self._certificate))

    def net_probe(self, host: str, port: int) -> messages.NetProbe:
        from device_agent.adapters.network_probe import probe_target

        return probe_target(self._target, host, port)
