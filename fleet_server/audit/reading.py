"""Reading the audit is a deed: it is written down, in a transaction of its own, before anything is shown. Where that
cannot be done, as on a standby, nothing is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Engine

from fleet_server.audit.files import AuditFormat, written
from fleet_server.audit.keeping import named_rows
from fleet_server.audit.service import AuditFilter, AuditLine, AuditService, record
from fleet_server.auth.roles import Actor, Permission
from fleet_server.db import reading, transaction
from protocol.redaction import scrub_json


def note_reading(engine: Engine, actor: Actor, action: str, conditions: Mapping[str, str | int]) -> None:
    """``conditions`` are what somebody typed, and the audit forgets nothing: card data stays out of it."""
    clean = {name: scrub_json(value) for name, value in conditions.items()}
    with transaction(engine, actor.reach) as session:
        record(session, actor, action, data=clean)


def without_personal(lines: Sequence[AuditLine]) -> list[AuditLine]:
    return [replace(line, personal={}) for line in lines]


def audit_file(
    engine: Engine, actor: Actor, where: AuditFilter, wanted: AuditFormat, behind: int = 0
) -> Iterator[bytes]:
    """An empty chunk once it is written down, then the file."""
    conditions = {**where.as_data(), "format": wanted.value, **({"behind": behind} if behind else {})}
    note_reading(engine, actor, "audit_exported", conditions)
    yield b""
    with reading(engine, actor.reach) as session:
        query = AuditService(session, actor.tenant_id).query(where)
    with_personal = actor.may(Permission.PERSONAL_READ)
    yield from written(named_rows(engine, actor.tenant_id, query, behind, with_personal=with_personal), wanted)
