"""Each fix mends what it is for, its check tells before from after, and it mends nothing else."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import msgspec
import pytest

from device_agent.drivers.zvt.messages import CONFIG_REGISTER_PRINTS, CONFIG_TERMINAL_PRINTS
from device_agent.errors import ActionFailed
from protocol.capabilities import Action, StepNature
from protocol.catalogue.vocabulary import TerminalClass
from protocol.commands import SOAK_S, ActionKind, DangerClass
from protocol.records import Outcome
from protocol.safety import Answer, Condition, Effect, judge
from simulators.fault_plan import APP_DEAD, QUEUE_STUCK, REGISTRATION_LOST
from simulators.terminal_faults import DEAD_DNS_SERVER
from simulators.terminal_payments import PAYMENT_TAKES_S, pay
from tests.support.action_rig import ActionRig, attached_rig, terminal_rig

WAYS_OUT = ["batch.settle", "queue.send", "sign_in.renew", "app.sign_in"]
MENDS = [
    ("app.restart", APP_DEAD, {}),
    ("queue.send", QUEUE_STUCK, {}),
    ("batch.settle", "batch_full", {}),
    ("sign_in.renew", "sign_in_expired", {}),
    ("logs.purge", "storage_log_growth", {}),
    ("clock.sync", "clock_drift", {}),
    ("modem.reregister", REGISTRATION_LOST, {}),
    ("device.reboot", APP_DEAD, {}),
    ("config.apply", "apn_wrong", {"name": "apn", "value": "cmnet"}),
    ("config.apply", "dns_broken", {"name": "dns_server", "value": "223.5.5.5"}),
]


@pytest.fixture(params=list(TerminalClass), ids=lambda each: each.value)
def rig(request: pytest.FixtureRequest) -> ActionRig:
    return terminal_rig(request.param)


@pytest.fixture
def e_sign() -> ActionRig:
    return terminal_rig(TerminalClass.E_SIGN)


@pytest.mark.parametrize(("fix", "fault", "params"), MENDS)
def test_fix_mends_its_fault_and_the_check_tells_before_from_after(
    rig: ActionRig, fix: str, fault: str, params: dict[str, str]
) -> None:
    rig.simulated.apply_fault(fault)
    before, after = rig.fix(fix, **params)
    assert before is not Outcome.PASS
    assert after is Outcome.PASS
    assert rig.simulated.faults() == ()


@pytest.mark.parametrize(("fix", "fault", "params"), MENDS)
def test_on_a_healthy_terminal_the_check_before_finds_nothing_to_mend(
    rig: ActionRig, fix: str, fault: str, params: dict[str, str]
) -> None:
    check = rig.definitions[fix].declared.pre_check
    assert check is not None
    assert rig.outcome(check, **(params if check == "config.read" else {})) is Outcome.PASS


def test_restart_frees_what_the_application_had_leaked(rig: ActionRig) -> None:
    rig.simulated.apply_fault("memory_leak")
    assert rig.outcome("memory.read") is not Outcome.PASS
    rig.fix("app.restart")
    assert rig.outcome("memory.read") is Outcome.PASS
    # Its cause is in the program; it will leak again.
    assert rig.simulated.faults() == ("memory_leak",)


def test_nothing_from_afar_mends_a_dead_sim(e_sign: ActionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_agent.fixes.modem_reregister.REGISTERED_WITHIN_S", 0.0)
    e_sign.simulated.apply_fault("sim_dead")
    with pytest.raises(ActionFailed) as failed:
        e_sign.fix("modem.reregister")
    assert failed.value.reason == "not_in_time"
    assert e_sign.outcome("modem.registration") is Outcome.FAIL


def test_a_queue_that_cannot_be_sent_stays_whole(e_sign: ActionRig) -> None:
    e_sign.simulated.apply_fault(QUEUE_STUCK)
    e_sign.simulated.apply_fault("acquirer_down")
    waiting = e_sign.simulated.snapshot()["trade"]["queue"]
    with pytest.raises(ActionFailed) as failed:
        e_sign.fix("queue.send")
    assert failed.value.reason == "host_unreachable"
    assert e_sign.simulated.snapshot()["trade"]["queue"] == waiting


@pytest.mark.parametrize(
    ("beside", "reason"),
    [("acquirer_down", "not_settled"), ("sign_in_expired", "not_settled"), (QUEUE_STUCK, "queue_not_sent")],
)
def test_batch_is_settled_only_with_all_that_waits_and_by_the_acquirer(
    e_sign: ActionRig, beside: str, reason: str
) -> None:
    e_sign.simulated.apply_fault("batch_full")
    e_sign.simulated.apply_fault(beside)
    before = e_sign.simulated.snapshot()["trade"]
    with pytest.raises(ActionFailed) as failed:
        e_sign.fix("batch.settle")
    assert failed.value.reason == reason
    assert e_sign.simulated.snapshot()["trade"] == before
    e_sign.simulated.clear_fault(beside)
    assert e_sign.fix("batch.settle")[1] is Outcome.PASS


def test_full_batch_fills_on_until_it_is_settled(e_sign: ActionRig) -> None:
    e_sign.simulated.settle_after = 3
    e_sign.simulated.apply_fault("batch_full")
    for _ in range(4):
        pay(e_sign.simulated)
        e_sign.clock.now_s += PAYMENT_TAKES_S
    assert e_sign.outcome("batch.status") is Outcome.FAIL
    settle = e_sign.definitions["batch.settle"].steps[0]
    assert settle.probe is not None
    assert settle.probe(e_sign.context("batch.settle", {})) is False
    e_sign.fix("batch.settle")
    assert settle.probe(e_sign.context("batch.settle", {})) is True


@pytest.mark.parametrize(("beside", "evidence"), [("acquirer_down", "no answer"), ("merchant_disabled", "with 03")])
def test_a_sign_in_that_the_acquirer_does_not_approve_is_no_success(
    e_sign: ActionRig, beside: str, evidence: str
) -> None:
    e_sign.simulated.apply_fault("sign_in_expired")
    e_sign.simulated.apply_fault(beside)
    with pytest.raises(ActionFailed, match=evidence) as failed:
        e_sign.fix("sign_in.renew")
    assert failed.value.reason == "sign_in_not_approved"
    assert e_sign.outcome("sign_in.status") is not Outcome.PASS


@pytest.mark.parametrize("name", WAYS_OUT)
def test_ways_out_of_an_open_batch_are_held_by_a_running_payment_only(e_sign: ActionRig, name: str) -> None:
    effect = e_sign.definitions[name].effect
    assert effect is Effect.WAY_OUT
    for count in range(len(Condition)):
        for conditions in itertools.combinations(set(Condition) - {Condition.TRANSACTION_RUNNING}, count):
            assert judge(effect, conditions).answer is Answer.GO
    assert judge(effect, {Condition.TRANSACTION_RUNNING}).answer is Answer.WAIT


@pytest.mark.parametrize("name", [name for name in WAYS_OUT if name != "app.sign_in"])
def test_each_fix_that_is_a_way_out_has_its_own_check_before_and_after(e_sign: ActionRig, name: str) -> None:
    declared = e_sign.definitions[name].declared
    before = {"batch.settle": "batch.status", "queue.send": "queue.status", "sign_in.renew": "sign_in.status"}[name]
    assert (declared.pre_check, declared.post_check) == (before, before)
    assert declared.soak_s == SOAK_S


def test_every_fix_keeps_every_payment(rig: ActionRig) -> None:
    for _ in range(5):
        pay(rig.simulated)
    rig.clock.now_s += PAYMENT_TAKES_S
    rig.simulated.apply_fault(QUEUE_STUCK)
    trade = rig.simulated.snapshot()["trade"]
    journal, money = trade["journal"], trade["queue"] + trade["sent"]
    for name, definition in rig.definitions.items():
        if definition.declared.kind is ActionKind.FIX:
            rig.fix(name, **({"name": "log_level", "value": "warn"} if name == "config.apply" else {}))
    trade = rig.simulated.snapshot()["trade"]
    assert trade["journal"] == journal
    assert trade["queue"] + trade["sent"] == money


def test_a_purge_of_logs_leaves_the_journal_file_alone(rig: ActionRig, tmp_path: Path) -> None:
    rig.simulated.log = type(rig.simulated.log)(tmp_path / "pay.log", rig.simulated.model)
    for _ in range(5):
        pay(rig.simulated)
    rig.clock.now_s += PAYMENT_TAKES_S
    journal = (tmp_path / "pay.journal").read_bytes()
    rig.simulated.apply_fault("storage_log_growth")
    rig.fix("logs.purge")
    assert (tmp_path / "pay.journal").read_bytes() == journal
    assert (tmp_path / "pay.log").read_bytes() == b""


@pytest.mark.parametrize(
    ("name", "value"), [("apn", "two words"), ("receipt_copies", "9"), ("acquirer_port", "0"), ("dns_server", "x")]
)
def test_a_value_outside_what_is_declared_is_refused_and_nothing_set(e_sign: ActionRig, name: str, value: str) -> None:
    before = e_sign.simulated.snapshot()
    with pytest.raises(ActionFailed) as failed:
        e_sign.fix("config.apply", name=name, value=value)
    assert failed.value.reason == "value_not_allowed"
    assert e_sign.simulated.snapshot() == before


def test_a_value_the_terminal_does_not_take_is_put_back(e_sign: ActionRig, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, str]] = []
    monkeypatch.setattr(e_sign.device, "config_set", lambda name, value: taken.append((name, value)))
    with pytest.raises(ActionFailed) as failed:
        e_sign.fix("config.apply", name="dns_server", value=DEAD_DNS_SERVER)
    assert failed.value.reason == "not_taken"
    assert taken == [("dns_server", DEAD_DNS_SERVER), ("dns_server", "223.5.5.5")]


def test_a_terminal_that_cuts_off_its_answer_by_going_down_is_rebooted_all_the_same() -> None:
    rig = terminal_rig(TerminalClass.SMART, reboot_s=0.5)
    # Time of this clock passes only by waiting for answers; here it must pass between them.
    clock = rig.device._line._monotonic
    started_s = time.monotonic()
    rig.simulated._monotonic = lambda: clock() + 2 * (time.monotonic() - started_s)
    rig.simulated.apply_fault(APP_DEAD)
    boot = rig.device.boot()
    rig.definitions["device.reboot"].steps[0].run(rig.context("device.reboot", {}))
    assert rig.device.boot() != boot
    assert rig.outcome("app.alive") is Outcome.PASS


def test_reboot_is_one_step_done_once_and_proved_only_by_another_boot(e_sign: ActionRig) -> None:
    (step,) = e_sign.definitions["device.reboot"].steps
    assert step.declared.nature is StepNature.ONCE
    context = e_sign.context("device.reboot", {})
    assert step.probe is not None
    assert step.probe(context) is None
    context.boot_before = e_sign.device.boot()
    assert step.probe(context) is None
    e_sign.device.reboot()
    assert step.probe(context) is True


def test_probes_of_send_and_apply_tell_whether_it_happened(e_sign: ActionRig) -> None:
    send = e_sign.definitions["queue.send"].steps[0]
    e_sign.simulated.apply_fault(QUEUE_STUCK)
    assert send.probe is not None
    assert send.probe(e_sign.context("queue.send", {})) is False
    send.run(e_sign.context("queue.send", {}))
    assert send.probe(e_sign.context("queue.send", {})) is True
    apply = e_sign.definitions["config.apply"].steps[0]
    context = e_sign.context("config.apply", {"name": "log_level", "value": "debug"})
    assert apply.probe is not None
    assert apply.probe(context) is False
    apply.run(context)
    assert apply.probe(context) is True


def test_initialisation_mends_what_needs_it_and_says_why_it_cannot() -> None:
    zvt = attached_rig("zvt")
    zvt.simulated.apply_fault("param_outdated")
    before, after = zvt.fix("zvt.initialise")
    assert (before is Outcome.PASS, after) == (False, Outcome.PASS)
    zvt.simulated.apply_fault("acquirer_down")
    with pytest.raises(ActionFailed) as failed:
        zvt.fix("zvt.initialise")
    assert failed.value.reason == "zvt.A1"


@pytest.mark.parametrize("fault", ["param_outdated", "clock_drift", "capk_outdated", "sign_in_expired"])
def test_check_before_initialising_tells_its_faults_from_a_well_terminal(fault: str) -> None:
    zvt = attached_rig("zvt")
    assert zvt.outcome("zvt.initialised") is Outcome.PASS
    zvt.simulated.apply_fault(fault)
    assert zvt.codes("zvt.initialised") & set(zvt.definitions["zvt.initialise"].declared.cures)
    before, after = zvt.fix("zvt.initialise")
    assert (before, after) == (Outcome.FAIL, Outcome.PASS)
    assert zvt.simulated.faults() == frozenset()


def test_initialising_is_not_asked_for_by_what_it_does_not_mend_nor_passed_without_the_hosts_word() -> None:
    zvt = attached_rig("zvt")
    zvt.simulated.apply_fault("reader_dead")
    assert zvt.outcome("zvt.initialised") is Outcome.PASS
    zvt.simulated.apply_fault("acquirer_down")
    assert zvt.outcome("zvt.initialised") is Outcome.ERROR


def test_initialisation_registers_a_terminal_that_lost_its_registration_and_no_other() -> None:
    zvt = attached_rig("zvt")
    zvt.simulated.apply_fault("param_outdated")
    zvt.fix("zvt.initialise")
    assert zvt.simulated.snapshot()["config_byte"] == CONFIG_REGISTER_PRINTS
    zvt.simulated.apply_fault("sign_in_expired")
    assert zvt.outcome("zvt.diagnosis") is Outcome.FAIL
    zvt.fix("zvt.initialise")
    assert zvt.simulated.faults() == frozenset()
    assert zvt.simulated.snapshot()["config_byte"] == CONFIG_TERMINAL_PRINTS


def test_a_modem_by_itself_registers_again() -> None:
    modem = attached_rig("modem")
    modem.simulated.apply_fault("link_down")
    before, after = modem.fix("modem.reregister")
    assert (before is Outcome.PASS, after) == (False, Outcome.PASS)


def test_every_declaration_keeps_its_limits_and_says_what_it_changes(rig: ActionRig) -> None:
    for name, definition in rig.definitions.items():
        declared = definition.declared
        assert msgspec.json.decode(msgspec.json.encode(declared), type=Action) == declared, name
        is_check = declared.kind is ActionKind.CHECK
        assert (declared.danger_class is DangerClass.READS) is is_check
        assert (definition.effect is Effect.READS) is is_check
        if declared.kind is ActionKind.FIX:
            assert declared.explains is not None
            assert declared.pre_check in rig.definitions
            assert declared.post_check in rig.definitions
            assert declared.steps
            assert all(each.probe for each in definition.steps if each.declared.nature is not StepNature.IDEMPOTENT)
