"""Verifying and anchoring the chains in a database, piece by piece: no transaction is open for longer than a piece, and
writers wait for none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from fleet_server.audit import subjects
from fleet_server.audit.anchors import Keys, Kind, Signed, check_from, newest, opened_for, sign_head, sign_stub
from fleet_server.audit.chain import ChainRow
from fleet_server.audit.checking import Check, Finding, Source, verify
from fleet_server.audit.models import AuditAnchor
from fleet_server.audit.repository import AuditQuery, AuditRepository, tenants_with_audit
from fleet_server.db import reading, transaction
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.kit.times import from_us
from protocol.signing import SigningKey

PIECE: Final = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verification came to: ``finding`` None means that the chain holds up to ``check.seq``."""

    tenant_id: str
    check: Check
    finding: Finding | None
    anchors: tuple[Signed, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a chain before its rows are read."""

    head: tuple[int, str] | None
    envelopes: tuple[str, ...]


def tenants(engine: Engine) -> list[str]:
    with reading(engine) as session:
        return list(tenants_with_audit(session))


def rows_of(engine: Engine, tenant_id: str) -> Source:
    def rows(behind: int) -> Iterator[ChainRow]:
        while True:
            with reading(engine, tenant_id) as session:
                found = AuditRepository(session, tenant_id).rows_after(behind, PIECE)
            yield from found
            if len(found) < PIECE:
                return
            behind = found[-1].seq

    return rows


def named_rows(
    engine: Engine, tenant_id: str, query: AuditQuery, behind: int = 0, *, with_personal: bool
) -> Iterator[tuple[ChainRow, Mapping[str, str]]]:
    """For files: each row with the names of those it is about, and without what is beside it where that is not meant
    for the reader.
    """
    while True:
        with reading(engine, tenant_id) as session:
            found = AuditRepository(session, tenant_id).rows_after(behind, PIECE, query)
            people = subjects.names_of(session, tenant_id, {name for row in found for name in (row.actor, row.target)})
        names = people if with_personal else {}
        for row in found:
            yield (row if with_personal else replace(row, salt="", document=None)), names
        if len(found) < PIECE:
            return
        behind = found[-1].seq


def standing(engine: Engine, tenant_id: str) -> Standing:
    with reading(engine, tenant_id) as session:
        repository = AuditRepository(session, tenant_id)
        head = repository.head()
        envelopes = tuple(one.envelope for one in repository.anchors())
    return Standing(None if head is None else (head.seq, head.row_hash), envelopes)


def verify_database(
    engine: Engine,
    tenant_id: str,
    keys: Keys,
    kept_elsewhere: Iterable[str] = (),
    say: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """The whole chain against its head, its anchors, and those that were kept elsewhere."""
    known = standing(engine, tenant_id)
    signed = opened_for(tenant_id, known.envelopes, keys)
    others = opened_for(tenant_id, kept_elsewhere, keys, all_there=False)
    for one in (signed, others):
        if isinstance(one, Finding):
            return Outcome(tenant_id, Check(tenant_id), one, ())
    assert not isinstance(signed, Finding)  # noqa: S101 - returned above
    assert not isinstance(others, Finding)  # noqa: S101 - as above
    # Those in the database begin the chain; a stub that only a file has must not cut it.
    check = check_from(tenant_id, signed)
    check.anchors = {**check.anchors, **{one.statement.seq: one.statement.row_hash for one in others}}
    finding = verify(rows_of(engine, tenant_id), check, known.head, say)
    return Outcome(tenant_id, check, finding, tuple(signed))


def anchor(engine: Engine, outcome: Outcome, key: SigningKey, folder: Path, now: datetime) -> Signed | None:
    """Signs the head that was found to hold, into the database and into a file; None: nothing is new."""
    ends = {one.statement.seq for one in outcome.anchors if one.statement.kind is Kind.HEAD}
    if outcome.check.seq == 0 or outcome.check.seq in ends:
        return None
    signed = sign_head(outcome.check, newest(outcome.anchors), key, now)
    # The file first: what is in the database is on disk elsewhere, or nowhere.
    write_anchor(folder, signed)
    keep(engine, signed)
    return signed


def stub(
    engine: Engine, outcome: Outcome, before: datetime, key: SigningKey, folder: Path, now: datetime
) -> Signed | None:
    """Signs that what is older than ``before`` may be removed, up to an entry that was anchored; None: nothing is."""
    with reading(engine, outcome.tenant_id) as session:
        repository = AuditRepository(session, outcome.tenant_id)
        oldest = repository.newest_before(before)
        place = max((seq for seq in outcome.check.anchors if outcome.check.begun_at < seq <= oldest), default=0)
        rows = repository.rows_after(place - 1, 1) if place else []
    if not rows or rows[0].seq != place or outcome.finding is not None:
        return None
    last = newest(outcome.anchors)
    signed = sign_stub(outcome.tenant_id, place, rows[0].row_hash, rows[0].at_us, last, key, now)
    write_anchor(folder, signed)
    keep(engine, signed)
    return signed


def keep(engine: Engine, signed: Signed) -> None:
    said = signed.statement
    with transaction(engine, said.tenant) as session:
        AuditRepository(session, said.tenant).add_anchor(
            AuditAnchor(
                tenant_id=said.tenant,
                kind=said.kind.value,
                seq=said.seq,
                signed_at=from_us(said.signed_at_us),
                envelope=signed.envelope,
            )
        )


def write_anchor(folder: Path, signed: Signed) -> Path:
    """One file a day and tenant; a further one of the same day is named by its place too."""
    said = signed.statement
    place = make_private_dir(folder / said.tenant)
    day = f"{from_us(said.signed_at_us):%Y-%m-%d}"
    path = place / f"{day}.json"
    if path.exists() or said.kind.value != "head":
        path = place / f"{day}-{said.kind.value}-{said.seq}.json"
    write_private(path, signed.envelope + "\n")
    return path


def read_anchors(path: Path) -> list[str]:
    """Envelopes from a file, or from all files of a folder and the folders in it."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    return [file.read_text("utf-8").strip() for file in files]
