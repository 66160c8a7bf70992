"""What a simulated fleet says, as data: which metrics, how often, how many faults, and what a holiday adds.

`expected` is the one place that knows a value: it is the same whether it is sent or looked up later, so that what was
stored can be compared without keeping any of it here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.records import MAX_COLUMNS, MAX_STEPS
from simulators.errors import SimulatorError

# Ten that a desk looks at first: a value well inside the normal range of each, and the step by which it wanders, a
# power of two so that no value is rounded on its way.
METRICS: tuple[tuple[str, float, float], ...] = (
    ("sys.cpu_pct", 12.0, 0.5),
    ("sys.mem_avail_pct", 52.0, 0.25),
    ("sys.storage_free_pct", 61.0, 0.25),
    ("sys.temp_c", 36.0, 0.25),
    ("sys.clock_drift_s", 0.125, 0.015625),
    ("modem.rsrp_dbm", -88.0, 0.25),
    ("modem.sinr_db", 14.0, 0.125),
    ("net.rtt_ms", 62.0, 0.5),
    ("biz.batch_count", 20.0, 1.0),
    ("prn.head_temp_c", 34.0, 0.25),
)
# What a merchant meets and mends in a normal day.
FAULT_CODES: tuple[str, ...] = ("term.PRN_NO_PAPER", "term.PRN_COVER", "term.MSR_READ", "term.ICC_NO_ATR")
_LEVELS = 16


class TrafficInvalid(SimulatorError):
    code = "traffic_invalid"


@dataclass(frozen=True, slots=True)
class Traffic:
    """``burst_factor``: how many times the usual faults arrive from ``burst_from_s`` on, ``burst_for_s`` long, counted
    from the beginning of the run. ``in_step``: all links report in the same moment instead of each in its own.
    """

    report_s: float = 60.0
    sample_s: float = 60.0
    metrics: int = len(METRICS)
    faults_per_device_hour: float = 0.02
    fault_lasts_s: float = 90.0
    burst_factor: float = 1.0
    burst_from_s: float = 0.0
    burst_for_s: float = 0.0
    in_step: bool = False
    metric_names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.metrics <= min(len(METRICS), MAX_COLUMNS):
            raise TrafficInvalid(f"expected 1 to {len(METRICS)} metrics, came {self.metrics}")
        if not 0 < self.sample_s <= self.report_s or self.report_s / self.sample_s > MAX_STEPS:
            raise TrafficInvalid(
                f"expected 1 to {MAX_STEPS} samples a report, came one each {self.sample_s:g} s and a report each"
                f" {self.report_s:g} s"
            )
        object.__setattr__(self, "metric_names", tuple(name for name, _, _ in METRICS[: self.metrics]))

    @property
    def sample_ms(self) -> int:
        return int(self.sample_s * 1000)

    def fault_factor(self, elapsed_s: float) -> float:
        is_burst = self.burst_from_s <= elapsed_s < self.burst_from_s + self.burst_for_s
        return self.burst_factor if is_burst else 1.0


def expected(device: int, place: int, at_ms: int, sample_ms: int) -> float:
    """The value of metric ``place`` of device number ``device`` in the sample taken at ``at_ms``.

    Another one in nearly every sample, as from noise: what really stands still for hours is smaller on wire and disk.
    """
    _, middle, step = METRICS[place]
    mixed = (at_ms // sample_ms * 0x9E3779B1 + device * 0x85EBCA77 + place * 0xC2B2AE3D) & 0xFFFFFFFF
    mixed = (mixed ^ mixed >> 15) * 0x2C1B3C6D & 0xFFFFFFFF
    return middle + step * ((mixed >> 17) % _LEVELS - _LEVELS // 2)
