"""Where the acquirer's host is, as the agent's configuration says it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

DEFAULT_PORT = 443


@dataclass(frozen=True, slots=True)
class NetworkTarget:
    """Empty host: none is configured. ``ca`` None: the system's own roots.

    ``dns_name``: what is resolved instead of ``host``, for a host that is reached by its number or a fixed entry.
    """

    host: str = ""
    port: int = DEFAULT_PORT
    ca: Path | None = None
    dns_name: str = ""
