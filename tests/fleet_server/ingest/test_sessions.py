"""Hello, will and silence, in any order: only session ids decide. And where records stand in time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from fleet_server.db import reading, transaction
from fleet_server.devices.apply import sweep_presence
from fleet_server.devices.condition import sweep_conditions
from fleet_server.devices.models import Capability, HeardHour
from fleet_server.ingest import installation
from fleet_server.ingest.decode import CapabilitiesMessage, HelloMessage
from fleet_server.ingest.directory import Directory
from fleet_server.ingest.installation import listening_s
from fleet_server.kit.times import to_ms
from fleet_server.timeline.writer import append_events
from protocol.capabilities import Capabilities, DeviceCapabilities, digest
from protocol.identifiers import LinkId
from protocol.records import FaultCleared, FaultRaised, Outcome, Severity, Verdict
from tests.support.fleet_rows import GATEWAY, OTHER, PINPAD, PRINTER, TENANT, TERMINAL, make_fleet
from tests.support.flush_rig import BOOT, MONO_MS, START, FlushRig

ALWAYS = [["00:00", "24:00"]]
FIRST, SECOND = "5" * 32, "6" * 32


@pytest.fixture
def rig(engine: Engine) -> FlushRig:
    make_fleet(engine, ALWAYS)
    return FlushRig(engine)


def sweep(rig: FlushRig) -> None:
    with transaction(rig.engine) as session:
        append_events(session, TENANT, sweep_presence(session, TENANT, rig.now, listening_s(session, rig.now)), rig.now)


def statuses(rig: FlushRig, device: str) -> list[tuple[str, str]]:
    return [(one.data["status"], one.data["reason"]) for one in rig.events(device, "presence")]


@pytest.mark.parametrize(("ahead_s", "told"), [(-86_400, 0), (0, 0), (590, 0), (615, 1), (2_592_000, 1)])
def test_a_link_whose_time_was_told_wrongly_is_shown(rig: FlushRig, ahead_s: int, told: int) -> None:
    rig.trusted_ahead = timedelta(seconds=ahead_s)
    rig.flush(rig.hello(TERMINAL))
    found = [(one.data["code"], one.data["detail"]) for one in rig.events(TERMINAL, "security")]
    assert found == [("agent.CLOCK_AHEAD", f"by {ahead_s} s")] * told


def test_a_will_ends_only_the_session_it_names(rig: FlushRig) -> None:
    rig.flush(rig.hello(TERMINAL, FIRST))
    rig.flush(rig.hello(TERMINAL, SECOND))
    rig.flush(rig.presence(TERMINAL, FIRST))
    assert rig.device(TERMINAL).presence == "online"
    rig.flush(rig.presence(TERMINAL, SECOND))
    assert (rig.device(TERMINAL).presence, rig.device(TERMINAL).condition) == ("offline", "silent")
    assert statuses(rig, TERMINAL) == [("online", ""), ("offline", "connection lost")]


def test_a_will_that_overtakes_its_hello_still_ends_it(rig: FlushRig) -> None:
    rig.flush(rig.presence(TERMINAL, FIRST))
    rig.flush(rig.hello(TERMINAL, FIRST))
    assert rig.device(TERMINAL).presence != "online"
    rig.flush(rig.hello(TERMINAL, SECOND))
    assert rig.device(TERMINAL).presence == "online"


def test_will_and_next_hello_in_one_flush_leave_it_online(rig: FlushRig) -> None:
    rig.flush(rig.hello(TERMINAL, FIRST))
    rig.flush(rig.presence(TERMINAL, FIRST), rig.hello(TERMINAL, SECOND))
    assert rig.device(TERMINAL).presence == "online"


def test_what_hangs_on_a_gateway_goes_with_it_without_an_alarm_of_its_own(rig: FlushRig) -> None:
    rig.flush(rig.hello(GATEWAY, FIRST, alive=[PRINTER, PINPAD]))
    assert statuses(rig, PRINTER) == [("online", "")]
    rig.flush(rig.presence(GATEWAY, FIRST))
    assert (rig.device(PRINTER).presence, rig.device(PRINTER).presence_reason) == ("unknown", "gateway")
    assert rig.device(PRINTER).condition == "unknown"
    assert rig.device(GATEWAY).condition == "silent"
    rig.flush(rig.hello(GATEWAY, SECOND, alive=[PRINTER, PINPAD]))
    assert {rig.device(id_).presence for id_ in (GATEWAY, PRINTER, PINPAD)} == {"online"}


def test_a_cable_pulled_out_takes_only_its_device(rig: FlushRig) -> None:
    rig.flush(rig.hello(GATEWAY, FIRST, alive=[PRINTER, PINPAD]))
    raised_ms = rig.wall_ms()
    raised = FaultRaised("agent.LINE_SILENT", Severity.MAJOR, raised_ms, raised_ms)
    rig.flush(rig.batch(GATEWAY, 1, raised, device=PRINTER))
    assert (rig.device(PRINTER).presence_reason, rig.device(PRINTER).condition) == ("line", "faulty")
    assert rig.device(PINPAD).presence == "online"
    rig.flush(rig.batch(GATEWAY, 2, FaultCleared("agent.LINE_SILENT", raised_ms, rig.wall_ms()), device=PRINTER))
    assert (rig.device(PRINTER).presence, rig.device(PRINTER).condition) == ("online", "well")


def test_a_gateway_that_has_just_begun_proves_no_silence_but_an_open_fault_does(rig: FlushRig) -> None:
    raised = FaultRaised("agent.LINE_SILENT", Severity.MAJOR, rig.wall_ms(), rig.wall_ms())
    rig.flush(rig.batch(GATEWAY, 1, raised, device=PINPAD))
    rig.flush(rig.hello(GATEWAY, FIRST, silent=[PRINTER, PINPAD]))
    assert rig.device(PRINTER).presence == "online"
    assert (rig.device(PINPAD).presence, rig.device(PINPAD).presence_reason) == ("unknown", "line")


def test_a_link_that_is_not_heard_is_missed_after_its_allowance_and_comes_back_by_any_word(rig: FlushRig) -> None:
    rig.flush(rig.hello(GATEWAY, FIRST, alive=[PRINTER]))
    rig.pass_time(19)
    sweep(rig)
    assert rig.device(GATEWAY).presence == "online"
    rig.pass_time(2)
    sweep(rig)
    sweep(rig)
    assert statuses(rig, GATEWAY) == [("online", ""), ("silent", "not_heard")]
    assert statuses(rig, PRINTER) == [("online", ""), ("silent", "gateway")]
    assert rig.device(GATEWAY).condition == "silent"
    rig.flush(rig.batch(GATEWAY, 1, Verdict("net.path", Outcome.PASS)))
    assert {rig.device(GATEWAY).presence, rig.device(PRINTER).presence} == {"online"}


def test_silence_says_nothing_while_nobody_listens(rig: FlushRig) -> None:
    rig.flush(rig.hello(TERMINAL, FIRST))
    rig.pass_time(300)
    for since, at_ago_s, expected in ((None, 1, "online"), (5, 1, "online"), (100, 60, "online"), (100, 1, "unknown")):
        with transaction(rig.engine) as session:
            listening = None if since is None else rig.now - timedelta(seconds=since)
            at = rig.now - timedelta(seconds=at_ago_s)
            installation.save_worker(session, "w", Counter(), listening, at)
        sweep(rig)
        assert rig.device(TERMINAL).presence == expected


def test_time_alone_makes_a_closed_shop_silent_when_it_opens(engine: Engine) -> None:
    make_fleet(engine, [["13:00", "20:00"]])  # the rig starts at noon in Shanghai
    rig = FlushRig(engine)
    rig.flush(rig.hello(TERMINAL, FIRST))
    rig.flush(rig.presence(TERMINAL, FIRST))
    assert rig.device(TERMINAL).condition == "off"
    rig.pass_time(3600)
    with transaction(engine) as session:
        after = sweep_conditions(session, TENANT, rig.now, limit=3)
        assert after
        assert sweep_conditions(session, TENANT, rig.now, after, limit=3) == ""
    assert rig.device(TERMINAL).condition == "silent"


def test_hours_in_which_a_device_was_heard_are_noted_once(rig: FlushRig) -> None:
    for _ in range(40):
        rig.flush(rig.batch(TERMINAL, 1, Verdict("net.path", Outcome.PASS)))
        rig.pass_time(120)
    with reading(rig.engine) as session:
        hours = session.execute(select(HeardHour)).scalars().all()
    assert sorted({one.hour_at.hour for one in hours}) == [4, 5]
    assert len(hours) == 2


def test_a_wrong_clock_moves_nothing_in_the_timeline(rig: FlushRig) -> None:
    for number, error in enumerate((timedelta(days=-20_000), timedelta(days=400)), 1):
        rig.clock_error = error
        rig.flush(rig.hello(TERMINAL, f"{number}" * 32))
        rig.pass_time(60)
        happened_at = rig.now - timedelta(seconds=40)
        rig.clock_error = timedelta(0)  # the clock is set right after the hello
        rig.flush(rig.batch(TERMINAL, number, rig.record(TERMINAL, Verdict("net.path", Outcome.PASS), ago_s=40)))
        assert rig.events(TERMINAL, "verdict")[-1].at == happened_at


def test_a_hello_that_waited_here_has_the_clocks_of_when_it_came(rig: FlushRig) -> None:
    hello = replace(rig.hello(TERMINAL), came_s=0.0)
    rig.pass_time(40)
    rig.flush(hello, rig.batch(TERMINAL, 1, rig.record(TERMINAL, Verdict("net.path", Outcome.PASS), ago_s=30)))
    assert rig.device(TERMINAL).clock_offset_ms == 0
    assert rig.events(TERMINAL, "verdict")[0].at == rig.now - timedelta(seconds=30)


TRUE_OFFSET_MS = to_ms(START) - MONO_MS


def late_hello(rig: FlushRig, by_s: float) -> HelloMessage:
    """Said now, and come so much later; the device's clock is an hour ahead."""
    rig.clock_error = timedelta(hours=1)
    hello = rig.hello(TERMINAL)
    rig.pass_time(by_s)
    return hello


