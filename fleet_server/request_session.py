"""The database session of one HTTP request. Apart from `fleet_server.db`, which processes without HTTP load too."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Engine
from sqlmodel import Session

from fleet_server.db import reading, transaction


def request_session(request: Request) -> Iterator[Session]:
    """One request is one transaction."""
    engine: Engine = request.app.state.engine
    opened = reading(engine) if request.method in {"GET", "HEAD"} else transaction(engine)
    with opened as session:
        yield session


# Scope "function" commits before the response is sent. The default commits after it, so a failed commit would still
# answer 200.
SessionDep = Annotated[Session, Depends(request_session, scope="function")]
