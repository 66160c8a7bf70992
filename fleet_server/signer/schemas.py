"""HTTP shapes of the signer and the emergency stop."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fleet_server.kit.free_text import FreeText
from fleet_server.kit.schemas import Answer, Asked, Moment
from fleet_server.kit.times import from_ms
from fleet_server.signer.messages import Standing
from fleet_server.signer.stopping import note_of


class StopAsked(Asked):
    reason: Annotated[str, Field(min_length=3, max_length=300), FreeText]


class LiftAsked(Asked):
    """The DSSE envelope of the lift as JSON text, signed by approvers: `fleet-server signing lift` makes it."""

    envelope: Annotated[str, Field(min_length=1, max_length=65536)]


class SigningRead(Answer):
    """``epoch``: number of the last stop, which its lift names. ``used_in_the_last_hour``: commands by class, of all
    tenants; told to the installation's own.
    """

    tenant: str
    stopped: bool
    epoch: int
    by: str
    reason: str
    at: Moment | None
    policy_version: int
    approvers: list[str]
    used_in_the_last_hour: dict[str, int]


def signing_read(standing: Standing, tenant: str, approvers: list[str], *, is_own: bool) -> SigningRead:
    note = note_of(standing, tenant)
    return SigningRead(
        tenant=tenant,
        stopped=note is not None and note.holds,
        epoch=0 if note is None else note.stopped,
        by="" if note is None else note.by,
        reason="" if note is None else note.reason,
        at=None if note is None else from_ms(note.at_ms),
        policy_version=standing.policy_version,
        approvers=approvers,
        used_in_the_last_hour=standing.used if is_own else {},
    )