def verdict(rig: FlushRig, ago_s: float, boot: str = BOOT) -> bytes:
    return rig.record(TERMINAL, Verdict("net.path", Outcome.PASS), ago_s, boot)


def test_a_link_that_knows_the_servers_time_sets_a_hello_right_that_was_long_on_its_way(rig: FlushRig) -> None:
    rig.flush(late_hello(rig, 40))
    assert rig.device(TERMINAL).mono_offset_ms == TRUE_OFFSET_MS + 40_000
    rig.pass_time(60)
    # What it tells is behind by the way of the welcome.
    rig.flush(rig.batch(TERMINAL, 1, verdict(rig, 50), mono_offset_ms=TRUE_OFFSET_MS - 100))
    assert rig.events(TERMINAL, "verdict")[-1].at == rig.now - timedelta(seconds=50.1)
    found = rig.device(TERMINAL)
    assert (found.mono_offset_ms, found.clock_offset_ms) == (TRUE_OFFSET_MS - 100, 3_600_100)
    # Who reads the next batches need not have read this one.
    rig.flush(rig.batch(TERMINAL, 2, verdict(rig, 30)))
    assert rig.events(TERMINAL, "verdict")[-1].at == rig.now - timedelta(seconds=30.1)


def test_a_hello_in_time_is_believed_more_than_what_the_way_of_an_answer_lets_a_link_tell(rig: FlushRig) -> None:
    rig.flush(rig.hello(TERMINAL))
    rig.flush(rig.batch(TERMINAL, 1, verdict(rig, 5), mono_offset_ms=TRUE_OFFSET_MS - 900))
    assert rig.events(TERMINAL, "verdict")[-1].at == rig.now - timedelta(seconds=5)
    assert rig.device(TERMINAL).mono_offset_ms == TRUE_OFFSET_MS


