"""From the signer's journal to the audit: every signature, every stop, every policy, with its number.

The signer has no way to the database and needs none. Its own file is the first record; a copy that leaves something out
shows a gap between numbers, and a signer that began another journal shows as such.
"""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.ingest.models import ServerState
from fleet_server.kit import bulk
from fleet_server.kit.times import from_ms
from fleet_server.signer.messages import JournalEntry, JournalPage

SIGNER = "signer"
_STATE = ServerState.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
_COPIED = "signer_journal"
DEEDS = {
    "signed": "signer_signed",
    "stopped": "signer_stopped",
    "resumed": "signer_resumed",
    "policy": "signer_policy",
    "key": "signer_key",
    "release": "signer_release",
}
# Of an entry: who, by name, and what was typed. They lie beside the chain, where they can be erased.
_PERSONAL = ("approvers", "by", "reason")
NONE_TO_COPY = JournalPage("", [])


def copied_until(session: Session) -> tuple[str, int]:
    """The journal that was copied last, and its highest number in the audit."""
    row = session.get(ServerState, _COPIED)
    return ("", 0) if row is None else (str(row.value["journal"]), int(row.value["number"]))


def write_journal(session: Session, tenant_id: str, page: JournalPage) -> None:
    """In one transaction with the note of how far it came."""
    if not page.entries:
        return
    for entry in page.entries:
        actor = Actor("", SIGNER, Role.OPERATOR, str(entry.data.get("tenant", tenant_id)), ActorKind.TOKEN)
        personal = {name: entry.data[name] for name in _PERSONAL if name in entry.data}
        data = _data(page, entry)
        record(session, actor, DEEDS[entry.event], entry.device, data, personal=personal, now=from_ms(entry.at_ms))
    value: dict[str, Any] = {"journal": page.journal, "number": page.entries[-1].number}
    bulk.write(session, _STATE, [{"name": _COPIED, "value": value}], bulk.OnConflict(("name",), ("value",)))


def _data(page: JournalPage, entry: JournalEntry) -> dict[str, Any]:
    told = {name: value for name, value in entry.data.items() if name not in _PERSONAL}
    return {"journal": page.journal, "number": entry.number, **told}
