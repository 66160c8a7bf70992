from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_agent.adapters.guard import GENERATION, Guard, GuardedStore
from device_agent.adapters.spool import Spool
from device_agent.core import trust
from device_agent.core.command_gate import Accepted, CommandGate, Decision, Refused
from device_agent.core.consent import Budget
from device_agent.core.records import Changes
from device_agent.core.trusted_time import FLOOR
from protocol import codec
from protocol.authorisations import AuthorisationKind
from protocol.commands import CONSENT_CODES_PER_HOUR, Command, Refusal
from protocol.records import RecordBody
from tests.device_agent.core.test_command_gate import POLICY, authorised, command, signed, standing


def wrap(body: RecordBody) -> bytes:
    return codec.to_json(body)


class Disk:
    """A terminal's state folder and its guard, and an older copy of the first that somebody kept."""

    def __init__(self, folder: Path) -> None:
        self.state, self.guard, self.copy = folder / "state", folder / "guard", folder / "copy"
        self.state.mkdir()
        self.told: list[str] = []

    @contextmanager
    def running(self) -> Iterator[tuple[GuardedStore, CommandGate]]:
        with closing(Spool(self.state / "spool.db", wrap)) as spool:
            store = GuardedStore(spool, Guard(self.guard))
            self.told.append(store.reconcile())
            yield store, CommandGate(POLICY, store.fact, lambda: "0" * 32)

    def keep_copy(self) -> None:
        shutil.copytree(self.state, self.copy)

    def restore(self) -> None:
        shutil.rmtree(self.state)
        shutil.copytree(self.copy, self.state)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def obey(store: GuardedStore, gate: CommandGate, order: Command) -> Decision:
    decision = gate.decide(signed(order), standing())
    if isinstance(decision, Accepted):
        store.commit(Changes(facts=dict(decision.facts)), 0)
    return decision


def refusal(decision: Decision) -> Refusal | None:
    return decision.refusal if isinstance(decision, Refused) else None


def test_counter_that_was_used_after_the_copy_was_made_stays_used(disk: Disk) -> None:
    late = command(counter=3)
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, command(counter=5))) is None
        disk.keep_copy()
        assert refusal(obey(store, gate, command(counter=6))) is None
        # One that came late, below the highest of before: the window of the copy has it as free.
        assert refusal(obey(store, gate, late)) is None
    disk.restore()
    with disk.running() as (store, gate):
        for used in (command(counter=6), late, command(counter=5)):
            assert refusal(obey(store, gate, used)) is Refusal.REPLAYED
        assert refusal(obey(store, gate, command(counter=7))) is None
    assert "behind" in disk.told[-1]
    with disk.running():
        assert disk.told[-1] == ""


def test_uses_of_a_permit_are_not_given_back(disk: Disk) -> None:
    order = authorised(command("test.mend"), kind=AuthorisationKind.SHIFT_PERMIT, max_count=2, max_per_device=2)
    again = [msgspec.structs.replace(order, execution=str(uuid.uuid4()), counter=counter) for counter in range(2, 9)]
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, again[0])) is None
        disk.keep_copy()
        assert refusal(obey(store, gate, again[1])) is None
    disk.restore()
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, again[5])) is Refusal.AUTHORISATION_USED_UP


def test_codes_of_the_last_hour_are_not_forgotten(disk: Disk) -> None:
    asking = [command("test.mend", consent=True, counter=counter) for counter in range(1, 9)]
    with disk.running() as (store, gate):
        disk.keep_copy()
        for order in asking[:CONSENT_CODES_PER_HOUR]:
            assert refusal(obey(store, gate, order)) is None
    disk.restore()
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, asking[6])) is Refusal.CONSENT_UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "older", "newer"),
    [
        (FLOOR, "999@0", "1000@0"),
        (FLOOR, "2000@1", "1000@2"),  # set back by the root's word: the copy is of before
        (trust.STOP, "9/8", "10/9"),
        (trust.VERSION, "9", "10"),
    ],
)
def test_floor_stop_and_policy_are_never_those_of_the_copy(disk: Disk, name: str, older: str, newer: str) -> None:
    with disk.running() as (store, _):
        store.commit(Changes(facts={name: older}), 0)
        disk.keep_copy()
        store.commit(Changes(facts={name: newer}), 0)
    disk.restore()
    with disk.running() as (store, _):
        assert store.fact(name) == newer