def test_what_a_link_knows_better_after_a_quicker_answer_holds_and_what_was_sent_before_does_not(rig: FlushRig) -> None:
    rig.flush(late_hello(rig, 40))
    batches = [
        rig.batch(TERMINAL, number, verdict(rig, 5), mono_offset_ms=TRUE_OFFSET_MS - behind_ms)
        for number, behind_ms in enumerate((30_000, 100, 20_000), 1)
    ]
    rig.flush(batches[0])
    assert rig.events(TERMINAL, "verdict")[-1].at == rig.now - timedelta(seconds=35)
    rig.flush(batches[1], batches[2])
    assert {one.at for one in rig.events(TERMINAL, "verdict")[1:]} == {rig.now - timedelta(seconds=5.1)}
    found = rig.device(TERMINAL)
    assert (found.mono_offset_ms, found.clock_offset_ms) == (TRUE_OFFSET_MS - 100, 3_600_100)


def test_two_workers_that_are_told_the_same_of_a_clock_set_it_right_once(rig: FlushRig) -> None:
    rig.flush(late_hello(rig, 40))
    batches = [
        rig.batch(TERMINAL, number, verdict(rig, 5), mono_offset_ms=TRUE_OFFSET_MS - 100 * number) for number in (1, 2)
    ]
    other = Directory()
    with reading(rig.engine) as session:
        other.find(session, [TERMINAL], rig.now_s)
    rig.flush(batches[0])
    # It remembers the link as it was before the first heard of it.
    rig.directory = other
    rig.flush(batches[1])
    found = rig.device(TERMINAL)
    assert (found.mono_offset_ms, found.clock_offset_ms) == (TRUE_OFFSET_MS - 200, 3_600_200)
    assert rig.events(TERMINAL, "verdict")[-1].at == rig.now - timedelta(seconds=5.2)


