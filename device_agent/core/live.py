"""What is said while somebody watches: present samples and progress, QoS 0, never spooled, ends by itself.

Invariant: outside live mode nothing is published here, and one request makes it last `MAX_FOR_S` at most; at most
`MAX_PROGRESS` executions of a device are followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from device_agent.core.effects import JobProgress, Publish
from device_agent.core.instant import Instant
from protocol import codec
from protocol.identifiers import DeviceId
from protocol.live import MAX_WATCH_S, LiveProgress, LiveReport
from protocol.records import Sample
from protocol.session import Flow
from protocol.topics import Up

MAX_PROGRESS: Final = 16
MIN_EVERY_S: Final = 0.5
# Whoever still watches asks again.
MAX_FOR_S: Final = MAX_WATCH_S


@dataclass(slots=True)
class Live:
    _until_ns: int = 0
    _every_s: float = 2.0
    _due_ns: int | None = None
    _progress: dict[DeviceId, dict[str, LiveProgress]] = field(default_factory=dict)

    def on_flow(self, flow: Flow, now: Instant) -> None:
        if flow.live_for_s > 0:
            self._until_ns = now.in_s(min(flow.live_for_s, MAX_FOR_S))
            self._every_s = max(flow.live_every_s, MIN_EVERY_S)
            if self._due_ns is None:
                self._due_ns = now.monotonic_ns

    def on_progress(self, progress: JobProgress, device: DeviceId | None) -> None:
        if device is None or self._due_ns is None:
            return
        of_device = self._progress.setdefault(device, {})
        if len(of_device) < MAX_PROGRESS or progress.execution in of_device:
            percent = min(max(progress.percent, 0), 100)
            of_device[progress.execution] = LiveProgress(progress.execution, percent, progress.note[:160])

    def on_tick(self, latest: Mapping[DeviceId, Mapping[str, Sample]], now: Instant) -> list[Publish]:
        if self._due_ns is None or now.monotonic_ns < self._due_ns:
            return []
        if now.monotonic_ns >= self._until_ns:
            self._due_ns = None
            self._progress.clear()
            return []
        self._due_ns = now.in_s(self._every_s)
        progress, self._progress = self._progress, {}
        reports = [
            LiveReport(device, now.wall_ms, dict(samples), list(progress.get(device, {}).values()))
            for device, samples in latest.items()
            if samples or device in progress
        ]
        encoded = [codec.encode(report, deflate=True) for report in reports]
        return [Publish(Up.LIVE, one.payload, one.content_type, qos=0) for one in encoded]

    def next_due_ns(self) -> int | None:
        return self._due_ns
