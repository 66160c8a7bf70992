"""Nothing that an agent ever committed is lost in silence, and nothing arrives twice, whatever dies and whenever.

Two real agents on real spools, a broker that keeps no promise, and the real ingest worker on a real database are driven
through any order of faults. ``MODEL_EXAMPLES=n`` runs n of them (`make model`).
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fleet_server.db import open_engine
from tests.device_agent.core.rig import Clock
from tests.model.broker import Broker
from tests.model.marks import Mark
from tests.model.server import Death, Server
from tests.model.terminal import Terminal
from tests.support.engines import migrated_sqlite
from tests.support.fleet_rows import OTHER, TERMINAL, make_fleet

# One spool with all the room there is, one in which a few hundred records have place.
QUOTAS = (2**22, 45 * 4096)
# Long enough for the slowest resend and the widest backoff to come round several times.
CALM_ROUNDS, CALM_ROUND_S = 90, 30.0
ASKED = os.environ.get("MODEL_EXAMPLES")
EXAMPLES = int(ASKED or 25)
# To make a counter-example small takes minutes; whoever only asks whether there is one does without.
IS_SHRUNK = os.environ.get("MODEL_SHRINK", "1") == "1"
PHASES = (Phase.explicit, Phase.reuse, Phase.generate) + ((Phase.shrink,) if IS_SHRUNK else ())
WHO = st.integers(0, 1)
MANY = st.integers(1, 40)
PLACE = st.integers(0, 10_000)


class Pipe(RuleBasedStateMachine):
    def __init__(self, template: Path, folder: Path) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.clock = Clock(1000.0)
        self.broker = Broker()
        self.server = Server(template, self.folder, self.broker, self.clock)
        self.terminals = [
            Terminal(link, self.folder, self.broker, self.clock, quota, seed)
            for seed, (link, quota) in enumerate(zip((TERMINAL, OTHER), QUOTAS, strict=True))
        ]
        for terminal in self.terminals:
            terminal.first_keys = self.server.first_keys
        # Of a stream that ended with a damaged file nobody speaks any more when the database goes back behind it.
        self.gone_with_the_database: set[Mark] = set()
        self.has_gone_back = False

    @rule(who=WHO, count=MANY, length=st.sampled_from([0, 300]))
    def things_happen(self, who: int, count: int, length: int) -> None:
        self.terminals[who].notice(count, "x" * length)

    @rule(who=WHO, count=MANY)
    def health_is_reported(self, who: int, count: int) -> None:
        for _ in range(count):
            self.clock.pass_s(5.1)
            self.terminals[who].run()

    @rule(who=WHO, bursts=st.integers(1, 4))
    def trouble_outgrows_the_spool(self, who: int, bursts: int) -> None:
        self.health_is_reported(who, 10)
        for _ in range(bursts):
            self.terminals[who].notice(40, "x" * 300)

    @rule(seconds=st.sampled_from([0.05, 1.0, 16.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        for terminal in self.terminals:
            terminal.run()

    @rule(rounds=st.integers(1, 4))
    def all_goes_well(self, rounds: int) -> None:
        for _ in range(rounds):
            self._calm_round(6.0)

    @rule(most=st.integers(1, 5))
    def server_takes(self, most: int) -> None:
        self.server.take(most)

    @rule(who=WHO, place=PLACE, count=st.integers(1, 5))
    def agent_hears(self, who: int, place: int, count: int) -> None:
        waiting = self.broker.down[self.terminals[who].link]
        for _ in range(count if self.terminals[who].is_connected else 0):
            if waiting:
                self.terminals[who].hear(place % len(waiting))

    @precondition(lambda self: self.broker.up)
    @rule(place=PLACE)
    def message_up_is_lost(self, place: int) -> None:
        self.broker.up.pop(place % len(self.broker.up))

    @rule(who=WHO, place=PLACE)
    def message_down_is_lost(self, who: int, place: int) -> None:
        waiting = self.broker.down[self.terminals[who].link]
        if waiting:
            waiting.pop(place % len(waiting))

    @precondition(lambda self: self.broker.up)
    @rule(place=PLACE, later=st.booleans())
    def message_comes_twice(self, place: int, later: bool) -> None:
        again = self.broker.up[place % len(self.broker.up)]
        self.broker.up.insert(len(self.broker.up) if later else 0, again)

    @rule(who=WHO, seed=st.randoms(use_true_random=False))
    def messages_are_shuffled(self, who: int, seed: object) -> None:
        seed.shuffle(self.broker.up)  # type: ignore[attr-defined]  # hypothesis gives a Random
        seed.shuffle(self.broker.down[self.terminals[who].link])  # type: ignore[attr-defined]  # as above

    @rule()
    def broker_forgets(self) -> None:
        self.broker.forget()
        for terminal in self.terminals:
            terminal.lose_link()

    @rule(who=WHO)
    def link_is_lost(self, who: int) -> None:
        self.terminals[who].lose_link()

    @rule(death=st.sampled_from(Death))
    def server_dies(self, death: Death) -> None:
        self.server.die(death)

    @rule(commits=st.integers(1, 3))
    def database_is_away(self, commits: int) -> None:
        self.server.refuse(commits)

    @rule()
    def database_is_backed_up(self) -> None:
        self.server.back_up()

    @rule(is_said=st.booleans())
    def database_goes_back(self, is_said: bool) -> None:
        """A backup is restored, or a standby takes over that was behind, of which nobody is told."""
        self.server.restore(is_said=is_said)
        self.has_gone_back = True
        for terminal in self.terminals:
            unknown = set(terminal.committed) - terminal.spool.held().keys() - self.server.ledger.marks.keys()
            self.gone_with_the_database |= {mark for mark in unknown if not terminal.can_speak_of(mark)}

    @rule(who=WHO)
    def agent_restarts(self, who: int) -> None:
        self.terminals[who].restart()

    @rule(who=WHO, page=PLACE)
    def spool_is_damaged(self, who: int, page: int) -> None:
        """At risk is what only this file has: what waits in it, and what it has yet to declare as lost."""
        terminal = self.terminals[who]
        kept = terminal.spool.held().keys() - terminal.waiting()
        not_there = set(terminal.committed) - self.server.ledger.marks.keys()
        # What is kept after its acknowledgement counts only where the database has gone back since.
        terminal.damage(page, not_there if self.has_gone_back else not_there - kept)

    @invariant()
    def nothing_is_there_twice(self) -> None:
        twice = [mark for mark, count in self.server.ledger.marks.items() if count > 1]
        assert not twice, f"{twice[0]} is in the database {self.server.ledger.marks[twice[0]]} times"

    @invariant()
    def nothing_is_acknowledged_beyond_what_is_committed(self) -> None:
        assert not self.server.broken_promises

    @invariant()
    def nothing_is_made_up(self) -> None:
        made = {mark for terminal in self.terminals for mark in terminal.committed}
        assert self.server.ledger.marks.keys() <= made

    def teardown(self) -> None:
        try:
            # After a broken invariant the end would only take time.
            if sys.exc_info()[0] is None:
                self._end()
        finally:
            self.server.close()
            for terminal in self.terminals:
                terminal.close()
            shutil.rmtree(self.folder)

    def _end(self) -> None:
        """Once the faults stop and time passes, everything is accounted for."""
        for _ in range(CALM_ROUNDS):
            self._calm_round(CALM_ROUND_S)
            if not self.broker.up and all(terminal.is_drained for terminal in self.terminals):
                break
        stuck = [terminal.link for terminal in self.terminals if not terminal.is_drained]
        assert not stuck, f"{stuck} still wait for acknowledgements of {self._waiting()}"
        self.nothing_is_there_twice()
        self.nothing_is_acknowledged_beyond_what_is_committed()
        told = self.server.ledger.told()
        assert not told or max(told.values()) == 1, f"{told.most_common(1)} in the timeline"
        for terminal in self.terminals:
            missing = [mark for mark in terminal.committed if not self._is_accounted_for(terminal, mark)]
            assert not missing, f"{len(missing)} of {len(terminal.committed)} are lost in silence, first {missing[0]}"

    def _calm_round(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        for terminal in self.terminals:
            terminal.run()
        self.server.take()
        for terminal in self.terminals:
            while terminal.is_connected and self.broker.down[terminal.link]:
                terminal.hear(0)
        self.server.take()

    def _is_accounted_for(self, terminal: Terminal, mark: Mark) -> bool:
        ledger = self.server.ledger
        if mark in ledger.marks or mark in self.gone_with_the_database:
            return True
        for link, of_stream, first, last in ledger.declared:
            numbers = (seq for stream, seq in terminal.places[mark] if stream == of_stream)
            if link == terminal.link and any(first <= seq <= last for seq in numbers):
                return True
        declared = {loss.old_stream for link, loss in ledger.losses if link == terminal.link}
        return any(
            mark in at_risk and (streams & declared or "0" * 32 in declared) for at_risk, streams in terminal.damages
        )

    def _waiting(self) -> list[object]:
        return [list(terminal.spool.positions().values()) for terminal in self.terminals]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = migrated_sqlite(tmp_path_factory.mktemp("model"))
    engine = open_engine(f"sqlite:///{path}")
    make_fleet(engine)
    engine.dispose()
    return path


def in_memory(else_folder: Path) -> Path:
    """A folder that costs no disk: thousands of examples sync at each commit."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else else_folder


def made_in(template: Path, folder: Path) -> Callable[[], Pipe]:
    return lambda: Pipe(template, folder)


@pytest.mark.timeout(60 + 10 * EXAMPLES)
def test_nothing_is_lost_in_silence_and_nothing_arrives_twice(
    template: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # Each damaged spool is told of at length.
    with tempfile.TemporaryDirectory(dir=in_memory(tmp_path)) as folder:
        run_state_machine_as_test(
            made_in(template, Path(folder)),  # type: ignore[arg-type]  # any maker of machines will do
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=30,
                phases=PHASES,
                report_multiple_bugs=IS_SHRUNK,
                # The short form is the same each time; whoever asks for many gets others each time.
                derandomize=ASKED is None,
                suppress_health_check=list(HealthCheck),
            ),
        )
