"""Which passwords a person may choose: at least 12 characters, and none that a guesser tries early.

That is what zxcvbn estimates from its lists of leaked passwords, words, names, keyboard rows, dates and repetitions;
the person's own name and the product's count as known. Rules about kinds of characters are left out: they make
passwords that are hard to remember and easy to guess.
"""

from __future__ import annotations

from enum import StrEnum

from fleet_server.auth.passwords import MAX_LENGTH

MIN_LENGTH = 12
# Of 0 to 4: more than 10^8 guesses.
_LEAST_SCORE = 3
# zxcvbn's own limit; the time it takes grows faster than the length.
_LOOKED_AT = 72
_LEAST_OF_ONES_OWN = 6
# In no list of leaked ones, and known to everybody.
_NOTORIOUS = frozenset({"correcthorsebatterystaple", "tr0ub4dor&3", "thisismypassword", "ilovetillmedic"})
_OWN_WORDS = ("tillmedic", "terminal", "支付终端")


class Weakness(StrEnum):
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    GUESSABLE = "guessable"
    NOT_TWICE = "not_twice"  # typed differently the second time


def weakness_of(password: str, name: str, again: str | None = None) -> Weakness | None:
    """None when it may be used. Takes some milliseconds of a core."""
    from zxcvbn import zxcvbn

    if again is not None and again != password:
        return Weakness.NOT_TWICE
    if len(password) < MIN_LENGTH:
        return Weakness.TOO_SHORT
    if len(password) > MAX_LENGTH:
        return Weakness.TOO_LONG
    if "".join(password.lower().split()) in _NOTORIOUS:
        return Weakness.GUESSABLE
    # What is left when the person's name is taken out of it.
    rest = password.lower().replace(name.lower(), "") if name else password
    if password.isdigit() or len(rest) < _LEAST_OF_ONES_OWN:
        return Weakness.GUESSABLE
    estimate = zxcvbn(password[:_LOOKED_AT], user_inputs=[name, *name.replace(".", " ").split(), *_OWN_WORDS])
    return Weakness.GUESSABLE if estimate["score"] < _LEAST_SCORE else None
