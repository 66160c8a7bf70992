"""Everything that is stored about somebody, as one JSON document with what each field is, why it is kept, how long, and
who sees it; written as it is read, so that its size is no matter. And the same in numbers, before an erasure.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Engine

from fleet_server.audit.service import record
from fleet_server.auth.roles import Actor
from fleet_server.db import transaction
from fleet_server.kit.times import text
from fleet_server.personal.register import FIELDS, Erased, PersonalField
from fleet_server.personal.scanning import scan
from fleet_server.personal.subjects import Subject
from fleet_server.settings import ServerSettings

# Of no use to anybody but the program, and worth something to a thief.
_SECRETS = {"person.password_hash", "person.totp_sealed", "person.totp_new_sealed", "person.set_up_sha256"} | {
    "recovery_code.id_sha256"
}
_WITHHELD = "withheld: a secret of the account"


def survey(engine: Engine, subject: Subject, tell: Callable[[int], None] = lambda _rows: None) -> dict[str, int]:
    """Rows by column, of what is about them."""
    counts: Counter[str] = Counter()
    for rows, (table, _, about) in enumerate(scan(engine, subject), start=1):
        counts.update(f"{table}.{column}" for column in about)
        tell(rows)
    return dict(sorted(counts.items()))


def export(engine: Engine, actor: Actor, subject: Subject, settings: ServerSettings, now: datetime) -> Iterator[bytes]:
    """Written down first, by an empty chunk; then the document."""
    with transaction(engine, actor.reach) as session:
        record(session, actor, "personal_exported", subject.reference, now=now)
    yield b""
    head = {"about": subject.reference, "title": subject.title, "made_at": text(now), "fields": described(settings)}
    # The document goes on where its head would end.
    yield msgspec.json.format(msgspec.json.encode(head), indent=1).removesuffix(b"\n}") + b',\n "data": ['
    begun = False
    for table, row, about in scan(engine, subject):
        values = {column: _plain(f"{table}.{column}", value) for column, value in about.items()}
        line = {"table": table, "key": _key(row, about), "values": values}
        yield (b",\n  " if begun else b"\n  ") + msgspec.json.encode(line)
        begun = True
    yield b"\n ]\n}\n"


def described(settings: ServerSettings) -> dict[str, dict[str, str]]:
    return {field.name: _described(field, settings) for field in FIELDS if field.erased is not Erased.LETTER}


def kept_for(field: PersonalField, settings: ServerSettings) -> str:
    days = getattr(settings, field.kept, None)
    if days is None:
        return field.kept
    return "for ever" if days == 0 else f"{days} days ({field.kept})"


def _described(field: PersonalField, settings: ServerSettings) -> dict[str, str]:
    return {
        "what_zh": field.what_zh,
        "what_en": field.what_en,
        "why_zh": field.why_zh,
        "why_en": field.why_en,
        "kept": kept_for(field, settings),
        "seen_by": field.seen.value,
    }


def _key(row: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """What else of the row says which one it is."""
    return {name: _plain("", value) for name, value in row.items() if name not in about and _is_key(name)}


def _is_key(name: str) -> bool:
    return name in {"id", "seq", "execution_id", "device_id", "link_id", "stream", "metric"}


def _plain(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return _WITHHELD if value else ""
    if isinstance(value, datetime):
        return text(value)
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return value
