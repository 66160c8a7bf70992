"""A streaming standby of the tests' own PostgreSQL: a copy that follows, and answers who only reads."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresServer, _as_unprivileged

_DEADLINE_S = 30.0


@contextmanager
def running_standby(bin_dir: Path, primary: PostgresServer) -> Iterator[PostgresServer]:
    base = Path(tempfile.mkdtemp(prefix="pgs"))
    prefix = _as_unprivileged(base)
    copy = [str(bin_dir / "pg_basebackup"), "-h", str(primary.socket_dir), "-U", "tillmedic", "-D", str(base / "data")]
    start = [*prefix, str(bin_dir / "postgres"), "-D", str(base / "data"), "-k", str(base)]
    options = [word for option in ("fsync=off", "max_connections=200", "listen_addresses=") for word in ("-c", option)]
    server = PostgresServer([*start, *options], base)
    try:
        subprocess.run([*prefix, *copy, "-R", "-X", "stream", "-c", "fast"], cwd=base, check=True, capture_output=True)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)


def promote(standby: PostgresServer) -> None:
    with psycopg.connect(host=str(standby.socket_dir), user="tillmedic", dbname="postgres", autocommit=True) as link:
        link.execute("SELECT pg_promote()")


def wait_until_followed(primary: PostgresServer, standby: PostgresServer) -> None:
    """Until the standby has all that the primary has committed by now."""
    with psycopg.connect(host=str(primary.socket_dir), user="tillmedic", dbname="postgres") as link:
        row = link.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
    give_up_at = time.monotonic() + _DEADLINE_S
    with psycopg.connect(host=str(standby.socket_dir), user="tillmedic", dbname="postgres", autocommit=True) as link:
        while time.monotonic() < give_up_at:
            told = link.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone()
            if told is not None and told[0]:
                return
            time.sleep(0.05)
    raise AssertionError(f"the standby did not follow within {_DEADLINE_S:g} s")
