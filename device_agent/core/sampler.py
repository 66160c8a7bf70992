"""Health samples of one device: collected in columns, sent once per report interval, at once when a value leaves its
range.

Invariants: at most `MAX_STEPS` samples of at most `max_metrics` metrics are held; a metric that was not measured is
null in its column, never zero; a value that left its normal range for good, or came back to it, is reported without
waiting, but no device reports out of turn more often than each `OUT_OF_TURN_S`. What is normal, and when a value has
left it for good, is the catalogue's part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from device_agent.core.instant import Instant
from protocol.catalogue.sides import Side
from protocol.records import MAX_COLUMNS, MAX_STEPS, HealthColumns, Sample
from protocol.session import Profile

# Metrics in a report of the metered profile: with 30 samples each they fit the 1,000 bytes of its budget.
METERED_METRICS: Final = 15
# What a desk asks first of a terminal it cannot see; on a metered link these have the places before all others.
METERED_FIRST: Final = (
    "modem.rsrp_dbm",
    "modem.sinr_db",
    "modem.reg_stat",
    "modem.pdp_active",
    "batt.level_pct",
    "power.charging",
    "sys.storage_free_pct",
    "sys.mem_avail_pct",
    "sys.temp_c",
    "sys.clock_drift_s",
    "cert.tls_days_left",
    "biz.sign_in_ok",
    "biz.reversal_pending",
    "biz.batch_count",
    "prn.status",
)
# A value that swings about its limit does not turn a metered link into a live one.
OUT_OF_TURN_S: Final = 5.0
_MAX_TEXT_CHARS: Final = 64
# Numbers on the wire carry four significant digits; sensors are no better. Where bytes are paid for, three: "97.3 %".
_SIGNIFICANT: Final = 4
_SIGNIFICANT_METERED: Final = 3
_METERED_RANK: Final = {name: rank for rank, name in enumerate(METERED_FIRST)}

# The side of its range on which a metric stands after a sample, from the side before and the sample's moment.
Follow = Callable[[str, Side | None, Sample, int], Side | None]


@dataclass(frozen=True, slots=True)
class Pace:
    profile: Profile
    sample_s: float
    report_s: float

    @property
    def max_metrics(self) -> int:
        return METERED_METRICS if self.profile is Profile.METERED else MAX_COLUMNS

    @property
    def significant(self) -> int:
        return _SIGNIFICANT_METERED if self.profile is Profile.METERED else _SIGNIFICANT


class Sampler:
    def __init__(self, pace: Pace, follow: Follow) -> None:
        self._pace = pace
        self._follow = follow
        self._sides: dict[str, Side | None] = {}
        self._latest: dict[str, Sample] = {}
        self._abnormal: frozenset[str] = frozenset()
        self._told: frozenset[str] = frozenset()
        self._columns: dict[str, list[Sample]] = {}
        self._steps = 0
        self._first_mono_ns = 0
        self._sample_due_ns: int | None = None
        self._report_due_ns: int | None = None
        self._out_of_turn_ns: int | None = None
        self.left_out = 0  # metrics that found no place among `max_metrics`

    @property
    def latest(self) -> Mapping[str, Sample]:
        return self._latest

    def set_pace(self, pace: Pace, now: Instant) -> None:
        self._pace = pace
        if self._sample_due_ns is not None:
            self._sample_due_ns = min(self._sample_due_ns, now.in_s(pace.sample_s))
        if self._report_due_ns is not None:
            self._report_due_ns = min(self._report_due_ns, now.in_s(pace.report_s))

    def on_readings(self, readings: Mapping[str, Sample], now: Instant) -> list[HealthColumns]:
        """A poll's readings; what is absent was not measured."""
        self._latest = {name: _tidy(value, self._pace.significant) for name, value in readings.items()}
        self._sides = {
            name: self._follow(name, self._sides.get(name), value, now.mono_ms) for name, value in self._latest.items()
        }
        self._abnormal = frozenset(name for name, side in self._sides.items() if side is not None and side.is_abnormal)
        if self._sample_due_ns is None:
            # The first look at a device is worth a report: nothing is known of it yet.
            self._report_due_ns = now.in_s(self._pace.report_s)
            return self._report(now)
        may_speak = self._out_of_turn_ns is None or now.monotonic_ns >= self._out_of_turn_ns
        # Against what was last told, so that a crossing that had to wait is told as soon as it may be.
        if self._abnormal != self._told and may_speak:
            self._out_of_turn_ns = now.in_s(OUT_OF_TURN_S)
            return self._report(now)
        return []

    def on_silent(self) -> None:
        """The device does not answer: its last values are no longer its present ones."""
        self._latest = {}

    def on_tick(self, now: Instant) -> list[HealthColumns]:
        if self._sample_due_ns is None or now.monotonic_ns < self._sample_due_ns:
            return []
        is_full = self._steps + 1 >= MAX_STEPS
        if is_full or (self._report_due_ns is not None and now.monotonic_ns >= self._report_due_ns):
            self._report_due_ns = now.in_s(self._pace.report_s)
            return self._report(now)
        self._sample(now)
        return []

    def next_due_ns(self) -> int | None:
        return self._sample_due_ns

    def _sample(self, now: Instant) -> None:
        self._sample_due_ns = now.in_s(self._pace.sample_s)
        if not self._latest and not self._steps:
            return
        if not self._steps:
            self._first_mono_ns = now.monotonic_ns
        for name in self._chosen():
            self._columns.setdefault(name, [None] * self._steps).append(self._latest[name])
        self._steps += 1
        for column in self._columns.values():
            column.extend([None] * (self._steps - len(column)))

    def _chosen(self) -> list[str]:
        """Metrics that have a column keep it; then abnormal ones, then those asked for first, up to the limit."""
        last = len(_METERED_RANK)
        rank = {
            name: (name not in self._columns, name not in self._abnormal, _METERED_RANK.get(name, last), name)
            for name in self._latest
        }
        names = sorted(rank, key=rank.__getitem__)
        room = self._pace.max_metrics - sum(name not in self._latest for name in self._columns)
        self.left_out += max(len(names) - room, 0)
        return names[: max(room, 0)]

    def _report(self, now: Instant) -> list[HealthColumns]:
        self._told = self._abnormal
        self._sample(now)
        if not self._columns:
            self._steps = 0
            return []
        span_ms = (now.monotonic_ns - self._first_mono_ns) // 1_000_000
        # An out-of-turn sample makes the steps uneven; the mean step keeps first and last in their places.
        step_ms = span_ms // (self._steps - 1) if self._steps > 1 else int(self._pace.sample_s * 1000)
        report = HealthColumns(
            start_ms=max(now.wall_ms - span_ms, 0),
            step_ms=min(max(step_ms, 1), 86_400_000),
            steps=self._steps,
            columns=self._columns,
        )
        self._columns, self._steps = {}, 0
        return [report]


def _tidy(value: Sample, significant: int) -> Sample:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        if abs(value) == float("inf") or value != value:  # noqa: PLR0124 - JSON has no word for what is not a number
            return None
        rounded = float(f"{value:.{significant}g}")
        return int(rounded) if rounded.is_integer() else rounded
    return value[:_MAX_TEXT_CHARS] if isinstance(value, str) else value
