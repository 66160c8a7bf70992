"""The rows of the journal: what is known of an execution, written before anything of it is done.

Invariant: a row that says `step_begun` was durable before that step's effect could begin; a row moves only as
`protocol.executions` allows. Keeping the rows is the store's part, moving them on is `execution`'s.
"""

from __future__ import annotations

import msgspec

from protocol.codec import UNREADABLE
from protocol.commands import ActionKind
from protocol.executions import CAME_BACK_CODE, FINAL, CancelAnswer, ExecutionState, may_follow
from protocol.identifiers import DeviceId, ExecutionId
from protocol.parameters import ParamValue
from protocol.records import ExecutionReport, Outcome
from protocol.safety import Condition

_encoder = msgspec.json.Encoder()


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """``boot`` and ``identity``: the device's when the step at ``step_index`` was begun. ``hold_until_ms``: end of the
    soak. ``treated``: codes of the faults that a fix was for; ``proved_ms``: since when they are known to be gone.
    """

    execution: ExecutionId
    device: DeviceId
    action: str
    kind: ActionKind
    state: ExecutionState
    not_after_ms: int = 0
    params: dict[str, ParamValue] = {}
    skip_if_passing: bool = True
    is_agreed: bool = True  # False while the merchant's consent is waited for
    overrides: bool = False  # who asks takes it upon themselves that it does not wait
    step: str = ""
    step_index: int = 0
    step_count: int = 0
    step_begun: bool = False
    boot: str = ""
    identity: str = ""
    mark: str = ""  # what the device told before a test began that shows whether it ran
    holds: list[Condition] = []
    earliest_start_ms: int | None = None
    overridden: list[Condition] = []
    is_forced: bool = False  # its pre-check passed, and it goes on all the same
    cancel: CancelAnswer | None = None
    retries: int = 0
    hold_until_ms: int | None = None
    outcome: Outcome | None = None
    code: str = ""
    detail: str = ""
    treated: list[str] = []
    proved_ms: int | None = None

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
            holds=self.holds,
            earliest_start_ms=self.earliest_start_ms,
            overridden=self.overridden,
            is_forced=self.is_forced,
            cancel=self.cancel,
            retries=self.retries,
        )

    def encoded(self) -> bytes:
        return _encoder.encode(self)


_decoder = msgspec.json.Decoder(Row)


def decode(body: bytes) -> Row | None:
    """None for a row of an unknown shape: an older or a damaged spool; it is then as if it had never been."""
    try:
        return _decoder.decode(body)
    except UNREADABLE:
        return None


def moved(row: Row, state: ExecutionState, **changed: object) -> Row:
    """The same state again is progress. Raises ValueError where the table has no such move."""
    if state is not row.state and not may_follow(row.state, state):
        raise ValueError(f"execution {row.execution}: expected a move from {row.state}, came {state}")
    return msgspec.structs.replace(row, state=state, **changed)


def ended(row: Row, state: ExecutionState, code: str, detail: str, outcome: Outcome | None = None) -> Row:
    what = {"code": code, "detail": detail[:512], "outcome": outcome}
    return moved(row, state, **what, holds=[], earliest_start_ms=None)


def came_back(row: Row, detail: str) -> Row:
    """What was proved gone was seen again: the end stays, with that beside it, and is told once."""
    return moved(row, row.state, code=CAME_BACK_CODE, detail=detail[:512], proved_ms=None)
