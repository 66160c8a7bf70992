"""The audit at its size: how long a chain takes to go over, whether any damage in it is missed, what an entry costs.

Every one of the entries is in turn edited, left out and put in the place of its neighbour, and held against the chain
as it stands before it; a sample is damaged in the database itself and gone over from the first entry.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from fleet_server import migrate
from fleet_server.audit.checking import Check
from fleet_server.audit.service import record
from fleet_server.db import open_engine, transaction
from tests.benchmarks.figures import Figure, percentile
from tests.support.audit_rig import (
    BEGAN_AT,
    chain,
    change,
    database_administrator,
    person,
    remove,
    verified,
    write_entries,
)

ENTRIES = 100_000
SAMPLE = 8
DEEDS = 300


def measure(folder: Path) -> list[Figure]:
    engine = open_engine(f"sqlite:///{folder}/audit.db")
    try:
        migrate.upgrade(engine)
        write_entries(engine, ENTRIES)
        began = time.perf_counter()
        outcome = verified(engine)
        seconds = time.perf_counter() - began
        assert outcome.finding is None, outcome.finding
        return [
            Figure("audit: 100,000 entries gone over in the database", seconds, "s"),
            *_every_entry(engine),
            Figure("audit: damage of a sample not named at its place", _sample(engine), "of 24", "0"),
            *_cost(engine),
        ]
    finally:
        engine.dispose()


def _every_entry(engine: Engine) -> list[Figure]:
    with engine.connect() as connection:
        rows = chain(connection)
    missed = {"edited": 0, "cut": 0, "reordered": 0}
    check = Check("default")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        before = (check.seq, check.row_hash)
        for damage, other in (
            ("edited", replace(row, target=f"{row.target}x")),
            ("cut", following),
            ("reordered", None if following is None else replace(following, seq=row.seq)),
        ):
            if other is not None and check.take(other):
                missed[damage] += 1
                check.seq, check.row_hash = before
        assert check.take(row)
    return [
        Figure(f"audit: entries {damage} and not noticed", count, "of 100,000", "0") for damage, count in missed.items()
    ]


def _sample(engine: Engine) -> int:
    dice = random.Random(20)
    wrong = 0
    damages: list[Callable[[Connection, int], None]] = [
        lambda connection, place: change(connection, place, action="nothing_happened"),
        lambda connection, place: remove(connection, place, place),
        _swap,
    ]
    for damage in damages:
        for place in dice.sample(range(2, ENTRIES - 1), SAMPLE):
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    "CREATE TEMP TABLE kept AS SELECT * FROM audit_entry WHERE seq IN (?, ?)", (place, place + 1)
                )
            with database_administrator(engine) as connection:
                damage(connection, place)
            found = verified(engine).finding
            wrong += found is None or found.seq != place
            with database_administrator(engine) as connection:
                connection.exec_driver_sql("DELETE FROM audit_entry WHERE seq IN (?, ?)", (place, place + 1))
                connection.exec_driver_sql("INSERT INTO audit_entry SELECT * FROM kept")
                connection.exec_driver_sql("DROP TABLE kept")
    return wrong


def _swap(connection: Connection, place: int) -> None:
    for sets, which in ((f"-({2 * place + 1} - seq)", f"seq IN ({place}, {place + 1})"), ("-seq", "seq < 0")):
        connection.execute(text(f"UPDATE audit_entry SET seq = {sets} WHERE {which}"))  # noqa: S608 - numbers of our own


def _cost(engine: Engine) -> list[Figure]:
    spent: dict[bool, list[float]] = {True: [], False: []}
    for number in range(2 * DEEDS):
        with_entry = number % 2 == 0
        began = time.perf_counter()
        with transaction(engine) as session:
            session.execute(text("UPDATE audit_head SET held = 1 - held"))
            if with_entry:
                record(session, person(), "done", "d-1", {"number": number}, address="10.0.0.1", now=BEGAN_AT)
        spent[with_entry].append(time.perf_counter() - began)
    extra_ms = (percentile(spent[True], 0.5) - percentile(spent[False], 0.5)) * 1000
    return [Figure("audit: what an entry adds to a transaction (median)", extra_ms, "ms")]
