"""Where the acquirer's host is, as the agent's configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class NetworkTarget:
    """Empty host: none is configured. ``ca`` None: the system's own roots."""

    host: str = ""
    port: int = DEFAULT_PORT
    ca: Path | None = None
