"""PostgreSQL's own programs for a copy of the whole database: ``pg_dump``, and ``pg_restore`` piped into ``psql``.

A restore is one transaction: what is there goes, what was dumped comes, and the statements of the caller are carried
out, or nothing of it. Passwords go by a file, never by the command line. The programs must be of the server's
version or newer; they say so themselves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, ClassVar

from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from fleet_server.errors import FleetError

_CHUNK = 1 << 20
_SAY_EVERY_MB = 64
_LAST_WORDS_CHARS = 300
# What an older database of ours may hold. Whoever comes in between waits for these locks and finds the restored one.
_EMPTY_THE_SCHEMA = """
BEGIN;
SET LOCAL lock_timeout = '10s';
SET LOCAL client_min_messages = warning;
DO $$ DECLARE one record; others integer; BEGIN
  FOR one IN SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE 'DROP TABLE ' || one.name || ' CASCADE';
  END LOOP;
  DROP SCHEMA IF EXISTS health_parts CASCADE;
  FOR one IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') LOOP
    EXECUTE 'DROP ROUTINE ' || one.name || ' CASCADE';
  END LOOP;
  -- Whoever has just hung up is listed for another moment.
  FOR attempt IN 1..30 LOOP
    PERFORM pg_stat_clear_snapshot();
    SELECT count(*) INTO others FROM pg_stat_activity
      WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend';
    EXIT WHEN others = 0;
    PERFORM pg_sleep(0.1);
  END LOOP;
  IF others > 0 THEN RAISE EXCEPTION '% others have come to use the database: stop them first', others; END IF;
END $$;
"""


class PostgresProgramFailed(FleetError):
    code: ClassVar[str] = "postgres_program_failed"


def dump(url: str, target: Path, say: Callable[[str], None]) -> None:
    """The database as of one moment, in PostgreSQL's custom format, while others use it."""
    command = [_program("pg_dump"), "--format=custom", "--no-owner", "--no-privileges", "--lock-wait-timeout=30000"]
    with _started([*command, f"--dbname={_address(url)}"], url, stdout=subprocess.PIPE) as (process, complaints):
        with target.open("wb") as file:
            done_mb = 0
            while chunk := _piped(process.stdout).read(_CHUNK):
                file.write(chunk)
                if file.tell() >> 20 >= done_mb + _SAY_EVERY_MB:
                    done_mb = file.tell() >> 20
                    say(f"Database: {done_mb} MB")
            file.flush()
            os.fsync(file.fileno())
        _end(process, complaints, "pg_dump")


def restore(url: str, source: Path, statements: Sequence[str]) -> None:
    """Raises ``PostgresProgramFailed`` and has changed nothing."""
    # Both are looked for before anything begins.
    reader, writer = _program("pg_restore"), _program("psql")
    script = [reader, "--file=-", "--no-owner", "--no-privileges", str(source)]
    talk = [
        writer,
        "--no-psqlrc",
        "--quiet",
        "--set=ON_ERROR_STOP=1",
        "--output=/dev/null",
        f"--dbname={_address(url)}",
    ]
    with (
        _started(talk, url, stdin=subprocess.PIPE) as (psql, complaints),
        _started(script, url, stdout=subprocess.PIPE) as (pg_restore, own_complaints),
    ):
        said = _piped(psql.stdin)
        try:
            said.write(_EMPTY_THE_SCHEMA.encode())
            shutil.copyfileobj(_piped(pg_restore.stdout), said, _CHUNK)
            # Without the COMMIT at the end psql hangs up, and nothing has happened.
            _end(pg_restore, own_complaints, "pg_restore")
            said.write("".join(f"{one};\n" for one in ("SET search_path = public", *statements, "COMMIT")).encode())
            said.close()
        except BrokenPipeError:
            pg_restore.kill()
        _end(psql, complaints, "psql")


def _program(name: str) -> str:
    """Debian keeps the newest out of PATH, where a wrapper may choose an older one."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise PostgresProgramFailed(f"{name} is not installed: install PostgreSQL's client programs")
    return found


def _address(url: str) -> str:
    parsed = make_url(url)
    parts = {"host": parsed.host, "port": parsed.port, "user": parsed.username, "dbname": parsed.database}
    given = {name: str(value) for name, value in parts.items() if value is not None}
    more = {name: value if isinstance(value, str) else ",".join(value) for name, value in parsed.query.items()}
    more.pop("password", None)
    return make_conninfo(**given, **more)


@contextmanager
def _password_file(url: str) -> Iterator[dict[str, str]]:
    """The environment of a program that finds the password in a file of its owner alone: what a program is started with
    is shown by whatever lists processes.
    """
    parsed = make_url(url)
    password = parsed.password or parsed.query.get("password")
    with NamedTemporaryFile("w", prefix="tillmedic-") as file:
        if password:
            escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
            file.write(f"*:*:*:*:{escaped}\n")
            file.flush()
        yield {**os.environ, **({"PGPASSFILE": file.name} if password else {})}


@contextmanager
def _started(
    command: Sequence[str], url: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A program that does not outlive the block; what it complains of goes into a file, which never fills up."""
    with TemporaryFile() as complaints, _password_file(url) as environment:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=complaints, env=environment)
        try:
            yield process, complaints
        finally:
            process.kill()
            process.communicate()


def _end(process: subprocess.Popen[bytes], complaints: IO[bytes], name: str) -> None:
    if process.wait() != 0:
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace").split("\n")
        worst = [line for line in said if "error" in line.lower()] or [line for line in said if line.strip()]
        raise PostgresProgramFailed(f"{name}: {(worst or ['it ended without a word'])[0].strip()[:_LAST_WORDS_CHARS]}")


def _piped(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None  # noqa: S101 - asked for by whoever started the program, which the types cannot say
    return stream
