"""Which database answers the API process now: the primary; while that is away a standby, to read; or neither.

    UP -lost or silent-> AWAY -answers-> UP;   UP or AWAY -a restore begins-> RESTORING until the process is replaced

Reading goes where something answers, writing to the primary alone. While it is away nobody waits for it: one watcher
asks it, everybody else is refused at once with since when. A connection on which the primary has been silent for
`SILENT_S` is cut, so that whoever waits on it is refused too. While a backup is brought back nothing is written, and
pages are read from the old copy with connections that are not kept, where the database lets them.

Invariant: what is read from a standby is never written back, for its sessions are closed before anything is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

import structlog
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from fleet_server.db import READS_FROM, open_reader
from fleet_server.errors import FleetError
from fleet_server.kit.times import utc_now
from fleet_server.probe import Probe, hang_up

LOOK_EVERY_S: Final = 1.0
LOOK_AWAY_EVERY_S: Final = 0.5
SILENT_S: Final = 3.0
_log = structlog.get_logger(__name__)


class DatabaseState(StrEnum):
    UP = "up"
    AWAY = "away"
    RESTORING = "restoring"


class Reads(StrEnum):
    PRIMARY = "primary"
    STANDBY = "standby"
    OLD_COPY = "old_copy"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Standing:
    """``as_of``: up to when a standby has followed, as far as it says so."""

    state: DatabaseState
    since: datetime | None = None
    reads: Reads = Reads.PRIMARY
    as_of: datetime | None = None


class DatabaseAway(FleetError):
    """Nothing was changed. The same again may succeed in a moment."""

    code: ClassVar[str] = "database_away"
    status: ClassVar[int] = 503
    retry_after_s: ClassVar[int] = 2


class DatabaseRestoring(DatabaseAway):
    code: ClassVar[str] = "database_restoring"
    retry_after_s: ClassVar[int] = 10


UP = Standing(DatabaseState.UP)


class Databases:
    """``engine`` is for everybody: `fleet_server.db.reading` and `transaction` on it go where they should.

    ``restoring_since`` is asked by the watcher; ``on_quiet`` is told when, for a restore, nothing is written any more,
    and ``on_restored`` when that restore is over. With ``on_come`` the primary is away from the beginning; that is told
    when it comes, and it is left to whoever is told to begin anew: nothing has looked at its revision yet.
    """

    def __init__(
        self,
        primary: Engine,
        standby: Engine | None = None,
        *,
        restoring_since: Callable[[], datetime | None] = lambda: None,
        on_quiet: Callable[[], None] = lambda: None,
        on_restored: Callable[[], None] = lambda: None,
        on_come: Callable[[], None] | None = None,
        now: Callable[[], datetime] = utc_now,
        silent_s: float = SILENT_S,
    ) -> None:
        self._primary = primary
        self._silent_s = silent_s
        self._standby = standby
        self._restoring_since = restoring_since
        self._on_quiet = on_quiet
        self._on_restored = on_restored
        self._on_come = on_come
        self._now = now
        self._probe = Probe(primary, silent_s)
        self._old_copy: Engine | None = None
        self._is_quiet = False
        self._watcher: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._out: dict[int, Any] = {}  # connections in use, by their pool's record
        reads = Reads.NONE if standby is None else Reads.STANDBY
        self.standing = UP if on_come is None else Standing(DatabaseState.AWAY, now(), reads)
        self.engine: Engine = primary.execution_options(**{READS_FROM: self.reader})
        event.listen(primary, "do_connect", self._refuse_connecting)
        # Before the pool's own question to the database, on which it may be waited.
        event.listen(primary, "checkout", self._note_out, insert=True)
        event.listen(primary, "checkin", self._note_in)

    def start(self) -> None:
        self._watcher = asyncio.create_task(self._watch(), name="database watcher")

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
            self._watcher = None
        if self._looking is not None and not self._looking.done():
            # It goes on in its thread, with the probe's connection.
            self._probe.cut()
            await asyncio.gather(self._looking, return_exceptions=True)
        self._probe.close()
        if self._old_copy is not None:
            self._old_copy.dispose()

    def reader(self) -> Engine:
        """Where to read now. Raises ``DatabaseAway``."""
        if self.standing.state is DatabaseState.UP:
            # Without a standby whoever asks finds out; with one nobody need see that it has just gone.
            if self._standby is None or _answers(self._primary):
                return self._primary
            self.lost()
        if self.standing.state is DatabaseState.RESTORING:
            if self._old_copy is None:
                raise self.refusal()
            return self._old_copy
        if self._standby is not None and _answers(self._standby):
            return self._standby
        raise self.refusal()

    def refusal(self) -> DatabaseAway:
        if self.standing.state is DatabaseState.RESTORING:
            return DatabaseRestoring("a backup is being brought back; nothing was changed")
        return DatabaseAway("the database cannot be reached now; nothing was changed")

    def note(self, error: Exception) -> None:
        """What somebody met with: a lost connection is known from then on, not only at the watcher's next look."""
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            self.lost()

    def lost(self) -> None:
        """Without a watcher nobody would notice that it is back."""
        if self._watcher is not None and self.standing.state is DatabaseState.UP:
            reads = Reads.NONE if self._standby is None else Reads.STANDBY
            self._change(Standing(DatabaseState.AWAY, self._now(), reads))

    async def _watch(self) -> None:
        while True:
            self._looking = look = asyncio.create_task(asyncio.to_thread(self._look))
            done, _ = await asyncio.wait({look}, timeout=self._silent_s)
            if not done:
                self.lost()
                self._cut()
                self._probe.cut()
                await asyncio.wait({look})
            failed = look.exception()
            if failed is not None:
                _log.error("the look at the database failed", exc_info=failed)
            is_up = self.standing.state is DatabaseState.UP
            await asyncio.sleep(LOOK_EVERY_S if is_up else LOOK_AWAY_EVERY_S)

    def _look(self) -> None:
        since = self._restoring_since()
        if since is not None:
            self._give_way(since)
        elif self.standing.state is DatabaseState.RESTORING:
            # Keys, settings and all that was read from the database may be others now.
            self._on_restored()
        elif self._probe.answers():
            if self._on_come is None:
                self._change(UP)
            else:
                self._on_come()
        else:
            self.lost()
            as_of = None if self._standby is None else self._probe.followed_until(self._standby)
            has_standby = self._standby is not None and _answers(self._standby)
            reads = Reads.STANDBY if has_standby else Reads.NONE
            self._change(replace(self.standing, reads=reads, as_of=as_of))

    def _give_way(self, since: datetime) -> None:
        if self.standing.state is not DatabaseState.RESTORING:
            self._old_copy = open_reader(self._primary.url)
            self._change(Standing(DatabaseState.RESTORING, since, Reads.OLD_COPY))
        self._probe.close()
        # What was begun may end; nothing new begins.
        if not self._is_quiet and not self._out:
            self._primary.dispose()
            self._is_quiet = True
            self._on_quiet()

    def _change(self, standing: Standing) -> None:
        if standing.state is not self.standing.state:
            _log.warning("the database is %s", standing.state.value, reads=standing.reads.value)
        self.standing = standing

    def _cut(self) -> None:
        """Ends the waiting of whoever has a connection on which nothing comes any more."""
        for connection in list(self._out.values()):
            hang_up(self._primary, connection)

    def _refuse_connecting(self, *_: Any) -> None:
        if self.standing.state is not DatabaseState.UP:
            raise self.refusal()

    def _note_out(self, connection: Any, record: Any, _proxy: Any) -> None:
        self._refuse_connecting()
        self._out[id(record)] = connection

    def _note_in(self, _connection: Any, record: Any) -> None:
        self._out.pop(id(record), None)


def _answers(engine: Engine) -> bool:
    try:
        with engine.execution_options(reads_only=True).connect() as connection:
            connection.exec_driver_sql("SELECT 1")
    except (OperationalError, InterfaceError, DatabaseAway):
        return False
    return True
