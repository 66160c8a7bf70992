"""The agent's clocks, chance and boot: everything the core is told because it may not look itself."""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path

from device_agent.core.instant import Instant
from device_agent.core.ports import Dice

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Not for secrets: it only spreads clients in time, so that a seed from the system is enough.
_spread = random.SystemRandom()


def now() -> Instant:
    return Instant(time.monotonic_ns(), datetime.now(UTC))


def system_dice() -> Dice:
    return Dice(uniform=_spread.random, hex128=lambda: secrets.token_hex(16))


def host_boot(path: Path = _BOOT_ID) -> str:
    """128 bits that change only when the host really boots; of this process where the system does not say."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        text = secrets.token_hex(16)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
