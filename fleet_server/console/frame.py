"""What every page shares: language, theme, the person, where one is, and the time the page was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse

from fleet_server.approvals.broken_glass import BrokenGlass
from fleet_server.auth.roles import Actor, Permission, Role
from fleet_server.auth.sessions import ConsoleSession
from fleet_server.console.language import COOKIE, N_, Language, choose, translations
from fleet_server.console.moments import Calendar, Moment, zone_of
from fleet_server.console.templating import render
from fleet_server.databases import UP, Reads, Standing
from fleet_server.kit.times import utc_now
from fleet_server.signer.stopping import stop_shown
from protocol.stops import StopOrder

THEME_COOKIE = "tillmedic_theme"
DENSITY_COOKIE = "tillmedic_density"
THEMES = ("", "light", "dark")
DENSITIES = ("", "roomy")
DEFAULT_ZONE = "Asia/Shanghai"


# Sections in which something is asked of devices, or waits for them.
_TOLD_OF_FREEZES = frozenset({"fleet", "freezes", "inspections", "runs", "signing"})
# What `fleet_server.enrollment.ends` knows the ends of.
ENDS: Mapping[str, str] = {
    "root": N_("Certificate of the root"),
    "issuing": N_("Certificate of the issuing authority"),
    "revocation_list": N_("List of revoked certificates"),
    "broker": N_("Certificate of the broker"),
    "console": N_("Certificate of the console"),
    "services": N_("Certificates of the server's own processes"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """Who looks at the page, and what the page offers them. The doors behind the buttons check again."""

    actor: Actor
    shown_name: str
    csrf: str

    def may(self, permission: str) -> bool:
        """By the names of `Permission`, as templates write them."""
        return self.actor.may(Permission(permission))

    @property
    def works_by_assignments(self) -> bool:
        return self.actor.role.works_by_assignments

    @property
    def may_check(self) -> bool:
        return self.actor.may(Permission.REQUEST_CHECK)

    @property
    def may_change(self) -> bool:
        return self.actor.may(Permission.REQUEST_FIX)


@dataclass(frozen=True, slots=True)
class Ending:
    what: str  # source text
    at: Moment | None
    is_over: bool


@dataclass(frozen=True, slots=True)
class FreezeShown:
    begins: Moment | None
    ends: Moment | None
    reason: str
    by: str
    is_in_force: bool


@dataclass(frozen=True, slots=True)
class Frame:
    language: Language
    theme: str
    density: str
    person: Person | None
    here: str  # path and query of this page, where a switch of language or theme returns to
    section: str
    calendar: Calendar
    is_demo: bool
    standing: Standing = UP
    stop: StopOrder | None = None  # the emergency stop that holds
    approval_url: str = ""  # of the approval page, where there is one
    broken_glass: Sequence[BrokenGlass] = ()  # what is allowed at this moment without any approver
    freezes: Sequence[FreezeShown] = ()  # that hold what is planned for many devices, now or within a day
    endings: Sequence[Ending] = ()  # for whoever runs the installation: what nobody is let in without, and ends soon

    @property
    def reads_elsewhere(self) -> bool:
        """What is shown is not from the database itself, and nothing can be changed."""
        return self.standing.reads in {Reads.STANDBY, Reads.OLD_COPY}

    @property
    def next_theme(self) -> str:
        return THEMES[(THEMES.index(self.theme) + 1) % len(THEMES)]


def make_frame(
    request: Request, session: ConsoleSession | None, section: str = "", *, zone: str = DEFAULT_ZONE
) -> Frame:
    language = choose(request.cookies.get(COOKIE), request.headers.get("accept-language", ""))
    theme = request.cookies.get(THEME_COOKIE, "")
    density = request.cookies.get(DENSITY_COOKIE, "")
    now: datetime = utc_now()
    calendar = Calendar(language, translations(language), zone_of(zone), now)
    return Frame(
        language=language,
        theme=theme if theme in THEMES else "",
        density=density if density in DENSITIES else "",
        person=None if session is None else Person(session.actor, session.display_name, session.csrf),
        here=_here(request),
        section=section,
        calendar=calendar,
        is_demo=bool(request.app.state.settings.demo),
        standing=request.app.state.databases.standing,
        stop=None if session is None else stop_shown(request.app.state.settings.server_dir, session.actor.tenant_id),
        approval_url=request.app.state.settings.approval_url,
        broken_glass=() if session is None else request.app.state.broken_glass.live(session.actor.tenant_id, now),
        freezes=() if session is None or section not in _TOLD_OF_FREEZES else _freezes(request, session, calendar, now),
        endings=_endings(request, session, calendar, now),
    )


def page(frame: Frame, template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    html = render(frame.language, template, frame=frame, **values)
    return HTMLResponse(
        html, status_code=status, headers={"Vary": "Cookie, Accept-Language", "Cache-Control": "no-store"}
    )


def fragment(frame: Frame, template: str, **values: object) -> str:
    return render(frame.language, template, frame=frame, **values)


def local_path(text: str) -> str:
    """``text`` when it is a path of this console, else the front page: never a door to another site."""
    parts = urlsplit(text)
    is_ours = not parts.scheme and not parts.netloc and text.startswith("/") and not text.startswith(("//", "/\\"))
    return text if is_ours and text.isprintable() and "\\" not in text else "/"


def _endings(request: Request, session: ConsoleSession | None, calendar: Calendar, now: datetime) -> list[Ending]:
    """Only an operator of the installation can do something about it."""
    state = request.app.state
    if session is None or session.actor.tenant_id != state.settings.tenant or session.actor.role is not Role.OPERATOR:
        return []
    return [Ending(ENDS[one.what], calendar.at(one.at), one.at <= now) for one in state.ends.soon(now)]


def _freezes(request: Request, session: ConsoleSession, calendar: Calendar, now: datetime) -> list[FreezeShown]:
    found = request.app.state.freezes.ahead(session.actor.tenant_id, now)
    return [
        FreezeShown(calendar.at(one.begins_at), calendar.at(one.ends_at), one.reason, one.by, one.is_in_force)
        for one in found
    ]


def _here(request: Request) -> str:
    if request.method != "GET":
        return "/"
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")