def test_policies_chain_comes_with_its_version(disk: Disk) -> None:
    with disk.running() as (store, _):
        store.commit(Changes(facts={trust.VERSION: "9", trust.CHAIN: '["nine"]'}), 0)
        disk.keep_copy()
        store.commit(Changes(facts={trust.VERSION: "10", trust.CHAIN: '["ten"]'}), 0)
    disk.restore()
    with disk.running() as (store, _):
        assert store.fact(trust.CHAIN) == '["ten"]'


def test_spool_that_was_lost_altogether_knows_its_numbers_again(disk: Disk) -> None:
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, command(counter=6))) is None
    shutil.rmtree(disk.state)
    disk.state.mkdir()
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, command(counter=6))) is Refusal.REPLAYED


@pytest.mark.parametrize("harm", ["lost", "torn", "zeroed"])
def test_guard_that_is_harmed_is_made_anew_from_the_spool(disk: Disk, harm: str) -> None:
    with disk.running() as (store, gate):
        for counter in (1, 2, 3):
            obey(store, gate, command(counter=counter))
    for slot in list(disk.guard.iterdir()):
        if harm == "lost":
            slot.unlink()
        else:
            slot.write_bytes(slot.read_bytes()[:-5] if harm == "torn" else b"")
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, command(counter=3))) is Refusal.REPLAYED
        assert refusal(obey(store, gate, command(counter=4))) is None
    assert disk.told == ["", ""]
    assert Guard(disk.guard).facts == {name: value for name, value in _facts(disk).items() if name != GENERATION}


def _facts(disk: Disk) -> dict[str, str]:
    with closing(Spool(disk.state / "spool.db", wrap)) as spool:
        return {name: text for name, text in spool.facts("").items() if name.startswith(("counter/", GENERATION))}


def test_one_torn_slot_costs_one_step_which_the_spool_has(disk: Disk) -> None:
    with disk.running() as (store, gate):
        for counter in (1, 2, 3):
            obey(store, gate, command(counter=counter))
    newest = disk.guard / ("guard.b" if Guard(disk.guard).generation % 2 else "guard.a")
    newest.write_bytes(newest.read_bytes()[:40])
    with disk.running() as (store, gate):
        assert refusal(obey(store, gate, command(counter=3))) is Refusal.REPLAYED
    assert disk.told[-1] == ""


def test_a_slot_whose_numbers_do_not_fit_its_hash_counts_as_torn(disk: Disk) -> None:
    """A bit that flipped, or somebody's pen: what the other slot holds is believed instead."""
    guard = Guard(disk.guard)
    for generation, floor in ((1, "100"), (2, "200")):
        guard.keep(generation, {FLOOR: floor})
    newest = disk.guard / "guard.a"
    newest.write_bytes(newest.read_bytes().replace(b'"200"', b'"900"'))
    found = Guard(disk.guard)
    assert (found.generation, found.facts) == (1, {FLOOR: "100"})


def test_disk_that_takes_no_guard_stops_nothing(disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    with disk.running() as (store, gate):
        shutil.rmtree(disk.guard)
        assert refusal(obey(store, gate, command(counter=1))) is None
        disk.guard.mkdir()
        assert refusal(obey(store, gate, command(counter=2))) is None
    assert "cannot be written" in caplog.text
    with disk.running():
        assert disk.told[-1] == ""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["obey", "copy", "restore", "restart"]), st.integers(1, 40)), max_size=12))
def test_no_counter_is_ever_taken_twice_whatever_is_restored(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    disk = Disk(tmp_path_factory.mktemp("disk"))
    taken: list[int] = []
    actions: dict[str, Callable[[], None]] = {
        "copy": lambda: None if disk.copy.exists() else disk.keep_copy(),
        "restore": lambda: disk.restore() if disk.copy.exists() else None,
        "restart": lambda: None,
    }
    for action, counter in steps:
        if action != "obey":
            actions[action]()
            continue
        with disk.running() as (store, gate):
            if refusal(obey(store, gate, command(counter=counter))) is None:
                taken.append(counter)
    assert len(taken) == len(set(taken))


def test_lock_of_the_codes_is_the_longer_of_both() -> None:
    one, other = Budget((1, 2), 10), Budget((2, 3), 5)
    assert one.merged(other) == other.merged(one) == Budget((1, 2, 3), 10)
