"""The rows of the journal: what is known of an execution, written before anything of it is done.

Invariant: a row that says `step_begun` was durable before that step's effect could begin; a final row never changes.
Keeping the rows is the store's part, moving them on is `execution`'s.
"""

from __future__ import annotations

import msgspec

from protocol.commands import FINAL, ActionKind, ExecutionState
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import ParamValue
from protocol.records import ExecutionReport, Outcome

_encoder = msgspec.json.Encoder()


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """``boot``: the device's boot when the step at ``step_index`` was begun. ``hold_until_ms``: end of the soak."""

    execution: ExecutionId
    device: DeviceId
    action: str
    kind: ActionKind
    state: ExecutionState
    not_after_ms: int = 0
    params: dict[str, ParamValue] = {}
    skip_if_passing: bool = True
    is_agreed: bool = True  # False while the merchant's consent is waited for
    step: str = ""
    step_index: int = 0
    step_count: int = 0
    step_begun: bool = False
    boot: str = ""
    hold_until_ms: int | None = None
    outcome: Outcome | None = None
    code: str = ""
    detail: str = ""

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    def report(self) -> ExecutionReport:
        """The agent's word on this execution as it stands."""
        return ExecutionReport(
            execution=self.execution,
            state=self.state,
            step=self.step,
            step_index=self.step_index,
            step_count=self.step_count,
            outcome=self.outcome,
            code=self.code,
            detail=self.detail[:512],
            hold_until_ms=self.hold_until_ms,
        )

    def encoded(self) -> bytes:
        return _encoder.encode(self)


_decoder = msgspec.json.Decoder(Row)


def decode(body: bytes) -> Row | None:
    """None for a row of an unknown shape: an older or a damaged spool; it is then as if it had never been."""
    try:
        return _decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def ended(row: Row, state: ExecutionState, code: str, detail: str) -> Row:
    return msgspec.structs.replace(row, state=state, code=code, detail=detail[:512])
