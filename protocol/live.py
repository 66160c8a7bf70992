"""What is said while somebody watches: droppable, QoS 0, never stored as evidence, ends by itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.identifiers import WireDevice, WireExecution, WireMetric, WireMillis
from protocol.records import MAX_COLUMNS, Sample, ShortText


class LiveProgress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    execution: WireExecution
    progress_pct: Annotated[int, Meta(ge=0, le=100)]
    note: ShortText = ""


class LiveReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Present samples of one device, and how far its running executions are."""

    device: WireDevice
    wall_ms: WireMillis
    samples: Annotated[dict[WireMetric, Sample], Meta(max_length=MAX_COLUMNS)] = {}
    progress: Annotated[list[LiveProgress], Meta(max_length=16)] = []
