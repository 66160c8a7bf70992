"""The pace of reporting: the agent's own file until the server has said something, then the server's last flow.

Invariant: a flow that was taken survives a restart; live mode does not, it ends by itself.
"""

from __future__ import annotations

from typing import Final

import msgspec

from device_agent.core.sampler import Pace
from protocol import codec
from protocol.session import Flow

_MIN_KEEPALIVE_S: Final = 5


class Pacing:
    FACT: Final = "flow"

    def __init__(self, floor: Flow, stored: str | None) -> None:
        kept = codec.from_json(stored.encode(), Flow) if stored else None
        self.flow = kept if isinstance(kept, Flow) else floor

    @property
    def pace(self) -> Pace:
        return Pace(self.flow.profile, max(self.flow.sample_s, 0.5), max(self.flow.report_s, 0.5))

    def on_flow(self, flow: Flow) -> bool:
        """Whether it says anything new that lasts: live mode is asked for every few seconds and is not kept."""
        lasting = msgspec.structs.replace(flow, live_for_s=0.0, issued_at_ms=None)
        is_new = lasting != self.flow
        self.flow = lasting
        return is_new

    @property
    def keepalive_s(self) -> int:
        return max(int(self.flow.keepalive_s), _MIN_KEEPALIVE_S)

    def to_text(self) -> str:
        return codec.to_json(self.flow).decode()
