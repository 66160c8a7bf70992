"""Until when everybody is let in: the ends of what broker, console and services show to one another. Files alone: the
process that starts all others looks too, and loads no database.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from fleet_server.enrollment.authority import lists_of
from fleet_server.enrollment.tls_files import REVOCATION_LIST
from fleet_server.settings import ServerSettings
from protocol.broker_rules import SERVICE_NAMES

# When a person is told. A year for the root, in whose last one issuing certificates get shorter; two months to fetch a
# medium from a safe; two weeks for what should have renewed itself.
SOON: Mapping[str, timedelta] = {
    "root": timedelta(days=365),
    "issuing": timedelta(days=60),
    "revocation_list": timedelta(days=14),
    "broker": timedelta(days=14),
    "console": timedelta(days=14),
    "services": timedelta(days=14),
}
_LAPSED = datetime(1970, 1, 1, tzinfo=UTC)
_LOOK_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class End:
    """``what``: a key of `SOON`."""

    what: str
    at: datetime

    def is_soon(self, now: datetime) -> bool:
        return self.at - now < SOON[self.what]


class EndsWatch:
    """For every page to say what ends soon; the files are read at most once a minute, whoever looks at how many."""

    def __init__(self, settings: ServerSettings, look_every_s: float = _LOOK_EVERY_S) -> None:
        self._settings = settings
        self._look_every_s = look_every_s
        self._known: tuple[float, Sequence[End]] = (float("-inf"), ())

    def soon(self, now: datetime) -> list[End]:
        looked_s, known = self._known
        if time.monotonic() - looked_s >= self._look_every_s:
            known = ends(self._settings)
            self._known = (time.monotonic(), known)
        return [one for one in known if one.is_soon(now)]


def ends(settings: ServerSettings) -> list[End]:
    """In the order of `SOON`. What is not there is left out."""
    found = {
        "root": _end_of(settings.keys_dir / "ca.crt"),
        "issuing": _end_of(settings.issuing_chain_file),
        "broker": _end_of(settings.tls_dir / "broker.crt"),
        "console": _end_of(settings.tls_dir / "http.crt"),
        "services": end_of_services(settings),
    }
    with suppress(OSError):
        # One that cannot be read keeps everybody out as one that has lapsed does.
        found["revocation_list"] = list_ends_at((settings.tls_dir / REVOCATION_LIST).read_bytes()) or _LAPSED
    return [End(what, at) for what in SOON if (at := found.get(what)) is not None]


def list_ends_at(crl_pem: bytes) -> datetime | None:
    """When the first of them lapses; None: there is none that can be read."""
    try:
        ends = [one.next_update_utc for one in lists_of(crl_pem)]
    except (ValueError, TypeError):
        return None
    return min((end for end in ends if end is not None), default=None)


def ends_in_s(settings: ServerSettings, now: datetime) -> dict[str, float]:
    """Seconds, by what ends; below 0 when it has."""
    return {one.what: (one.at - now).total_seconds() for one in ends(settings)}


def begin_of(path: Path) -> datetime | None:
    """None: no certificate is there that can be read."""
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_before_utc
    return None


def end_of_services(settings: ServerSettings) -> datetime | None:
    """Of the first that ends."""
    found = [_end_of(settings.tls_dir / f"{name}.crt") for name in SERVICE_NAMES]
    return min((one for one in found if one is not None), default=None)


def _end_of(path: Path) -> datetime | None:
    with suppress(OSError, ValueError):
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc
    return None
