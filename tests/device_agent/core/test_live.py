"""Live mode: what keeps it going, and that it ends by itself."""

from __future__ import annotations

import msgspec

from device_agent.core.effects import JobProgress
from device_agent.core.live import MAX_FOR_S, MAX_PROGRESS, Live
from device_agent.core.pace import Pacing
from protocol import codec
from protocol.identifiers import DeviceId, ExecutionId
from protocol.live import LiveReport
from tests.device_agent.core.rig import FLOW, Clock

DEVICE = DeviceId("gw-00000001")
LATEST = {DEVICE: {"net.rtt_ms": 21}}
ASKED = msgspec.structs.replace(FLOW, live_for_s=20.0, live_every_s=2.0)


def spoken(live: Live, clock: Clock, seconds: int) -> int:
    """Reports in so many seconds, asked each second whether one is due."""
    return sum(len(live.on_tick(LATEST, clock.pass_s(1))) for _ in range(seconds))


def test_one_request_makes_it_speak_every_two_seconds_for_as_long_as_was_asked() -> None:
    live, clock = Live(), Clock()
    live.on_flow(ASKED, clock.now)
    assert spoken(live, clock, 20) == 10
    assert spoken(live, clock, 100) == 0
    assert live.next_due_ns() is None


def test_requests_that_follow_one_another_keep_the_beat_and_bring_no_reports_of_their_own() -> None:
    live, clock = Live(), Clock()
    said = 0
    for _ in range(20):
        live.on_flow(ASKED, clock.now)
        said += spoken(live, clock, 1)
    assert said == 10


def test_a_request_for_a_whole_year_ends_as_soon_as_any_other() -> None:
    live, clock = Live(), Clock()
    live.on_flow(msgspec.structs.replace(ASKED, live_for_s=31_536_000.0), clock.now)
    assert spoken(live, clock, 3600) <= MAX_FOR_S / 2 + 1


def test_a_usual_flow_neither_begins_nor_ends_it() -> None:
    live, clock = Live(), Clock()
    live.on_flow(FLOW, clock.now)
    assert spoken(live, clock, 10) == 0
    live.on_flow(ASKED, clock.now)
    live.on_flow(FLOW, clock.now)
    assert spoken(live, clock, 10) == 5


def test_progress_is_told_once_and_bounded() -> None:
    live, clock = Live(), Clock()
    live.on_flow(ASKED, clock.now)
    for number in range(MAX_PROGRESS + 5):
        live.on_progress(JobProgress(ExecutionId(f"0198c0de-0000-7000-8000-{number:012d}"), 30, "reads"), DEVICE)
    (told,) = live.on_tick(LATEST, clock.now)
    report = codec.decode(told.payload, told.content_type, LiveReport)
    assert isinstance(report, LiveReport)
    assert len(report.progress) == MAX_PROGRESS
    (later,) = live.on_tick(LATEST, clock.pass_s(2))
    again = codec.decode(later.payload, later.content_type, LiveReport)
    assert isinstance(again, LiveReport)
    assert again.progress == []


def test_renewing_live_mode_changes_nothing_that_would_be_written_down() -> None:
    pacing = Pacing(FLOW, None)
    assert not pacing.on_flow(ASKED)
    assert pacing.on_flow(msgspec.structs.replace(ASKED, report_s=77.0))
    assert pacing.flow.live_for_s == 0
