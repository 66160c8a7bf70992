"""A real agent that is fed with records at a high rate and keeps an account of its own (`tests.chaos.history`).

python -m tests.chaos.agent CONFIG --history FILE --records N --feed-s SECONDS --clock FILE --begin FILE

Everything but the source of the records is the product: its core, spool and link. Its clock is as many days wrong as
the clock's file says; that a certificate is taken all the same is tested apart. It goes on where the account of the
process before it ends, so that no record is made twice. It makes none until the file of ``--begin`` is there.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final
from unittest.mock import patch

from device_agent import bootstrap
from device_agent.adapters import clock
from device_agent.adapters.spool import Spool
from device_agent.bootstrap import Agent
from device_agent.config import load
from device_agent.core.instant import Instant
from device_agent.core.records import Changes
from device_agent.runner import Call
from protocol.identifiers import DeviceId
from protocol.records import FaultCleared, FaultRaised, HealthColumns, Outcome, RecordBody, Severity, Verdict
from protocol.streams import StreamKind
from tests.chaos.history import HistoryReader, Journal
from tests.chaos.marks import METRIC, PREFIX, mark_of_payload

BURST: Final = 8
# What a stopped or killed process is behind, it makes up for without pauses; but no more than this.
CATCH_UP_S: Final = 8.0
_POLL_S: Final = 0.02


class AccountedSpool(Spool):
    """Writes into the account before it asks the spool, and after it was answered."""

    def __init__(self, path: Path, wrap: Callable[[RecordBody], bytes], *, quota_bytes: int, account: Journal) -> None:
        self._account = account
        self._commits = 0
        super().__init__(path, lambda body: self._declared(wrap(body)), quota_bytes=quota_bytes)

    def commit(self, changes: Changes, at_ms: int) -> bool:
        self._commits += 1
        records = [(record.stream.value, mark_of_payload(record.payload)) for record in changes.records]
        self._account.write("intends", self._commits, records)
        try:
            has_shed = super().commit(changes, at_ms)
        except BaseException:
            self._account.write("failed", self._commits)
            raise
        places = {kind.value: (one.stream, one.last, one.shed) for kind, one in self.positions().items()}
        self._account.write("done", self._commits, places)
        return has_shed

    def acknowledge(self, kind: StreamKind, upto: int) -> None:
        super().acknowledge(kind, upto)
        self._account.write("acked", kind.value, self.positions()[kind].stream, upto)

    def renew_stream(self, kind: StreamKind, new_id: str) -> int:
        moved = super().renew_stream(kind, new_id)
        self._account.write("renewed", kind.value)
        return moved

    def _declared(self, payload: bytes) -> bytes:
        self._account.write("declares", mark_of_payload(payload))
        return payload


class Feeder:
    """Hands ``total`` records to the core, ``first`` and those after it, spread over ``feed_s``."""

    def __init__(self, agent: Agent, account: Journal, first: int, total: int, feed_s: float, begin: Path) -> None:
        self._begin = begin
        self._runner = agent.runner
        self._account = account
        self._next = first
        self._total = total
        self._pause_s = feed_s * BURST / total
        self._taken = threading.Event()

    def run(self) -> None:
        while not self._begin.exists():
            time.sleep(_POLL_S)
        due_s = time.monotonic()
        while self._next < self._total:
            # One burst at a time: what a stopped process would have said waits in no queue.
            self._taken.clear()
            self._runner.events.put(Call(self._burst))
            self._taken.wait()
            due_s = max(due_s + self._pause_s, time.monotonic() - CATCH_UP_S)
            time.sleep(max(0.0, due_s - time.monotonic()))
        self._runner.events.put(Call(lambda _now: self._account.write("fed")))

    def _burst(self, now: Instant) -> None:
        core = self._runner.core
        last = min(self._next + BURST, self._total)
        bodies = [_body(number, now) for number in range(self._next, last)]
        core._add(DeviceId(core.identity.link), bodies, now)
        self._next = last
        self._taken.set()


class WrongClock:
    """The wall clock of a device, which may leap at any moment."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._true = clock.now

    def now(self) -> Instant:
        true = self._true()
        return Instant(true.monotonic_ns, true.wall + timedelta(days=float(self._file.read_text("ascii"))))


def _body(number: int, now: Instant) -> RecordBody:
    """A raising and its clearing in turn with a verdict and a sample: as many of each."""
    code = f"{PREFIX}{number // 4}"
    # The time that names a raising: no two codes are alike, so that any will do.
    match number % 4:
        case 0:
            return HealthColumns(now.wall_ms, 1000, 1, {METRIC: [number]})
        case 1:
            return Verdict("agent.echo", Outcome.PASS, evidence=f"{PREFIX}{number}", duration_ms=1)
        case 2:
            return FaultRaised(code, Severity.MINOR, number, number, evidence="made for a test")
        case _:
            return FaultCleared(code, number - 1, number)


def number_of(mark: str) -> int | None:
    """Which record of the feeder this is."""
    kind, _, what = mark.partition(":")
    number = what.removeprefix(PREFIX)
    if not number.isdigit():
        return None
    return {"raised": 4 * int(number) + 2, "cleared": 4 * int(number) + 3}.get(kind, int(number))


def _go_on_from(history: Path) -> int:
    made = HistoryReader("", history).read()
    return max((number for one in made.intents if (number := number_of(one.mark)) is not None), default=-1) + 1


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--records", type=int, required=True)
    parser.add_argument("--feed-s", type=float, required=True)
    parser.add_argument("--clock", type=Path, required=True)
    parser.add_argument("--begin", type=Path, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    first = _go_on_from(options.history)
    account = Journal(options.history)

    def spool(path: Path, wrap: Callable[[RecordBody], bytes], *, quota_bytes: int) -> Spool:
        return AccountedSpool(path, wrap, quota_bytes=quota_bytes, account=account)

    with patch.object(bootstrap, "Spool", spool), patch.object(clock, "now", WrongClock(options.clock).now):
        agent = bootstrap.build(load(options.config))
    signal.signal(signal.SIGTERM, lambda _number, _frame: agent.stop())
    feeder = Feeder(agent, account, first, options.records, options.feed_s, options.begin)
    threading.Thread(target=feeder.run, name="feeder", daemon=True).start()
    agent.run()


if __name__ == "__main__":
    main()
