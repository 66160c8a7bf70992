"""PostgreSQL for a run: one server, and an asynchronous standby where the plan wants to promote it.

Clients know a folder that leads to the socket of whoever is the primary. A kill is survived without waiting for the
disk, so that nobody waits for it: what a power cut does is tried elsewhere.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
import psycopg

from tests.chaos.processes import Kept
from tests.support.postgres import Durability, binaries

USER: Final = "tillmedic"
NAME: Final = "fleet"
_UP_WITHIN_S: Final = 30.0
_OPTIONS: Final = (*Durability.WHEN_KILLED.value, "max_connections=100", "listen_addresses=", "wal_level=replica")


class NotUp(Exception):
    """A server did not come up in time."""


class Cluster:
    """``folder`` is the cluster's own; ``door`` is the folder that clients know."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._folder = folder
        self._bin = binaries()
        self._log = log
        self._owner = _unprivileged()
        self.door = folder / "door"
        self.primary = self._server("one")
        self.standby: Kept | None = None

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://{USER}@/{NAME}?host={self.door}"

    def make(self) -> None:
        """For the template: an empty database in a stopped cluster."""
        self._folder.mkdir(parents=True)
        self._own(self._folder)
        self._socket_dir("one")
        command = [*self._owner, str(self._program("initdb")), "-D", str(self._folder / "one"), "-U", USER]
        _carry_out([*command, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"])
        self.open()
        with psycopg.connect(host=str(self.door), user=USER, dbname="postgres", autocommit=True) as link:
            link.execute(f"CREATE DATABASE {NAME}".encode())

    def open(self) -> None:
        self._lead_to("one")
        self.primary.keep()
        self._await(self.door)

    def add_standby(self) -> None:
        """A copy of the primary as it is now, which follows it."""
        target = self._folder / "two"
        command = [*self._owner, str(self._program("pg_basebackup")), "-D", str(target), "-R", "-c", "fast"]
        _carry_out([*command, "-h", str(self._sockets("one")), "-U", USER])
        self._socket_dir("two")
        self.standby = self._server("two")
        self.standby.keep()
        self._await(self._sockets("two"))

    def stall(self) -> None:
        """The standby hears nothing more of the primary, which does not care."""
        for process in self.primary.family():
            # Any but that one may end at this moment.
            with suppress(psutil.NoSuchProcess):
                if "walsender" in " ".join(process.cmdline()):
                    process.suspend()

    def promote(self) -> None:
        """The primary is lost with everything that the standby has not heard of."""
        if self.standby is None:
            raise NotUp("there is no standby to promote")
        self.primary.hold_down()
        command = [*self._owner, str(self._program("pg_ctl")), "promote", "-D", str(self._folder / "two"), "-w"]
        _carry_out(command)
        self.primary, self.standby = self.standby, None
        self._lead_to("two")

    def processes(self) -> list[Kept]:
        return [self.primary, *([self.standby] if self.standby else [])]

    def _server(self, name: str) -> Kept:
        options = [word for option in _OPTIONS for word in ("-c", option)]
        command = [str(self._program("postgres")), "-D", str(self._folder / name), "-k", str(self._sockets(name))]
        return Kept("database", [*self._owner, *command, *options], self._log)

    def _await(self, sockets: Path) -> None:
        give_up_at = time.monotonic() + _UP_WITHIN_S
        while True:
            try:
                psycopg.connect(host=str(sockets), user=USER, dbname="postgres").close()
            except psycopg.OperationalError as error:
                if time.monotonic() > give_up_at:
                    raise NotUp(f"PostgreSQL at {sockets} did not come up: {error}") from error
                time.sleep(0.05)
            else:
                return

    def _lead_to(self, name: str) -> None:
        beside = self.door.with_suffix(".new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(self._sockets(name))
        beside.replace(self.door)

    def _sockets(self, name: str) -> Path:
        return self._folder / f"s-{name}"

    def _socket_dir(self, name: str) -> None:
        self._sockets(name).mkdir(exist_ok=True)
        self._own(self._sockets(name))

    def _own(self, path: Path) -> None:
        if self._owner:
            shutil.chown(path, _user().pw_uid, _user().pw_gid)

    def _program(self, name: str) -> Path:
        if self._bin is None:
            raise NotUp("PostgreSQL's server programs are not installed")
        return self._bin / name


def _carry_out(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    if done.returncode != 0:
        raise NotUp(f"{Path(command[-1]).name}: {done.stderr.strip()[-300:]}")


def is_installed() -> bool:
    return binaries() is not None


def _user() -> pwd.struct_passwd:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam("postgres" if "postgres" in names else "nobody")


def _unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return []
    user = _user()
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    # Changing the user forgets what the death of the parent was to send.
    return ["setpriv", *ids, "--pdeathsig", "KILL", "env", "HOME=/tmp"]
