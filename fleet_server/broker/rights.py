"""mosquitto's access file as a set of rights, so that two files can be compared however they are laid out.

Rule: ``deny`` only takes away. A topic line before the first ``user`` is everybody's; ``topic`` without a word for the
access is both.
"""

from __future__ import annotations

from dataclasses import dataclass

ANYBODY = "everybody without a name"
EVERY_LINK = "every link"
_ACCESS = {"read": ("read",), "write": ("write",), "readwrite": ("read", "write"), "deny": ("deny",)}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    who: str
    access: str
    topic: str

    def __str__(self) -> str:
        return f"{self.who}: {self.access} {self.topic}"


def parse_rights(text: str) -> dict[Right, int]:
    """Each right and the line it stands on. Lines that are none of mosquitto's are rights that nobody has generated."""
    rights: dict[Right, int] = {}
    who = ANYBODY
    for number, line in enumerate(text.splitlines(), start=1):
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        if not word or word.startswith("#"):
            continue
        if word == "user":
            who = rest
            continue
        access, _, topic = rest.partition(" ")
        if access not in _ACCESS:
            access, topic = "readwrite", rest
        whose = {"topic": who, "pattern": EVERY_LINK}.get(word, f"{word!r}")
        for one in _ACCESS[access]:
            rights.setdefault(Right(whose, one, topic.strip()), number)
    return rights
