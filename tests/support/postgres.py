"""A PostgreSQL server of the tests' own, started once a session by an unprivileged user.

It is reached by a Unix socket in its own folder, so that no port can be taken twice. Where nothing in it is worth
keeping it does not wait for the disk.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

import psutil
import psycopg

_START_DEADLINE_S = 30.0
_STOP_DEADLINE_S = 20.0


class Durability(Enum):
    """What of what was committed is still there afterwards, as options of the server."""

    NONE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
    WHEN_KILLED = ("fsync=off", "full_page_writes=off")
    DISK = ("fsync=on",)  # as it comes; Python 3.11.2 gives a member without options a value of its own


class PostgresServer:
    """Reached in ``socket_dir``. ``kill`` ends it without a word, ``start`` lets it recover."""

    def __init__(self, command: list[str], socket_dir: Path) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_dir = socket_dir

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    def start(self) -> None:
        give_up_at = time.monotonic() + _START_DEADLINE_S
        while not self._has_started(give_up_at):
            # Processes of the one that was killed may hold its memory for another moment.
            if time.monotonic() > give_up_at:
                said = (self.socket_dir / "log").read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"PostgreSQL did not start within {_START_DEADLINE_S:g} s\n{said}")
            time.sleep(0.2)

    def kill(self) -> None:
        """All of its processes: a backend that is left alone may answer once more before it sees that it is."""
        if self._process is None or self._process.poll() is not None:
            return
        backends = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        for backend in backends:
            with suppress(psutil.NoSuchProcess):
                backend.kill()
        psutil.wait_procs(backends, _STOP_DEADLINE_S)

    def stop(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        # SIGINT is its fast shutdown; on SIGTERM it would wait for whoever forgot to disconnect.
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _has_started(self, give_up_at: float) -> bool:
        with (self.socket_dir / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self.socket_dir, stdout=log, stderr=log)
        while self._process.poll() is None and time.monotonic() < give_up_at:
            try:
                psycopg.connect(host=str(self.socket_dir), user="tillmedic", dbname="postgres").close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return True
        return False

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://tillmedic@/{database}?host={self.socket_dir}"

    def create(self, database: str, template: str = "template1") -> None:
        # The default strategy copies through the WAL: five times as fast here as by file, which needs two checkpoints.
        self._execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')

    def has(self, database: str) -> bool:
        with psycopg.connect(host=str(self.socket_dir), user="tillmedic", dbname="postgres") as link:
            return link.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is not None

    def drop(self, database: str) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(host=str(self.socket_dir), user="tillmedic", dbname="postgres", autocommit=True) as link:
            link.execute(statement.encode())


def binaries() -> Path | None:
    """The folder of initdb and postgres: Debian keeps them out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if debian:
        return debian[-1].parent
    found = shutil.which("initdb")
    return Path(found).resolve().parent if found else None


@contextmanager
def running_postgres(
    bin_dir: Path, durability: Durability = Durability.NONE, settings: Sequence[str] = ()
) -> Iterator[PostgresServer]:
    """``settings``: more of them, each ``NAME=VALUE``."""
    base = Path(tempfile.mkdtemp(prefix="pg"))
    prefix = _as_unprivileged(base)
    options = [word for option in (*durability.value, "max_connections=200", *settings) for word in ("-c", option)]
    initdb = [*prefix, str(bin_dir / "initdb"), "-D", str(base / "data"), "-U", "tillmedic"]
    start = [*prefix, str(bin_dir / "postgres"), "-D", str(base / "data"), "-k", str(base), *options]
    server = PostgresServer([*start, "-c", "listen_addresses="], base)
    try:
        subprocess.run(
            [*initdb, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"], cwd=base, check=True, capture_output=True
        )
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)


def _as_unprivileged(base: Path) -> list[str]:
    """PostgreSQL refuses to run as root; ``setpriv`` replaces itself, so the pid is the server's own."""
    if os.getuid() != 0:
        return []
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    os.chown(base, user.pw_uid, user.pw_gid)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, "env", f"HOME={base}"]
