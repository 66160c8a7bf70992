from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.streams import StreamKind
from simulators.load.held_records import HeldRecords

KIND = StreamKind.BULK


class HeldMachine(RuleBasedStateMachine):
    """Beside it, all that was ever said, in a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.held = HeldRecords("a" * 32, "b" * 32)
        self.said: list[bytes] = []
        self.acked = 0

    @rule(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5))
    def say(self, sizes: list[int]) -> None:
        rows = [bytes([len(self.said) % 256]) * size for size in sizes]
        self.said += rows
        assert self.held.add(KIND, rows) == len(self.said)

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        self.acked = self.acked + int(share * (len(self.said) - self.acked))
        self.held.acknowledge(KIND, self.acked)

    @rule(share=st.floats(0, 1.2), max_records=st.integers(1, 8), max_bytes=st.integers(1, 100))
    def read(self, share: float, max_records: int, max_bytes: int) -> None:
        first = 1 + int(share * len(self.said))
        run = self.held.read(KIND, first, max_records=max_records, max_bytes=max_bytes)
        start = max(first, self.acked + 1)
        assert run == [(seq, self.said[seq - 1]) for seq in range(start, start + len(run))]
        assert len(run) <= max_records
        assert len(run) <= 1 or sum(len(payload) + 1 for _, payload in run) <= max_bytes
        assert run or start > len(self.said)

    @invariant()
    def tells_where_it_stands(self) -> None:
        position = self.held.positions()[KIND]
        assert (position.last, position.acked) == (len(self.said), self.acked)
        assert position.oldest_held == (self.acked + 1 if self.acked < len(self.said) else 0)
        assert self.held.backlog(KIND) == len(self.said) - self.acked


HeldMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestHeldRecords = HeldMachine.TestCase


@given(st.integers(1, 50), st.integers(0, 50))
def test_what_a_server_that_was_set_back_asks_for_again_is_counted_as_gone(last: int, back_to: int) -> None:
    held = HeldRecords("a" * 32, "b" * 32)
    held.add(KIND, [b"x"] * last)
    held.acknowledge(KIND, last)
    held.acknowledge(KIND, min(back_to, last))
    assert held.forgotten == last - min(back_to, last)
