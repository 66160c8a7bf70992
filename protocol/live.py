"""What is said while somebody watches: droppable, QoS 0, never stored as evidence, ends by itself.

A `WatchRequest` goes between server processes; the agent is asked by a signed `protocol.session.Flow`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.identifiers import WireDevice, WireExecution, WireMetric, WireMillis
from protocol.records import MAX_COLUMNS, Sample, ShortText

# The longest that one request makes an agent speak; whoever still watches asks again.
MAX_WATCH_S = 60.0


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


class WatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody watches a device of this link: it shall speak for ``for_s`` seconds."""

    link: WireDevice
    for_s: Annotated[float, Meta(ge=1, le=MAX_WATCH_S)]
