"""What a Prometheus server may read here: counts only, no name and no number of anybody.

One registry a process. What the database knows (devices, executions) is counted when it is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleet_server.databases import DatabaseState

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Counted(Protocol):
    """An event hub, as far as it counts."""

    @property
    def fanned_out(self) -> int: ...


class ServerMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of_request = ("method", "route", "status")
        self._requests = Counter(
            "tillmedic_http_requests_total", "Requests answered", of_request, registry=self.registry
        )
        self._seconds = Histogram(
            "tillmedic_http_request_seconds",
            "Time to the end of the answer, event streams left out",
            ("method", "route"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._streams = Gauge("tillmedic_event_streams", "Event streams open now", registry=self.registry)
        self._rate_limited = self._gauge("tillmedic_rate_limited_total", "Requests refused for coming too fast")
        self._fanned_out = self._gauge("tillmedic_events_fanned_out_total", "Events handed to open streams")
        self._live = self._gauge(
            "tillmedic_live_total",
            "Live reports: handed to streams, dropped for slow ones, refused; requests",
            "counted",
        )
        self._retried = self._gauge(
            "tillmedic_transactions_retried_total", "Transactions done again after a conflict in the database"
        )
        self._broker = self._gauge("tillmedic_broker_connected", "1 while the broker is connected")
        self._database = self._gauge("tillmedic_database", "1 for the state that the database is in", "state")
        self._executions = self._gauge("tillmedic_executions", "Executions by state", "state")
        self._presence = self._gauge("tillmedic_devices_presence", "Devices by presence", "presence")
        self._ingest = self._gauge(
            "tillmedic_ingest_total", "What each ingest worker has counted since it started", "worker", "counted"
        )
        self._audit_damaged = self._gauge("tillmedic_audit_damaged_chains", "Audits of tenants that were changed")
        self._audit_at = self._gauge(
            "tillmedic_audit_verified_timestamp_seconds", "When the audit that waits longest was last gone over"
        )
        self._condition = self._gauge("tillmedic_devices_condition", "Devices by condition", "condition")
        self._count_identities()

    def _count_identities(self) -> None:
        self._ends = self._gauge(
            "tillmedic_authority_ends_seconds",
            "Until a certificate or list ends without which nobody is let in",
            "what",
        )
        self._past_end = self._gauge(
            "tillmedic_devices_certificate_ended", "Devices in service whose newest certificate has ended"
        )
        self._retirements = self._gauge(
            "tillmedic_retirements_waiting", "Devices taken out of service that the broker does not refuse yet"
        )

    def count_request(self, method: str, route: str, status: int, seconds: float | None) -> None:
        """``seconds`` None: an event stream, which takes as long as somebody watches."""
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, route).observe(seconds)

    def stream_opened(self) -> None:
        self._streams.inc()

    def stream_closed(self) -> None:
        self._streams.dec()

    def set_process(self, *, rate_limited: int, fanned_out: int, is_broker_connected: bool) -> None:
        self._rate_limited.set(rate_limited)
        self._fanned_out.set(fanned_out)
        self._broker.set(1 if is_broker_connected else 0)

    def set_conflicts(self, retried: int) -> None:
        self._retried.set(retried)

    def set_live(self, counters: Mapping[str, int]) -> None:
        # A copy: the broker's thread counts on.
        for name, count in dict(counters).items():
            self._live.labels(name).set(count)

    def set_fleet(
        self, executions: Mapping[str, int], presence: Mapping[str, int], condition: Mapping[str, int]
    ) -> None:
        for gauge, counts in (
            (self._executions, executions),
            (self._presence, presence),
            (self._condition, condition),
        ):
            gauge.clear()
            for name, count in counts.items():
                gauge.labels(name).set(count)

    def set_audit(self, standings: Iterable[Mapping[str, Any]]) -> None:
        known = list(standings)
        self._audit_damaged.set(sum(one["damage"] is not None for one in known))
        if known:
            self._audit_at.set(min(datetime.fromisoformat(one["at"]).timestamp() for one in known))

    def set_database(self, now: DatabaseState) -> None:
        for state in DatabaseState:
            self._database.labels(state.value).set(1 if state is now else 0)

    def forget_fleet(self) -> None:
        """Nothing is better than numbers of before."""
        for gauge in (self._executions, self._presence, self._condition, self._ingest):
            gauge.clear()

    def set_ingest(self, workers: Mapping[str, Mapping[str, int]]) -> None:
        self._ingest.clear()
        for worker, counters in workers.items():
            for name, count in counters.items():
                self._ingest.labels(worker, name).set(count)

    def set_ends(self, ends: Mapping[str, float]) -> None:
        self._ends.clear()
        for what, seconds in ends.items():
            self._ends.labels(what).set(seconds)

    def set_identities(self, *, retirements_waiting: int, links_past_their_end: int) -> None:
        self._retirements.set(retirements_waiting)
        self._past_end.set(links_past_their_end)

    def text(self) -> bytes:
        exposed: bytes = generate_latest(self.registry)
        return exposed

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(name, says, labels, registry=self.registry)


class CountRequests:
    """A pure ASGI layer, so that event streams pass through unbuffered. Routes are counted by their template."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status, is_stream = 500, False

        async def watching(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = any(
                    name == b"content-type" and value.startswith(b"text/event-stream")
                    for name, value in message.get("headers", ())
                )
                if is_stream:
                    self._metrics.stream_opened()
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            if is_stream:
                self._metrics.stream_closed()
            seconds = None if is_stream else time.perf_counter() - began
            self._metrics.count_request(scope["method"], _template(scope), status, seconds)


def _template(scope: Scope) -> str:
    """The route's own path; one word for all that matched none, for a caller must not make names here."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "none"
