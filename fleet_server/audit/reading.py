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


def note_reading(engine: Engine, actor: Actor, action: str, conditions: Mapping[str, object]) -> None:
    with transaction(engine, actor.tenant_id) as session:
        record(session, actor, action, data=conditions)


def without_personal(lines: Sequence[AuditLine]) -> list[AuditLine]:
    return [replace(line, personal={}) for line in lines]


def audit_file(
    engine: Engine, actor: Actor, where: AuditFilter, wanted: AuditFormat, behind: int = 0
) -> Iterator[bytes]:
    """An empty chunk once it is written down, then the file."""
    conditions = {**where.as_data(), "format": wanted.value, **({"behind": behind} if behind else {})}
    note_reading(engine, actor, "audit_exported", conditions)
    yield b""
    with reading(engine, actor.tenant_id) as session:
        query = AuditService(session, actor.tenant_id).query(where)
    with_personal = actor.may(Permission.PERSONAL_READ)
    yield from written(named_rows(engine, actor.tenant_id, query, behind, with_personal=with_personal), wanted)
