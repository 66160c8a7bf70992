"""When a fault that comes and goes is held: agents follow this rule, and pages explain it.

A code raised `FLAPS` times within the window flaps: it counts as gone only when it has stayed away for the hold.
"""

from __future__ import annotations

from typing import Final

FLAPS: Final = 3
FLAP_WINDOW_S: Final = 600.0
FLAP_HOLD_S: Final = 60.0