def test_what_a_link_told_before_it_restarted_says_nothing_of_its_clock_since(rig: FlushRig) -> None:
    rig.flush(rig.hello(TERMINAL))
    told_ms = TRUE_OFFSET_MS - 86_400_000
    rig.flush(rig.batch(TERMINAL, 1, verdict(rig, 5, boot="e" * 32), mono_offset_ms=told_ms))
    assert rig.device(TERMINAL).mono_offset_ms == TRUE_OFFSET_MS


def test_of_a_hello_that_was_repeated_the_quickest_tells_how_the_clocks_stand(rig: FlushRig) -> None:
    first = rig.hello(TERMINAL, FIRST)
    rig.flush(first)
    slow = rig.hello(TERMINAL, FIRST)
    rig.pass_time(60)
    rig.flush(slow)
    assert (rig.device(TERMINAL).mono_offset_ms, rig.device(TERMINAL).clock_offset_ms) == (TRUE_OFFSET_MS, 0)
    # Another session begins anew: no two clocks run alike for ever.
    rig.flush(late_hello(rig, 1))
    other = rig.hello(TERMINAL, SECOND)
    rig.pass_time(60)
    rig.flush(other)
    assert rig.device(TERMINAL).mono_offset_ms == TRUE_OFFSET_MS + 60_000


def test_a_hello_that_was_repeated_until_it_was_answered_is_answered_once(rig: FlushRig) -> None:
    hellos = []
    for _ in range(3):
        hellos.append(rig.hello(TERMINAL, FIRST))
        rig.pass_time(5)
    flushed = rig.flush(*hellos, rig.hello(GATEWAY, SECOND))
    assert [one.hello.session for one in flushed.greetings] == [FIRST, SECOND]
    assert flushed.counters["hellos_repeated"] == 2
    assert rig.device(TERMINAL).mono_offset_ms == TRUE_OFFSET_MS + 5_000


def test_nothing_happens_in_the_future(rig: FlushRig) -> None:
    rig.clock_error = timedelta(days=4000)
    rig.flush(rig.batch(TERMINAL, 1, Verdict("net.path", Outcome.PASS)))
    assert rig.events(TERMINAL, "verdict")[0].at == rig.now


def test_capabilities_are_kept_for_own_devices_only_and_asked_for_once(rig: FlushRig) -> None:
    declared = Capabilities(
        [DeviceCapabilities(id_, "host", "smart", [], firmware="2.1") for id_ in (GATEWAY, PRINTER, OTHER)]
    )
    rig.flush(CapabilitiesMessage(LinkId(GATEWAY), declared))
    with reading(rig.engine) as session:
        assert sorted(session.execute(select(Capability.device_id)).scalars()) == [GATEWAY, PRINTER]  # type: ignore[call-overload]  # SQLModel types columns as their values
    assert rig.device(PRINTER).firmware == "2.1"
    assert [one.data for one in rig.events(type_="capabilities")] == [{"digest": digest(declared)}] * 2
    rig.flush(CapabilitiesMessage(LinkId(GATEWAY), declared))
    assert len(rig.events(type_="capabilities")) == 2
    (greeting,) = rig.flush(rig.hello(GATEWAY, digest=digest(declared))).greetings
    assert not greeting.wants_capabilities
