"""HTTP shapes of the approval page's own door."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import Field

from fleet_server.approvals.documents import Awaited
from fleet_server.kit.schemas import Answer, Asked


class SignInAsked(Asked):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    password: Annotated[str, Field(min_length=1, max_length=256)]


class ProofAsked(Asked):
    """A code of the second factor; the password of whoever has none."""

    proof: Annotated[str, Field(min_length=1, max_length=256)]


class SessionRead(Answer):
    """``session``: for the header of every other request. ``needs_code``: it is good for giving the code alone."""

    session: str
    person: str
    needs_code: bool
    has_second_factor: bool


class WaitingRead(Answer):
    """``document_base64``: the bytes that are signed. What they say is read from them and from nothing else."""

    execution: str
    document_base64: str
    needed: int
    approved_by: list[str]


class DeskRead(Answer):
    """``keys``: ids of the keys by which the policy knows this person."""

    person: str
    may_decide: bool
    keys: list[str]
    items: list[WaitingRead]


class DecisionRead(Answer):
    state: str


def waiting_read(one: Awaited) -> WaitingRead:
    return WaitingRead(
        execution=one.row.execution_id,
        document_base64=base64.b64encode(one.row.payload.encode()).decode(),
        needed=one.row.needed,
        approved_by=list(one.people),
    )
