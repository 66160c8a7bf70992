"""A person, a door, and an authenticator that is not ours, for the tests of this folder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine

from fleet_server.auth.accounts import Accounts
from fleet_server.auth.limits import SignInLimits
from fleet_server.auth.passwords import Passwords
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.auth.second_factor import SecondFactors
from fleet_server.auth.secret_box import new_key_line
from fleet_server.auth.service import Doorkeeping
from fleet_server.auth.sessions import Uses
from fleet_server.db import transaction

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
NAME = "li.wei"
PASSWORD = "correct-horse-battery"
SYSTEM = Actor("", "system", Role.OPERATOR, "default", ActorKind.PERSON)


def door(
    engine: Engine, passwords: Passwords | None = None, *, folder: Path | None = None, is_required: bool = False
) -> Doorkeeping:
    """``folder``: where the key of second factors is made; without it there is none."""
    key_file = (folder or Path("nowhere")) / "people.key"
    if folder is not None and not key_file.exists():
        key_file.write_text(new_key_line(), "ascii")
    factors = SecondFactors(key_file, is_required=is_required)
    return Doorkeeping(engine, SYSTEM.tenant_id, passwords or Passwords.cheap(), factors, Uses(), SignInLimits())


def add_person(engine: Engine, name: str = NAME, role: Role = Role.SUPPORT) -> None:
    with transaction(engine) as session:
        Accounts(session, SYSTEM, NOW).add_person(name, Passwords.cheap().hash(PASSWORD), role)


def code_of(secret: str, now: datetime, *, steps: int = 0) -> str:
    """What a telephone shows ``steps`` steps from ``now``: RFC 6238 written down once more, for tests to differ."""
    counter = struct.pack(">Q", int(now.timestamp()) // 30 + steps)
    mac = hmac.digest(base64.b32decode(secret), counter, hashlib.sha1)
    at = mac[-1] & 15
    return f"{(int.from_bytes(mac[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
