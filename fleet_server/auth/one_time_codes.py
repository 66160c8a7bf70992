"""Codes of the second factor: six digits that change each 30 s (TOTP, RFC 6238, SHA-1), and codes for when it is lost.

A code is good in its own 30 s and in those before and after, because clocks differ and typing takes time: 90 s in all.
Each is good once: whoever read one over a shoulder comes too late.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime

import pyotp

STEP_S = 30
TOLERANCE_STEPS = 1
RECOVERY_CODES = 10
_ISSUER = "Tillmedic"
# Without look-alikes (i l o 0 1).
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


def new_secret() -> str:
    """160 bits in base 32, as authenticators take it."""
    return pyotp.random_base32(32)


def address_for_authenticator(secret: str, name: str) -> str:
    return pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=_ISSUER)


def step_of(secret: str, code: str, now: datetime, *, after: int) -> int | None:
    """The step that ``code`` belongs to; None when it is none of now, or not later than step ``after``."""
    totp, present = pyotp.TOTP(secret), int(now.timestamp()) // STEP_S
    found = None
    # All are compared, so that the time taken says nothing.
    for step in range(present - TOLERANCE_STEPS, present + TOLERANCE_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()) and step > after:
            found = step
    return found


def new_recovery_codes() -> tuple[str, ...]:
    return tuple(readable_code() for _ in range(RECOVERY_CODES))


def readable_code() -> str:
    """Four groups of four, 79 bits: can be read out and typed."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def as_typed(code: str) -> str:
    """However people write it: with spaces, in capitals."""
    return "".join(code.split()).lower()
