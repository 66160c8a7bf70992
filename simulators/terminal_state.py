"""Everything a simulated terminal remembers, as plain mutable values owned by one `SimulatedTerminal`.

Invariant: money is conserved. A payment is in the journal for ever, and each item that waits is either in `queue` or,
once the acquirer has confirmed it, in `sent`; nothing deletes from either list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from simulators.terminal_software import Software

# A terminal's own limit is 500 payments a batch; older ones are settled and live with the acquirer.
MAX_JOURNAL = 2000
MAX_QUEUE = 500


class QueuedKind(StrEnum):
    OFFLINE_PAYMENT = "offline_payment"
    REVERSAL = "reversal"
    SETTLEMENT = "settlement"


@dataclass(frozen=True, slots=True)
class JournalEntry:
    trace: int
    amount_cents: int
    response_code: str
    masked_card: str


@dataclass(frozen=True, slots=True)
class QueuedItem:
    kind: QueuedKind
    trace: int
    amount_cents: int
    queued_s: float  # monotonic


@dataclass(slots=True)
class Power:
    level_pct: float
    is_plugged: bool
    health_pct: float = 92.0
    drain_pct_h: float = 4.0


@dataclass(slots=True)
class App:
    version: str
    started_s: float  # monotonic; in the future while it starts
    is_dead: bool = False
    base_rss_mb: float = 60.0
    leak_mb_per_h: float = 0.0
    leaked_mb: float = 0.0
    restarts: int = 0


@dataclass(slots=True)
class Disk:
    total_mb: float
    system_mb: float
    log_mb: float
    log_limit_mb: float
    log_files: int = 3


@dataclass(slots=True)
class Radio:
    sim_state: str = "ready"
    is_registered: bool = True
    searches: int = 0
    scans: int = 0


@dataclass(slots=True)
class Trade:
    trace: int
    signed_in_s: float
    is_signed_in: bool = True
    settled_s: float = 0.0
    batch_count: int = 0
    busy_until_s: float = -1.0
    last_payment_s: float = 0.0
    last_attempt_s: float = 0.0
    journal: list[JournalEntry] = field(default_factory=list)
    queue: list[QueuedItem] = field(default_factory=list)
    sent: list[QueuedItem] = field(default_factory=list)


@dataclass(slots=True)
class TerminalMemory:
    boot: str
    booted_s: float
    boot_reason: str
    boots_24h: int
    down_until_s: float
    clock_offset_s: float
    certificate_not_after_s: float  # Unix seconds, true time
    power: Power
    app: App
    disk: Disk
    radio: Radio
    trade: Trade
    config: dict[str, str]
    software: Software
    faults: dict[str, float] = field(default_factory=dict)  # name of a cause -> monotonic moment it began
    printed: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)  # on the screen, until something else is
