"""When acknowledgements leave."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_server.ingest.flush import BatchAck
from fleet_server.ingest.pacing import KEPT_S, SPACING_S, AckPacer
from protocol.streams import WINDOW_BATCHES, StreamAck, StreamKind


def ack(upto: int, *, link: str = "a", batches: int = 1, kind: StreamKind = StreamKind.URGENT) -> BatchAck:
    return BatchAck(link, kind, StreamAck("0" * 31 + ("1" if kind is StreamKind.URGENT else "2"), upto), batches)


def test_a_quiet_link_is_acknowledged_at_once() -> None:
    pacer = AckPacer()
    pacer.add(ack(1), 10.0)
    assert [due.acks[0].ack.upto for due in pacer.take_due(10.0)] == [1]


def test_what_follows_is_gathered_and_the_newest_stands() -> None:
    pacer = AckPacer()
    pacer.add(ack(1), 10.0)
    pacer.take_due(10.0)
    pacer.add(ack(2), 10.05)
    pacer.add(ack(3), 10.1)
    pacer.add(ack(7, kind=StreamKind.BULK), 10.1)
    assert pacer.take_due(10.15) == []
    assert pacer.next_due_s() == 10.0 + SPACING_S
    (due,) = pacer.take_due(10.0 + SPACING_S)
    assert sorted(one.ack.upto for one in due.acks) == [3, 7]
    assert due.is_urgent


def test_a_full_window_does_not_wait() -> None:
    pacer = AckPacer()
    pacer.add(ack(1), 10.0)
    pacer.take_due(10.0)
    pacer.add(ack(5, batches=WINDOW_BATCHES), 10.01)
    assert len(pacer.take_due(10.01)) == 1


def test_bulk_alone_is_not_urgent() -> None:
    pacer = AckPacer()
    pacer.add(ack(1, kind=StreamKind.BULK), 0.0)
    assert not pacer.take_due(0.0)[0].is_urgent


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 0.3), st.integers(1, 2)), min_size=1, max_size=60))
def test_none_is_forgotten_and_only_a_full_window_comes_early(steps: list[tuple[str, float, int]]) -> None:
    pacer = AckPacer()
    now_s, wanted, told, told_at, since = 0.0, {}, {}, {}, {}  # type: ignore[var-annotated]  # told apart by the steps
    for upto, (link, pause_s, batches) in enumerate(steps, 1):
        now_s += pause_s
        wanted[link] = upto
        since[link] = since.get(link, 0) + batches
        pacer.add(ack(upto, link=link, batches=batches), now_s)
        for due in pacer.take_due(now_s):
            early = now_s - told_at.get(due.link_id, -1.0) < SPACING_S - 1e-9
            assert not early or since[due.link_id] >= WINDOW_BATCHES
            told[due.link_id], told_at[due.link_id] = due.acks[0].ack.upto, now_s
            since[due.link_id] = 0
    for due in pacer.take_due(now_s + 1.0):
        told[due.link_id] = due.acks[0].ack.upto
    assert told == wanted
    assert pacer.next_due_s() is None


def test_who_was_not_answered_for_long_is_left_to_send_again() -> None:
    pacer = AckPacer()
    pacer.add(ack(1, link="old"), 0.0)
    pacer.add(ack(1, link="new"), KEPT_S)
    assert pacer.forget_old(KEPT_S + 0.1) == 1
    assert [due.link_id for due in pacer.take_due(KEPT_S + 0.1)] == ["new"]
