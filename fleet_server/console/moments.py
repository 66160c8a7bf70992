"""Moments and spans in words. Relative on screen; the absolute form, with its zone, stands in the hover text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.dates import get_timezone_name
from babel.support import Translations

from fleet_server.console.language import Language

_MINUTE = 60
_HOUR = 3600
_DAY = 86_400
# Spans come from devices too: beyond a thousand years nothing is lost by not saying how long.
_LONGEST_S = 1000 * 365 * _DAY


@dataclass(frozen=True, slots=True)
class Moment:
    """``iso`` for machines, ``text`` for the eye, ``full`` for hover and paper."""

    iso: str
    text: str
    full: str


def zone_of(name: str) -> ZoneInfo:
    """UTC for a name that this machine does not know: a wrong hour is worse than a foreign one that says so."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Calendar:
    """Writes moments as seen from one zone at one instant."""

    language: Language
    texts: Translations
    zone: ZoneInfo
    now: datetime

    def zone_name(self) -> str:
        if self.zone.key == "Asia/Shanghai":
            return self.texts.gettext("Beijing time")
        if self.zone.key == "UTC":
            return "UTC"
        return get_timezone_name(self.zone, locale=self.language.folder)

    def clock(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%H:%M:%S")

    def hour_minute(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%H:%M")

    def day(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        today = self.now.astimezone(self.zone).date()
        date = self._date(local, with_year=local.year != today.year)
        if local.date() == today:
            return self.texts.gettext("Today") + " · " + date
        if local.date() == today - timedelta(days=1):
            return self.texts.gettext("Yesterday") + " · " + date
        return date

    def month_day(self, moment: datetime) -> str:
        return self._date(moment.astimezone(self.zone), with_year=False)

    def full(self, moment: datetime) -> str:
        return moment.astimezone(self.zone).strftime("%Y-%m-%d %H:%M:%S") + " " + self.zone_name()

    def ago(self, moment: datetime | None) -> Moment | None:
        return None if moment is None else Moment(_iso(moment), self._ago(moment), self.full(moment))

    def at(self, moment: datetime | None) -> Moment | None:
        """The time of day when it was today, else the date too."""
        return None if moment is None else Moment(_iso(moment), self._at(moment), self.full(moment))

    def span(self, seconds: float) -> str:
        gettext = self.texts.gettext
        whole = int(min(seconds, _LONGEST_S))
        if whole < _MINUTE:
            return gettext("%(n)s s") % {"n": max(whole, 0)}
        if whole < _HOUR:
            return gettext("%(n)s min") % {"n": whole // _MINUTE}
        if whole < 2 * _DAY:
            return gettext("%(h)s h %(m)s min") % {"h": whole // _HOUR, "m": whole % _HOUR // _MINUTE}
        return gettext("%(n)s days") % {"n": whole // _DAY}

    def length(self, span: timedelta) -> str:
        """Of a bucket: whole minutes, hours or days."""
        minutes = round(span.total_seconds()) // _MINUTE
        if minutes % (24 * 60) == 0:
            days = minutes // (24 * 60)
            return self.texts.gettext("1 day") if days == 1 else self.texts.gettext("%(n)s days") % {"n": days}
        unit = self.texts.gettext("%(n)s h") if minutes % 60 == 0 else self.texts.gettext("%(n)s min")
        return unit % {"n": minutes // 60 if minutes % 60 == 0 else minutes}

    def _ago(self, moment: datetime) -> str:
        seconds = (self.now - moment).total_seconds()
        if seconds < 1:
            return self.texts.gettext("just now")
        if seconds < _HOUR:
            return self.texts.gettext("%(span)s ago") % {"span": self.span(seconds)}
        return self._at(moment)

    def _at(self, moment: datetime) -> str:
        local = moment.astimezone(self.zone)
        today = self.now.astimezone(self.zone).date()
        clock = local.strftime("%H:%M")
        if local.date() == today:
            return clock
        if local.date() == today - timedelta(days=1):
            return self.texts.gettext("yesterday %(clock)s") % {"clock": clock}
        return self._date(local, with_year=local.year != today.year) + " " + clock

    def _date(self, local: datetime, *, with_year: bool) -> str:
        if self.language is Language.ZH:
            date = f"{local.month} 月 {local.day} 日"
            return f"{local.year} 年 {date}" if with_year else date
        date = f"{local.day} {local.strftime('%b')}"
        return f"{date} {local.year}" if with_year else date


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
