"""The terminal driver reads what the service says, and comes back by itself from whatever happens on the way."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

import pytest

from device_agent.drivers.network_target import NetworkTarget
from device_agent.drivers.results import SERVICE_SILENT_CODE
from device_agent.drivers.terminal import wire
from device_agent.drivers.terminal.device import TerminalDevice
from device_agent.drivers.terminal.signs import RULES, signs_of
from device_agent.errors import ActionFailed, DeviceNotAnswering
from protocol.catalogue import codes, metrics
from protocol.catalogue.vocabulary import TerminalClass
from protocol.safety import Condition
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK
from simulators.terminal_payments import pay
from tests.support.action_rig import ActionRig, terminal_rig

NOW = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def rig() -> ActionRig:
    return terminal_rig(TerminalClass.SMART, reboot_s=5.0)


class ScriptedPort:
    """Answers each request with the next of ``replies``, as bytes or by the request's number."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        self.opened = 0
        self.waiting = b""
        self.time_s = 0.0

    def open(self) -> ScriptedPort:
        self.opened += 1
        return self

    def monotonic(self) -> float:
        return self.time_s

    def read(self, max_bytes: int, timeout_s: float) -> bytes:
        data, self.waiting = self.waiting[:max_bytes], self.waiting[max_bytes:]
        if not data:
            self.time_s += timeout_s
        return data

    def write(self, data: bytes) -> None:
        (request,) = wire.request_reader().feed(data)
        assert isinstance(request, wire.Request)
        if self.replies:
            self.waiting += self.replies.pop(0).replace(b"%d", str(request.id).encode())

    def close(self) -> None:
        self.waiting = b""


def scripted(*replies: bytes) -> tuple[TerminalDevice, ScriptedPort]:
    port = ScriptedPort(*replies)
    return TerminalDevice(port.open, monotonic=port.monotonic), port


def test_poll_of_a_healthy_terminal(rig: ActionRig) -> None:
    result = rig.device.poll(NOW)
    assert result.alive
    assert result.faults == frozenset()
    assert result.state.description.model == "TM-S8"
    assert result.state.conditions == frozenset()
    assert all(metrics.get(name) is not None for name in result.readings)
    assert result.line.timeouts == 0


def test_poll_shows_what_is_wrong_once_each_code(rig: ActionRig) -> None:
    for fault in (APP_DEAD, QUEUE_STUCK, "clock_drift", "sim_dead", "paper_out"):
        rig.simulated.apply_fault(fault)
    found = [sign.code for sign in rig.device.poll(NOW).faults]
    assert len(found) == len(set(found))
    expected = {"agent.APP_DEAD", "agent.UPLOAD_STUCK", "term.CLOCK_INVALID", "cme.13", "term.PRN_NO_PAPER"}
    assert expected <= set(found)


def test_conditions_follow_what_the_terminal_is_in_the_middle_of(rig: ActionRig) -> None:
    pay(rig.simulated)
    assert rig.device.conditions() == {Condition.TRANSACTION_RUNNING, Condition.BATCH_OPEN}
    rig.simulated.apply_fault(QUEUE_STUCK)
    rig.simulated.apply_fault(APP_DEAD)
    more = {Condition.PAYMENTS_UNSENT, Condition.REVERSALS_PENDING, Condition.CANNOT_TRADE}
    assert more <= rig.device.conditions()


def test_an_unplugged_terminal_with_little_charge_is_low(rig: ActionRig) -> None:
    rig.simulated.apply_fault("battery_aged")
    assert Condition.BATTERY_LOW in rig.device.conditions()


def test_a_terminal_that_is_down_is_silent_and_comes_back_with_another_boot(rig: ActionRig) -> None:
    boot = rig.device.boot()
    with suppress(DeviceNotAnswering):
        rig.device.reboot()
    result = rig.device.poll(NOW)
    assert not result.alive
    assert [sign.code for sign in result.faults] == [SERVICE_SILENT_CODE]
    assert result.readings == {}
    rig.simulated.memory.down_until_s = 0.0
    assert rig.device.poll(NOW).alive
    assert rig.device.boot() != boot


def test_a_refusal_is_told_with_its_code(rig: ActionRig) -> None:
    with pytest.raises(ActionFailed) as refused:
        rig.device.config_set("master_key", "0")
    assert refused.value.reason == "unknown_value"


def test_silence_is_no_answer_and_the_next_call_opens_anew() -> None:
    device, port = scripted(b"", b'{"id":%d,"ok":true,"value":{"wall_ms":5}}\n')
    with pytest.raises(DeviceNotAnswering):
        device.clock_get()
    assert device.clock_get().wall_ms == 5
    assert port.opened == 2
    assert device.line_statistics.timeouts == 1


