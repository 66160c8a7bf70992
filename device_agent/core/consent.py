"""The merchant's word for one execution: six digits that the terminal makes and shows, and that only its own people can
read out.

The digits live in the memory of the execution that waits for them and nowhere else: neither a record, nor the journal,
nor a log has them, and a restart of the agent ends the wait. What is kept is how many codes were made lately.

Invariant: on one device at most `CONSENT_CODES_PER_HOUR` codes are made in an hour, whoever asks, and none within
`LOCKED_FOR_MS` after one was burnt by wrong tries: guessing at many terminals is slow, and each wrong try is told.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from protocol.commands import CONSENT_CODES_PER_HOUR, CONSENT_DIGITS, CONSENT_FOR, CONSENT_TRIES
from protocol.identifiers import DeviceId
from protocol.parameters import Words

FACT: Final = "consent/"
LOCKED_FOR_MS: Final = 24 * 3_600_000
WAIT_S: Final = CONSENT_FOR.total_seconds()
_HOUR_MS: Final = 3_600_000


class Tried(Enum):
    RIGHT = "right"
    WRONG = "wrong"
    BURNT = "burnt"


@dataclass(frozen=True, slots=True)
class Budget:
    """``made_ms``: when the codes of the last hour were made. ``locked_until_ms``: none is made before, unless it is
    further away than a lock lasts: then the clock was set back since.
    """

    made_ms: tuple[int, ...] = ()
    locked_until_ms: int = 0

    @classmethod
    def from_text(cls, text: str | None) -> Budget:
        made, _, locked = (text or "").partition("|")
        return cls(tuple(int(one) for one in made.split(",") if one), int(locked or 0))

    def to_text(self) -> str:
        return f"{','.join(map(str, self.made_ms))}|{self.locked_until_ms}"

    def refuses(self, now_ms: int) -> str | None:
        """Why no code is made now."""
        if now_ms < self.locked_until_ms <= now_ms + LOCKED_FOR_MS:
            return "a code was tried wrongly too often; no other is made within a day"
        if len(self._lately(now_ms)) >= CONSENT_CODES_PER_HOUR:
            return f"{CONSENT_CODES_PER_HOUR} codes were made within an hour"
        return None

    def with_code(self, now_ms: int) -> Budget:
        return Budget((*self._lately(now_ms), now_ms), self.locked_until_ms)

    def locked(self, now_ms: int) -> Budget:
        return Budget(self.made_ms, now_ms + LOCKED_FOR_MS)

    def merged(self, other: Budget) -> Budget:
        made = tuple(sorted({*self.made_ms, *other.made_ms}))
        return Budget(made, max(self.locked_until_ms, other.locked_until_ms))

    def _lately(self, now_ms: int) -> tuple[int, ...]:
        return tuple(one for one in self.made_ms if now_ms - _HOUR_MS < one <= now_ms)[-CONSENT_CODES_PER_HOUR:]


@dataclass(slots=True)
class Consent:
    """One code and where it may be shown: on the first of ``displays`` that can."""

    code: str = field(repr=False)
    displays: list[DeviceId]
    tries_left: int = CONSENT_TRIES

    def tried(self, code: str) -> Tried:
        if hmac.compare_digest(code.encode(), self.code.encode()):
            return Tried.RIGHT
        self.tries_left -= 1
        return Tried.WRONG if self.tries_left > 0 else Tried.BURNT


def code_of(random_hex: str) -> str:
    """``random_hex``: 128 random bits, of which the remainder is as good as even."""
    return f"{int(random_hex, 16) % 10**CONSENT_DIGITS:0{CONSENT_DIGITS}d}"


def lines_for(title: Words, code: str) -> Sequence[str]:
    """What the merchant reads, in both languages: what would be done, the digits, and to whom they may be told."""
    minutes = int(WAIT_S // 60)
    return (
        "客服请求您的同意 / Support asks for your consent",
        f"{title.zh} / {title.en}",
        f"{code[:3]} {code[3:]}",
        f"{minutes} 分钟内有效 / valid for {minutes} minutes",
        "只读给您正在通话的客服 / Read it only to the support you are talking to",
    )
