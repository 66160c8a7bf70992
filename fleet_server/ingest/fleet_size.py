"""How many links there are, counted now and then: the pace of coming back depends on it."""

from __future__ import annotations

from sqlalchemy import Engine, func, select

from fleet_server.db import reading
from fleet_server.devices.models import Device

_COUNTED_EVERY_S = 60.0


class FleetSize:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._links = 0
        self._counted_s = float("-inf")

    def at(self, now_s: float) -> int:
        """May raise what the database raises. ``now_s`` is monotonic."""
        if now_s - self._counted_s > _COUNTED_EVERY_S:
            with reading(self._engine) as session:
                links = select(func.count()).select_from(Device).where(Device.kind != "attached")  # type: ignore[arg-type]  # SQLModel types columns as their values
                self._links = session.execute(links).scalar_one()
            self._counted_s = now_s
        return self._links
