from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from device_agent.core.consent import LOCKED_FOR_MS, WAIT_S, Budget, Consent, Tried, code_of, lines_for
from device_agent.core.effects import Arrived, Job, JobDone, JobKind
from device_agent.core.trust import Trust
from protocol.commands import CONSENT, CONSENT_CODES_PER_HOUR, CONSENT_TRIES, Command, DangerClass, Refusal
from protocol.executions import ExecutionState
from protocol.identifiers import DeviceId
from protocol.parameters import Words
from protocol.records import ExecutionReport, SecurityEvent
from protocol.session import Hello
from protocol.streams import StreamKind
from protocol.topics import Down, Up
from tests.device_agent.core.invented import DEVICE, OTHER
from tests.device_agent.core.rig import MemoryStore
from tests.device_agent.core.test_agent import Rig
from tests.device_agent.core.test_command_gate import POLICY, command, signed


class Shop(Rig):
    """A gateway with two printers behind it, and a support agent on the phone."""

    def __init__(self, store: MemoryStore | None = None, policy: Any = POLICY, family: str = "escpos") -> None:
        super().__init__(store, Trust.fixed(policy, "default"), family=family)
        self.counter = int(self.store.kept_facts.get("test/counter", "0"))
        self.established()

    def send(self, order: Command) -> str:
        self.counter += 1
        self.store.kept_facts["test/counter"] = str(self.counter)
        not_after_ms = self.core.clock.now_ms(self.clock.now) + 60_000
        order = msgspec.structs.replace(order, counter=self.counter, not_after_ms=not_after_ms)
        self.tell(Arrived(Down.COMMAND, signed(order), None))
        return order.execution

    def ask(self, action: str = "test.mend", **changed: Any) -> str:
        nonce = self.published(Up.HELLO, Hello)[-1].nonce
        order = command(action, nonce=nonce, consent=True)
        return self.send(msgspec.structs.replace(order, execution=str(uuid.uuid4()), **changed))

    def told(self, execution: str, code: str, device: str = DEVICE) -> ExecutionReport:
        self.send(command(CONSENT, danger_class=DangerClass.READS, audience=device, nonce=None, requester="",
                          params={"execution": execution, "code": code}))  # fmt: skip
        return self.report(execution)

    def report(self, execution: str) -> ExecutionReport:
        found: list[ExecutionReport] = self.bodies(ExecutionReport)
        return [one for one in found if one.execution == execution][-1]

    def showing(self) -> Job:
        return [order.job for order in self.jobs() if order.job.kind is JobKind.SHOW][-1]

    def shown(self, error: str = "") -> str:
        """The display has done as it was told; answers the digits that the merchant sees."""
        job = self.showing()
        self.tell(JobDone(job.execution, job.serial, error=error, detail=error))
        return job.lines[2].replace(" ", "")

    def begun(self) -> int:
        """How many parts of executions were ordered beyond showing digits."""
        return sum(order.job.kind is not JobKind.SHOW for order in self.jobs())

    def events(self) -> list[str]:
        return [event.code for event in self.bodies(SecurityEvent)]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def test_fix_waits_for_the_digits_that_the_terminal_shows_and_then_goes_on() -> None:
    shop = Shop()
    execution = shop.ask()
    assert shop.report(execution).state is ExecutionState.AWAITING_CONSENT
    assert shop.begun() == 0
    code = shop.shown()
    assert shop.report(execution).detail == f"the code is shown on {DEVICE}"
    shop.told(execution, code)
    assert shop.begun() == 1
    assert shop.report(execution).code == ""


def test_digits_leave_the_terminal_on_its_display_alone() -> None:
    shop = Shop()
    execution = shop.ask()
    code = shop.showing().lines[2]
    assert len(code.replace(" ", "")) == 6
    shop.shown()
    shop.told(execution, wrong(code.replace(" ", "")))
    kept = [text for kind in StreamKind for text in shop.store.records[kind].values()]
    kept += [*shop.store.rows.values(), *(value.encode() for value in shop.store.kept_facts.values())]
    kept += [repr(effect).encode() for effect in shop.effects]
    for digits in (code, code.replace(" ", "")):
        assert not any(digits.encode() in text for text in kept)


def test_wrong_digits_are_told_and_the_fifth_ends_it_and_locks_the_terminal() -> None:
    shop = Shop()
    execution = shop.ask()
    code = shop.shown()
    for tries in range(1, CONSENT_TRIES):
        report = shop.told(execution, wrong(code))
        assert (report.state, report.code) == (ExecutionState.AWAITING_CONSENT, "consent_wrong")
        assert f"{CONSENT_TRIES - tries} tries left" in report.detail
    assert "consent.wrong" in shop.events()
    report = shop.told(execution, wrong(code))
    assert (report.state, report.code) == (ExecutionState.REJECTED, "consent_refused")
    assert "consent.burnt" in shop.events()
    assert shop.told(execution, code).state is ExecutionState.REJECTED
    assert shop.begun() == 0
    assert shop.report(shop.ask()).code == Refusal.CONSENT_UNAVAILABLE
    # A restart opens nothing.
    again = Shop(shop.store)
    assert again.report(again.ask()).code == Refusal.CONSENT_UNAVAILABLE


