"""Which versions of the repository's metadata were seen: none is gone back to, though a folder was restored.

They lie in two places, as counters of commands do (`device_agent.adapters.guard`): whoever restores one of them sets
nothing back. A floor is of the keys that sign a role, so that a repository which replaced a stolen key may begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from device_agent.adapters.guard import Guard
from device_agent.software.errors import SoftwareRefused


class Floors:
    def __init__(self, one: Path, other: Path) -> None:
        self._places = [Guard(one), Guard(other)]

    def known(self) -> dict[str, int]:
        """The higher of both places."""
        found: dict[str, int] = {}
        for place in self._places:
            for name, text in place.facts.items():
                found[name] = max(found.get(name, 0), int(text))
        return found

    def check(self, seen: Mapping[str, int]) -> None:
        """Raises ``SoftwareRefused``."""
        known = self.known()
        for name, version in seen.items():
            if version < known.get(name, 0):
                role = name.partition("/")[0]
                raise SoftwareRefused(f"{role} {known[name]} was here before, the server shows {version}")

    def raise_to(self, seen: Mapping[str, int]) -> None:
        """Durable in both places when it returns; ``seen`` was checked. Names of before are forgotten."""
        if seen == self.known():
            return
        generation = max(place.generation for place in self._places) + 1
        for place in self._places:
            gone: dict[str, str | None] = dict.fromkeys(place.facts.keys() - seen.keys())
            place.keep(generation, {**gone, **{name: str(version) for name, version in seen.items()}})
