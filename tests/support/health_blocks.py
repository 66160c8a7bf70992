"""One block or one piece of folding at a time, as tests look at them; the server takes many together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from fleet_server.db import reading, transaction
from fleet_server.health.folding import Folded, read_due, write_folded
from fleet_server.health.packing import Floats, OddColumn
from fleet_server.health.unpacking import BlockDamaged, unpack_many


@dataclass(frozen=True, slots=True)
class Unpacked:
    """``odd``: columns with texts, or with whole numbers too large for a float."""

    numbers: dict[str, Floats]
    odd: dict[str, OddColumn]


def unpack(packed: bytes, wanted: Collection[str] | None = None) -> Unpacked:
    """Only ``wanted`` columns, if given. Raises ``BlockDamaged``."""
    found = unpack_many([packed], wanted)
    if found.damaged:
        raise BlockDamaged(f"expected packed columns of samples, came {len(packed)} other bytes")
    numbers = {name: column.values for name, column in found.numbers.items()}
    return Unpacked(numbers, {name: column for _, name, column in found.odd})


def samples(packed: bytes) -> dict[str, OddColumn]:
    """The columns as they were reported, but that a whole number may come back with a point."""
    found = unpack(packed)
    numbers = {
        name: [None if value != value else value for value in column.tolist()]  # noqa: PLR0124 - NaN is not itself
        for name, column in found.numbers.items()
    }
    return {**numbers, **found.odd}


def fold_due(engine: Engine, tenant_id: str, now: datetime) -> Folded:
    """One piece of what is due, as the scheduler does it."""
    with reading(engine) as session:
        due = read_due(session, tenant_id, now)
    with transaction(engine) as session:
        return write_folded(session, due, now)
