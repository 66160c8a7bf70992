"""Until when everybody is let in: the ends of what the broker, the console and all certificates rest on."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from cryptography import x509
from sqlalchemy import func, select
from sqlmodel import Session

from fleet_server.enrollment.authority import list_ends_at
from fleet_server.enrollment.models import Retirement
from fleet_server.enrollment.tls_files import REVOCATION_LIST
from fleet_server.settings import ServerSettings

_RETIREMENT = Retirement.__table__  # type: ignore[attr-defined]  # SQLModel tables have it


def ends_in_s(settings: ServerSettings, now: datetime) -> dict[str, float]:
    """Seconds, by what ends. What cannot be read is left out."""
    files = {
        "root": settings.keys_dir / "ca.crt",
        "issuing": settings.issuing_chain_file,
        "broker": settings.tls_dir / "broker.crt",
        "console": settings.tls_dir / "http.crt",
    }
    found = {}
    for what, path in files.items():
        with suppress(OSError, ValueError):
            end = x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
            found[what] = (end - now).total_seconds()
    with suppress(OSError):
        lapses_at = list_ends_at((settings.tls_dir / REVOCATION_LIST).read_bytes())
        # One that cannot be read keeps everybody out as one that has lapsed does.
        found["revocation_list"] = 0.0 if lapses_at is None else (lapses_at - now).total_seconds()
    return found


def retirements_waiting(session: Session) -> int:
    statement = select(func.count()).select_from(_RETIREMENT).where(_RETIREMENT.c.enforced_at.is_(None))
    return int(session.execute(statement).scalar_one())
