"""New identifiers: UUIDv7 (RFC 9562) for rows that are listed by time, random words for links and secrets."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

from fleet_server.kit.times import to_ms


def uuid7(now: datetime) -> str:
    """48 bits of Unix milliseconds, then random bits: sorts by time of making."""
    value = (to_ms(now) & (2**48 - 1)) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(0x3 << 62) | (2 << 62)
    return str(uuid.UUID(int=value))


def device_id() -> str:
    """An opaque id in the protocol's shape, never reused: 80 random bits in lower-case letters and digits."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    return "d-" + "".join(secrets.choice(alphabet) for _ in range(16))


def hex128() -> str:
    return secrets.token_hex(16)