def test_an_answer_to_another_question_is_not_taken() -> None:
    device, _ = scripted(b'{"id":999,"ok":true,"value":{"wall_ms":1}}\n{"id":%d,"ok":true,"value":{"wall_ms":2}}\n')
    assert device.clock_get().wall_ms == 2


def test_noise_before_the_answer_is_counted_and_passed_over() -> None:
    device, _ = scripted(b'\xff\x00garbage\n{"id":%d,"ok":true,"value":{"wall_ms":2}}\n')
    assert device.clock_get().wall_ms == 2
    assert device.line_statistics.bad_frames == 1


@pytest.mark.parametrize(
    "value",
    [b"null", b"[]", b'{"wall_ms":"soon"}', b'{"wall_ms":-1}', b'{"wall_ms":1e400}', b'{"wall_ms":true}'],
)
def test_an_answer_of_the_wrong_shape_is_no_usable_answer(value: bytes) -> None:
    device, _ = scripted(b'{"id":%d,"ok":true,"value":' + value + b"}\n")
    with pytest.raises(DeviceNotAnswering):
        device.clock_get()


def test_a_service_that_cannot_probe_leaves_it_to_this_machines_sockets() -> None:
    refusal = b'{"id":%d,"ok":false,"code":"unknown_call","detail":"no such call"}\n'
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = ScriptedPort(refusal, refusal)
        target = NetworkTarget("127.0.0.1", listener.getsockname()[1])
        device = TerminalDevice(port.open, target=target, monotonic=port.monotonic)

        def hang_up() -> None:
            listener.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        found = device.net_probe("", 0)
        assert found.tcp is not None
        assert found.tcp.ok
    unset, _ = scripted(refusal)
    with pytest.raises(ActionFailed, match="neither given nor configured"):
        unset.net_probe("", 0)


def test_poll_never_raises_for_what_the_service_says() -> None:
    for reply in (b"{}\n", b'{"id":%d,"ok":true,"value":[{"code":5}]}\n', b'{"id":%d,"ok":false}\n', b"\n" * 50):
        device, _ = scripted(*([reply] * 8))
        assert not device.poll(NOW).alive


def test_too_many_readings_or_too_long_ones_are_refused() -> None:
    many = ",".join(f'"sys.x{number}":1' for number in range(500)).encode()
    device, _ = scripted(b'{"id":%d,"ok":true,"value":{' + many + b"}}\n")
    with pytest.raises(DeviceNotAnswering):
        device.readings()


def test_numbers_of_requests_stay_within_the_protocol() -> None:
    device, port = scripted()
    device._number = wire.MAX_ID - 1
    for expected in (wire.MAX_ID, 1):
        port.replies = [b'{"id":%d,"ok":true,"value":{"wall_ms":1}}\n']
        device.clock_get()
        assert device._number == expected


def test_every_rule_names_a_metric_and_a_code_of_the_catalogue() -> None:
    assert [rule for rule in RULES if metrics.get(rule.metric) is None] == []
    assert [rule for rule in RULES if codes.get(rule.code) is None] == []


def test_what_was_not_measured_or_has_another_type_shows_nothing() -> None:
    assert signs_of({}) == frozenset()
    for rule, number in zip(RULES, count(), strict=False):
        assert isinstance(rule.shows("no such state"), bool), number


UNKNOWN = b'{"id":%d,"ok":false,"code":"unknown_call","detail":"no such call"}\n'


def test_what_a_merchant_is_to_read_is_on_the_screen(rig: ActionRig) -> None:
    rig.device.show_to_merchant(["一", "two"])
    assert rig.simulated.memory.shown == ["一", "two"]
    assert rig.simulated.memory.printed == []


def test_it_is_on_paper_where_the_service_has_no_call_for_the_screen() -> None:
    device, port = scripted(UNKNOWN, b'{"id":%d,"ok":true,"value":{"printed":true,"status":"ok"}}\n')
    device.show_to_merchant(["x"])
    assert port.replies == []


@pytest.mark.parametrize(
    "replies",
    [
        (b'{"id":%d,"ok":false,"code":"busy","detail":"a payment runs"}\n',),
        (UNKNOWN, UNKNOWN),
        (UNKNOWN, b'{"id":%d,"ok":true,"value":{"printed":false,"status":"paper_out"}}\n'),
    ],
)
def test_it_fails_in_words_where_nobody_can_read_it(replies: tuple[bytes, ...]) -> None:
    device, _ = scripted(*replies)
    with pytest.raises(ActionFailed):
        device.show_to_merchant(["x"])
