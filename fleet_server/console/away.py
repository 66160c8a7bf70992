"""The page while the database is away and nothing can be read, or something was to be written.

It says since when and what still works, and comes back by itself as soon as there is something to come back to. What
was typed into a form is in it again, ready to be sent; a password is not.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from fleet_server.console.frame import make_frame, page
from fleet_server.console.language import N_
from fleet_server.databases import DatabaseAway, DatabaseRestoring

MAX_FIELDS = 40
MAX_CHARS = 4000
_SECRETS = frozenset({"password"})

AWAY_TITLE = N_("The database cannot be reached just now")
RESTORING_TITLE = N_("A backup is being brought back")
STILL_WORKS = (
    N_("Terminals go on taking payments. They keep what they have to report and send it afterwards."),
    N_("Checks and fixes that a terminal has already stored go on there; their results come afterwards."),
    N_("Pages that are open can still be read. Nothing can be changed until this is over."),
)


def away_page(request: Request, told: DatabaseAway, typed: Mapping[str, object]) -> Response:
    is_restoring = isinstance(told, DatabaseRestoring)
    frame = make_frame(request, None)
    kept = _kept(typed)
    answer = page(
        frame,
        "away.html",
        status=told.status,
        title=RESTORING_TITLE if is_restoring else AWAY_TITLE,
        code=told.code,
        still_works=STILL_WORKS,
        # Asked again by its address alone, a form's page would be another one.
        is_form=request.method == "POST",
        can_send_again=bool(kept) and not _SECRETS & typed.keys(),
        address=request.url.path,
        kept=kept,
    )
    answer.headers["Retry-After"] = str(told.retry_after_s)
    return answer


def _kept(typed: Mapping[str, object]) -> dict[str, str]:
    texts = {name: value for name, value in typed.items() if isinstance(value, str) and name not in _SECRETS}
    return {name: value[:MAX_CHARS] for name, value in list(texts.items())[:MAX_FIELDS]}
