"""Checks find what is wrong, say so in the catalogue's terms, and change nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from device_agent.core.effects import Job, JobKind
from device_agent.worker import DevicePlan, answer
from protocol.catalogue import codes
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import ActionKind, DangerClass
from protocol.identifiers import DeviceId, ExecutionId
from protocol.records import Outcome
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from simulators.terminal_payments import pay
from tests.support.action_rig import ActionRig, attached_rig, terminal_rig

ATTACHED = ("zvt", "escpos", "modem")


@pytest.fixture(params=[each.value for each in TerminalClass] + list(ATTACHED))
def rig(request: pytest.FixtureRequest) -> ActionRig:
    if request.param in ATTACHED:
        return attached_rig(request.param)
    return terminal_rig(next(each for each in TerminalClass if each.value == request.param))


@pytest.fixture
def smart() -> ActionRig:
    return terminal_rig(TerminalClass.SMART)


@pytest.fixture
def e_sign() -> ActionRig:
    return terminal_rig(TerminalClass.E_SIGN)


def test_every_check_leaves_the_device_as_it_was_and_finds_a_healthy_one_healthy(rig: ActionRig) -> None:
    before = rig.simulated.snapshot()
    for name, definition in rig.definitions.items():
        if definition.declared.danger_class is not DangerClass.READS:
            continue
        findings = rig.check(name)
        assert rig.simulated.snapshot() == before, name
        wrong = [each for each in findings if each.outcome in {Outcome.FAIL, Outcome.WARN}]
        assert wrong == [], name


def test_every_check_of_class_0_also_changes_nothing_on_a_broken_device(rig: ActionRig) -> None:
    known = (
        [each.name for each in rig.simulated.possible_faults()]
        if rig.device.family == "terminal"
        else sorted(rig.simulated.known_faults())
    )
    for fault in known:
        rig.simulated.apply_fault(fault)
    before = rig.simulated.snapshot()
    rig.check("device.full_check")
    assert rig.simulated.snapshot() == before


@pytest.mark.parametrize(
    ("fault", "check", "code"),
    [
        (APP_DEAD, "app.alive", "agent.APP_DEAD"),
        (QUEUE_STUCK, "queue.status", "agent.UPLOAD_STUCK"),
        (REGISTRATION_LOST, "modem.registration", "agent.MODEM_NOT_REGISTERED"),
        ("sim_dead", "modem.sim", "cme.13"),
        ("signal_weak", "modem.signal", "term.NET_WEAK"),
        ("storage_log_growth", "storage.read", "term.STORAGE_FULL"),
        ("flash_wear", "storage.health", "term.STORAGE_IO"),
        ("memory_leak", "memory.read", "agent.MEMORY_LOW"),
        ("clock_drift", "clock.read", "term.CLOCK_INVALID"),
        ("tls_cert_expired", "cert.expiry", "agent.CERT_EXPIRED"),
        ("dns_broken", "net.path", "term.NET_DNS"),
        ("acquirer_down", "net.path", "term.HOST_TIMEOUT"),
        ("clock_drift", "net.path", "term.TLS_HANDSHAKE"),
        ("paper_out", "printer.status", "term.PRN_NO_PAPER"),
        ("sign_in_expired", "app.trading", "term.SIGN_IN_NEEDED"),
        ("battery_aged", "power.read", None),
        ("tamper_tripped", "ped.status", "term.PED_TAMPER"),
        ("reader_dead", "reader.status", "term.RDR_DEAD"),
        ("nfc_antenna", "reader.status", None),
        ("psu_brownout", "device.stability", None),
        ("overheating", "device.stability", "term.OVERHEAT"),
        ("app_data_corrupt", "device.stability", "term.APP_CRASH"),
        ("dhcp_exhausted", "net.link", "term.NET_DHCP"),
        ("wifi_interference", "net.link", None),
    ],
)
def test_a_terminals_check_tells_its_fault_and_the_full_check_too(
    smart: ActionRig, fault: str, check: str, code: str | None
) -> None:
    smart.simulated.apply_fault(fault)
    assert smart.outcome(check) in {Outcome.FAIL, Outcome.WARN}
    assert code is None or code in smart.codes(check)
    assert code is None or code in smart.codes("device.full_check")
    smart.simulated.clear_fault(fault)
    assert smart.outcome(check) is Outcome.PASS


@pytest.mark.parametrize(
    ("family", "fault", "check", "code"),
    [
        ("zvt", "param_outdated", "zvt.status", "zvt.51"),
        ("zvt", "acquirer_down", "zvt.diagnosis", "zvt.A1"),
        ("zvt", "param_outdated", "zvt.diagnosis", "zvt.51"),
        ("zvt", "sign_in_expired", "zvt.initialised", "zvt.6B"),
        ("escpos", "paper_out", "printer.status", "escpos.eot4.paper_end"),
        ("modem", "sim_dead", "modem.sim", "cme.13"),
        ("modem", "signal_weak", "modem.signal", "term.NET_WEAK"),
        ("modem", "cell_outage", "modem.registration", "agent.MODEM_NOT_REGISTERED"),
    ],
)
def test_an_attached_devices_check_tells_its_fault(family: str, fault: str, check: str, code: str) -> None:
    rig = attached_rig(family)
    rig.simulated.apply_fault(fault)
    assert rig.outcome(check) in {Outcome.FAIL, Outcome.WARN}
    assert code in rig.codes(check)


def test_the_status_repeats_what_the_host_was_last_told_to_find() -> None:
    rig = attached_rig("zvt")
    rig.simulated.apply_fault("sign_in_expired")
    assert rig.outcome("zvt.status") is Outcome.PASS
    assert rig.outcome("zvt.diagnosis") is Outcome.FAIL
    assert rig.codes("zvt.status") == {"zvt.6B"}
    assert "zvt.6B" in rig.codes("device.full_check")


@pytest.mark.parametrize(
    ("fault", "check", "outcome"),
    [
        ("sim_dead", "modem.sim", Outcome.FAIL),
        ("storage_log_growth", "storage.read", Outcome.FAIL),
        ("signal_weak", "modem.signal", Outcome.WARN),
        ("sign_in_expired", "app.trading", Outcome.WARN),
    ],
)
def test_a_weighty_code_fails_and_a_light_one_warns(smart: ActionRig, fault: str, check: str, outcome: Outcome) -> None:
    smart.simulated.apply_fault(fault)
    assert smart.outcome(check) is outcome


def test_paper_near_its_end_is_a_warning_and_a_printer_without_paper_fails() -> None:
    rig = attached_rig("escpos")
    rig.simulated.apply_fault("paper_near")
    assert rig.outcome("printer.status") is Outcome.WARN
    rig.simulated.apply_fault("paper_out")
    assert rig.outcome("printer.status") is Outcome.FAIL


def test_values_carry_unit_and_the_limits_of_the_class(smart: ActionRig) -> None:
    finding = smart.check("storage.read")[0]
    assert finding.unit == "%"
    assert finding.limits is not None
    assert finding.limits.low == 15
    drift = smart.check("clock.read")[0].limits
    assert drift is not None
    assert (drift.low, drift.high) == (-30, 30)


def test_net_path_times_name_connection_and_handshake(smart: ActionRig) -> None:
    findings = {each.item: each for each in smart.check("net.path")}
    assert list(findings) == ["dns", "tcp", "tls"]
    assert all(each.unit == "ms" and isinstance(each.value, int | float) for each in findings.values())
    smart.simulated.apply_fault("acquirer_down")
    findings = {each.item: each for each in smart.check("net.path")}
    assert [each.outcome for each in findings.values()] == [Outcome.PASS, Outcome.FAIL, Outcome.ERROR]


def test_the_log_tail_shows_no_card_number(smart: ActionRig, tmp_path: Path) -> None:
    path = tmp_path / "pay.log"
    smart.simulated.log = type(smart.simulated.log)(path, smart.simulated.model)
    for _ in range(8):
        pay(smart.simulated)
    assert "4111111111111111" in path.read_text(encoding="utf-8")
    findings = smart.check("app.log_tail", lines=50)
    assert len(findings) == 16
    assert not any("4111111111111111" in each.evidence for each in findings)


def test_configuration_is_compared_when_a_value_is_given(smart: ActionRig) -> None:
    assert smart.outcome("config.read") is Outcome.PASS
    assert smart.outcome("config.read", name="apn", value="cmnet") is Outcome.PASS
    assert smart.outcome("config.read", name="apn", value="internet") is Outcome.FAIL
    assert smart.outcome("config.read", name="master_key") is Outcome.UNSUPPORTED


def test_a_class_without_a_printer_is_not_offered_what_is_about_it(e_sign: ActionRig, smart: ActionRig) -> None:
    assert "printer.status" in smart.definitions
    assert "printer.print_test" not in e_sign.definitions
    assert "printer.status" not in e_sign.definitions


@pytest.mark.parametrize(
    ("fed_since", "told"), [(0, []), (4, None), (5, [Outcome.PASS]), (9, [Outcome.PASS]), (-100, None)]
)
def test_an_interrupted_print_test_is_told_by_the_printers_own_count_of_lines(
    fed_since: int, told: list[Outcome] | None
) -> None:
    printer = attached_rig("escpos")
    definition = printer.definitions["printer.print_test"]
    context = printer.context("printer.print_test", {})
    assert definition.mark is not None
    assert definition.since is not None
    mark = definition.mark(context)
    found = definition.since(context, str(int(mark) - fed_since))
    assert (None if found is None else [one.outcome for one in found]) == told


def test_the_count_of_another_printer_tells_nothing() -> None:
    printer = attached_rig("escpos")
    definition = printer.definitions["printer.print_test"]
    plan = DevicePlan(DeviceId("d-printer-0001"), "kiosk", 5.0, lambda: printer.device)
    context = printer.context("printer.print_test", {})
    job = Job(ExecutionId("e"), 1, plan.device, JobKind.PROBE, definition, mark="48211", identity="PS00471103")
    assert answer(job, context, printer.device, plan).probe is False
    swapped = dataclasses.replace(job, identity="PS00000001")
    assert answer(swapped, context, printer.device, plan).probe is None


def test_where_nothing_counts_an_interrupted_print_test_leaves_no_mark(smart: ActionRig) -> None:
    for rig in (smart, attached_rig("escpos", has_counters=False)):
        mark = rig.definitions["printer.print_test"].mark
        assert mark is not None
        assert mark(rig.context("printer.print_test", {})) == ""


def test_print_test_prints_or_says_why_not(smart: ActionRig) -> None:
    assert smart.outcome("printer.print_test", text="hello") is Outcome.PASS
    assert "hello" in smart.simulated.snapshot()["printed"]
    smart.simulated.apply_fault("paper_out")
    assert smart.outcome("printer.print_test") is Outcome.FAIL
    printer = attached_rig("escpos")
    assert printer.outcome("printer.print_test") is Outcome.PASS
    printer.simulated.apply_fault("cover_open")
    assert printer.outcome("printer.print_test") is Outcome.FAIL


def test_network_scan_names_what_it_hears(smart: ActionRig) -> None:
    assert "46000" in smart.check("modem.network_scan")[0].evidence
    assert attached_rig("modem").outcome("modem.network_scan") is Outcome.PASS
    smart.simulated.apply_fault("sim_dead")
    assert smart.outcome("modem.network_scan") is Outcome.FAIL


def test_sign_in_mends_an_expired_one_and_not_a_disabled_merchant(smart: ActionRig) -> None:
    smart.simulated.apply_fault("sign_in_expired")
    assert smart.outcome("app.sign_in") is Outcome.PASS
    assert smart.simulated.faults() == ()
    smart.simulated.apply_fault("merchant_disabled")
    assert smart.outcome("app.sign_in") is Outcome.FAIL
    assert smart.codes("app.sign_in") == {"unionpay39.03"}


def test_configuration_slip_is_printed_by_the_payment_terminal() -> None:
    assert attached_rig("zvt").outcome("zvt.print_configuration") is Outcome.PASS


def test_every_code_a_declaration_names_is_in_the_catalogue(rig: ActionRig) -> None:
    for definition in rig.definitions.values():
        named = [*definition.declared.finds, *definition.declared.cures]
        assert [code for code in named if codes.get(code) is None] == []


def test_the_full_check_tells_its_progress_and_names_each_item(smart: ActionRig) -> None:
    context = smart.context("device.full_check", {})
    run = smart.definitions["device.full_check"].run
    assert run is not None
    findings = run(context)
    names = {each.item.split(" ")[0] for each in findings}
    expected = {
        name
        for name, each in smart.definitions.items()
        if each.declared.kind is ActionKind.CHECK
        and name not in {"device.full_check", "agent.echo", "app.log_tail", "config.read"}
    }
    assert names == expected
    assert context.told[0][0] == 0
    # The verdicts of one execution are bounded.
    assert len(findings) <= 64
