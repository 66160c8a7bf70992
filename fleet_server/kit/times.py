"""Moments: aware UTC, to and from the protocol's Unix milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def utc_now() -> datetime:
    """The one place where the server reads the clock; pass the moment on instead of reading it again."""
    return datetime.now(UTC)


def from_ms(milliseconds: int) -> datetime:
    """Moments beyond the year 9999 are cut to its last second: a device's clock may say anything."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def to_ms(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND


def to_us(moment: datetime) -> int:
    """Whole microseconds, as exact as databases keep moments: for cursors."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def text(moment: datetime | None) -> str | None:
    """RFC 3339 with milliseconds and Z, the form of every moment in an answer."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
