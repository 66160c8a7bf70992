"""The database session of one HTTP request. Apart from `fleet_server.db`, which processes without HTTP load too."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.kit.reach import Reach


class CallerNotKnown(RuntimeError):
    """A route asked the database for somebody whom no door had let in: a mistake of ours."""


def reach_of_request(request: Request) -> Reach:
    """Noted by the doors: `fleet_server.auth.dependencies`."""
    reach: Reach | None = getattr(request.state, "reach", None)
    if reach is None:
        raise CallerNotKnown(f"{request.method} {request.url.path[:200]}: expected a caller before the first query")
    return reach


def request_session(request: Request) -> Iterator[Session]:
    """One request is one transaction, which keeps to what the caller may see."""
    engine: Engine = request.app.state.engine
    # Asked for at the first query: the session is opened beside the door, not behind it.
    reach = partial(reach_of_request, request)
    opened = reading(engine, reach) if request.method in {"GET", "HEAD"} else transaction(engine, reach)
    with opened as session:
        yield session


# Scope "function" commits before the response is sent. The default commits after it, so a failed commit would still
# answer 200.
SessionDep = Annotated[Session, Depends(request_session, scope="function")]
