"""The rule for approvals and for work on keys: only a person who has shown within `STEP_UP_LIMIT` that it is them.

A program never is one: a token lies in a file and shows nothing about who uses it, so it is refused whatever its role.
What a person does by a program (an approver at the command line) has to carry a proof of its own that no token can
make, such as the signature of the approver's key.
"""

from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response

from fleet_server.auth.dependencies import ActorDep, ConsoleSessionDep, own_hosts
from fleet_server.auth.errors import PersonNeeded, StepUpNeeded
from fleet_server.auth.roles import Actor, ActorKind
from fleet_server.kit.times import utc_now


def stepped_up(request: Request, session: ConsoleSessionDep) -> Actor:
    """For pages: refuses with `StepUpNeeded`, which leads to the page that asks for a proof, and back."""
    if not session.is_stepped_up(utc_now()):
        raise StepUpNeeded(_page_of(request))
    return session.actor


SteppedUpDep = Annotated[Actor, Depends(stepped_up)]


def person_only(actor: ActorDep) -> Actor:
    """For the JSON door: it knows tokens only, so whatever depends on this refuses all of them, with the reason."""
    return check_person(actor)


PersonOnlyDep = Annotated[Actor, Depends(person_only)]


def check_person(actor: Actor) -> Actor:
    if actor.kind is not ActorKind.PERSON:
        raise PersonNeeded("this needs a person who has just confirmed who they are, not a token: do it in the console")
    return actor


def lead_to_step_up(request: Request, error: Exception) -> Response:
    """The handler of `StepUpNeeded`. What was typed is not kept: the page is shown again after the proof."""
    wanted = error.wanted if isinstance(error, StepUpNeeded) else "/"
    target = f"/step-up?next={quote(wanted, safe='/')}"
    if request.headers.get("hx-request") == "true":
        return Response(status_code=403, headers={"HX-Redirect": target})
    return Response(status_code=303, headers={"Location": target, "Cache-Control": "no-store"})


def _page_of(request: Request) -> str:
    """The page itself, or the one whose form was sent."""
    if request.method == "GET":
        parts = request.url
    else:
        came_from = urlsplit(request.headers.get("referer", ""))
        if came_from.netloc not in own_hosts(request):
            return "/"
        parts = request.url.replace(path=came_from.path, query=came_from.query)
    return "/" + parts.path.lstrip("/") + (f"?{parts.query}" if parts.query else "")