def test_code_is_for_one_execution_and_for_one_device() -> None:
    shop = Shop()
    first = shop.ask()
    code = shop.shown()
    second = shop.ask(audience=OTHER)
    other_code = shop.shown()
    assert shop.told(second, code, OTHER).code == "consent_wrong"
    assert shop.told(first, code, OTHER).state is ExecutionState.AWAITING_CONSENT
    assert shop.told(first, other_code).code == "consent_wrong"
    assert shop.begun() == 0


def test_code_that_is_not_told_in_time_is_of_no_use_any_more() -> None:
    shop = Shop()
    execution = shop.ask()
    code = shop.shown()
    shop.pass_s(WAIT_S)
    report = shop.report(execution)
    assert (report.state, report.code) == (ExecutionState.EXPIRED, "consent_not_given")
    shop.told(execution, code)
    assert shop.begun() == 0


def test_restart_of_the_agent_ends_the_wait_for_the_code() -> None:
    shop = Shop()
    execution = shop.ask()
    code = shop.shown()
    again = Shop(shop.store)
    assert again.report(execution).code == "consent_not_given"
    again.told(execution, code)
    assert again.begun() == 0


def test_what_was_agreed_goes_on_after_a_restart() -> None:
    shop = Shop()
    before = shop.ask()
    shop.told(before, shop.shown())
    execution = shop.ask()
    shop.told(execution, shop.shown())
    again = Shop(shop.store)
    assert again.begun() == 1
    assert again.report(execution).state is ExecutionState.AWAITING_CONSENT
    assert msgspec.json.decode(shop.store.rows[execution])["state"] == "AWAITING_CONSENT"


def test_hardly_any_codes_are_made_whoever_asks() -> None:
    shop = Shop()
    for _ in range(CONSENT_CODES_PER_HOUR):
        assert shop.report(shop.ask()).state is ExecutionState.AWAITING_CONSENT
    refused = shop.report(shop.ask())
    assert (refused.state, refused.code) == (ExecutionState.REJECTED, Refusal.CONSENT_UNAVAILABLE)
    again = Shop(shop.store)
    assert again.report(again.ask()).code == Refusal.CONSENT_UNAVAILABLE
    assert again.report(again.ask(audience=OTHER)).state is ExecutionState.AWAITING_CONSENT


def test_printer_beside_it_takes_the_place_of_a_display_that_cannot() -> None:
    shop = Shop()
    execution = shop.ask()
    assert shop.showing().device == DEVICE
    shop.shown(error="not_printed")
    assert shop.showing().device == OTHER
    shop.told(execution, shop.shown())
    assert shop.begun() == 1


def test_display_that_hangs_is_given_up_for_the_next_one() -> None:
    shop = Shop()
    execution = shop.ask()
    shop.core.executions.on_started(shop.showing().execution, shop.showing().serial, shop.core._moment(shop.clock.now))
    shop.pass_s(41)
    assert shop.showing().device == OTHER
    shop.shown(error="not_printed")
    assert (shop.report(execution).state, shop.report(execution).code) == (
        ExecutionState.REJECTED,
        "consent_unavailable",
    )


def test_without_screen_or_paper_there_is_no_consent() -> None:
    shop = Shop(family="zvt")
    assert shop.report(shop.ask()).code == "consent_unavailable"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (lambda shop: shop.ask(nonce="0" * 32), Refusal.SESSION_NONCE),
        (lambda shop: shop.ask(requester=""), Refusal.REQUESTER),
        (lambda shop: shop.ask(danger_class=DangerClass.SOFTWARE), Refusal.UNKNOWN_ACTION),
        (lambda shop: shop.ask(consent=False), Refusal.AUTHORISATION_MISSING),
        (lambda shop: shop.ask(authorisation="{}", authorisation_sha256="0" * 64), Refusal.AUTHORISATION_SIGNATURES),
    ],
)
def test_asking_for_consent_needs_all_else_that_class_1_needs(
    changed: Callable[[Shop], str], expected: Refusal
) -> None:
    shop = Shop()
    assert shop.report(changed(shop)).code == expected


def test_policy_may_take_no_consent() -> None:
    shop = Shop(policy=msgspec.structs.replace(POLICY, merchant_consent=False))
    assert shop.report(shop.ask()).code == Refusal.CONSENT_UNAVAILABLE


@pytest.mark.parametrize("code", ["12345", "1234567", "abcdef", "", "１２３４５６"])
def test_what_is_no_code_uses_up_no_try(code: str) -> None:
    shop = Shop()
    execution = shop.ask()
    right = shop.shown()
    shop.told(execution, code)
    assert "consent.wrong" not in shop.events()
    shop.told(execution, right)
    assert shop.begun() == 1


def test_budget_survives_as_text_and_its_lock_ends() -> None:
    budget = Budget().with_code(1).with_code(2).locked(3)
    assert Budget.from_text(budget.to_text()) == budget
    assert Budget.from_text(None).refuses(0) is None
    assert budget.refuses(LOCKED_FOR_MS + 2) is not None
    assert budget.refuses(LOCKED_FOR_MS + 3) is None


def test_codes_are_six_digits_and_the_lines_name_what_would_be_done() -> None:
    assert code_of("0" * 32) == "000000"
    assert code_of("f" * 32) == f"{(2**128 - 1) % 1_000_000:06d}"
    assert any("Restart" in line for line in lines_for(Words("重启", "Restart"), "123456"))
    assert Consent("123456", [DeviceId(DEVICE)]).tried("123456") is Tried.RIGHT
    assert "123456" not in repr(Consent("123456", []))
