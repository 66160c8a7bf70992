"""What the Linux host tells about itself, by psutil and /proc, under the catalogue's metric ids.

Reads only. What this host does not have is left out. Loaded only where the agent watches its host.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import psutil

from device_agent.drivers.results import Reading

_MIB = 1024 * 1024
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HostMetrics:
    """``storage_path``: the file system on which the agent keeps its state."""

    def __init__(self, storage_path: Path = Path("/"), *, boot_id_path: Path = _BOOT_ID) -> None:
        self._storage_path = storage_path
        self._boot_id_path = boot_id_path
        self._process = psutil.Process()
        # The first value of either is always 0.0: it has nothing to compare with.
        psutil.cpu_percent(interval=None)
        self._process.cpu_percent(interval=None)

    def boot(self) -> str:
        """128 bits in hexadecimal that change with each boot, and say nothing else about this host."""
        try:
            text = self._boot_id_path.read_text(encoding="ascii").strip()
        except OSError:
            text = f"{psutil.boot_time():.0f}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def readings(self) -> dict[str, Reading]:
        free_pct, _ = self.storage()
        found: dict[str, Reading] = {
            "sys.uptime_s": int(time.time() - psutil.boot_time()),
            "sys.cpu_pct": psutil.cpu_percent(interval=None),
            "sys.load1": round(psutil.getloadavg()[0], 2),
            "sys.mem_avail_pct": self.memory_available_pct(),
            "sys.storage_free_pct": free_pct,
            "agent.rss_mb": round(self._process.memory_info().rss / _MIB, 1),
            # Of one core; over a moment shorter than the kernel's tick the quotient can be anything.
            "agent.cpu_pct": round(min(self._process.cpu_percent(interval=None), 100.0), 1),
        }
        temperature = _temperature_c()
        if temperature is not None:
            found["sys.temp_c"] = temperature
        battery = psutil.sensors_battery()
        if battery is not None:
            found["batt.level_pct"] = round(battery.percent, 1)
            found["power.plugged"] = int(bool(battery.power_plugged))
        return found

    def memory_available_pct(self) -> float:
        memory = psutil.virtual_memory()
        return round(100 * memory.available / memory.total, 1)

    def storage(self) -> tuple[float, float]:
        """Free share in percent and free MiB, for what an ordinary user may still write."""
        usage = psutil.disk_usage(str(self._storage_path))
        writable = usage.used + usage.free
        return round(100 * usage.free / writable, 1) if writable else 0.0, round(usage.free / _MIB, 1)


def _temperature_c() -> float | None:
    zones = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    values = [entry.current for entries in zones.values() for entry in entries if entry.current]
    return round(max(values), 1) if values else None
