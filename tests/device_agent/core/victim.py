"""An agent whose people were careful, and its history, for an attacker who owns broker, server and database."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from device_agent.core.command_gate import Decision
from device_agent.core.effects import Arrived, JobDone, JobKind, LinkDown, LinkUp, RunJob
from device_agent.core.trust import Held, Trust, follow
from protocol import codec
from protocol.authorisations import Artifact, Authorisation, AuthorisationKind, Grant, sha256_of
from protocol.commands import (
    AUTHORISATION_TYPE,
    CANCEL,
    COMMAND_TYPE,
    CONSENT,
    Command,
    DangerClass,
)
from protocol.policy import Root
from protocol.session import Hello, Welcome
from protocol.signing import POLICY_TYPE, WELCOME_TYPE, Approver, Policy, SigningKey, sign
from protocol.topics import Down, Up
from tests.device_agent.core.invented import DEVICE, PASS
from tests.device_agent.core.rig import FLOW, MemoryStore
from tests.device_agent.core.test_agent import Rig
from tests.device_agent.core.test_command_gate import COMMAND_KEY
from tests.device_agent.core.test_command_gate import OTHER_KEY as SERVER_KEY

ROOT, ANN, BEN, EVE, OLD_COMMAND, MINE = (SigningKey.from_seed(bytes([n]) * 32) for n in range(21, 27))
HOUR_MS: Final = 3_600_000
# What the live permit says: these fixes, on this device, so often.
PERMITTED: Final = ("test.mend", "test.no_soak")
PER_DEVICE: Final = 2
ARTIFACT: Final = Artifact("apps/pay.pkg", 1000, "ab" * 32)


def policy(version: int, *approvers: Approver, command_key: SigningKey = COMMAND_KEY) -> bytes:
    document = Policy(version, version, [command_key.public_hex], [SERVER_KEY.public_hex], list(approvers))
    return codec.to_json(sign(POLICY_TYPE, codec.to_json(document), [ROOT]))


ANN_AND_BEN: Final = (Approver("ann", ANN.public_hex), Approver("ben", BEN.public_hex))
# In the first the attacker's approver was still one of them, and in the second the online key that was lost since.
OLD_POLICIES: Final = (
    policy(1, *ANN_AND_BEN, Approver("eve", EVE.public_hex)),
    policy(2, *ANN_AND_BEN, command_key=OLD_COMMAND),
)


@dataclass(slots=True)
class Victim:
    """An agent with a history: checks, an approved fix, a session that was lost and another one."""

    rig: Rig = field(init=False)
    sent: list[bytes] = field(default_factory=list)
    approval: Authorisation = field(init=False)
    approval_text: str = ""
    old_nonce: str = ""
    counter: int = 0
    decisions: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rig = self._started(None)
        self.rig.established()
        for _ in range(30):
            self.honest(self.command("test.look"))
        order = self.command("test.mend", execution=str(uuid.UUID(int=7)))
        self.approval = self.authorisation(kind=AuthorisationKind.APPROVAL, execution=order.execution)
        self.approval_text = authorised_by(self.approval, ANN)
        self.honest(carrying(order, self.approval_text))
        self.old_nonce = order.nonce or ""
        self.rig.tell(LinkDown("lost"))
        self.rig.pass_s(600)
        self.rig.tell(LinkUp())
        self.rig.down(Down.WELCOME, WELCOME_TYPE, Welcome(self.nonce, False, self.rig.ack(), FLOW, [1]))

    def _started(self, store: MemoryStore | None) -> Rig:
        root = Root.of_enrolment(ROOT.public_hex)
        held = follow([policy(3, *ANN_AND_BEN).decode()], root)
        assert isinstance(held, Held)
        rig = Rig(store, Trust(root, held, "default"), family="escpos")
        decide = rig.core.gate.decide

        def noted(*args: Any) -> Decision:
            self.decisions.append(decide(*args))
            return self.decisions[-1]

        rig.core.gate.decide = noted  # type: ignore[method-assign,assignment]  # every decision is looked at
        return rig

    def start_again(self) -> None:
        """The agent, from what is durable; its session is a new one."""
        seconds = self.rig.clock.seconds
        self.rig = self._started(self.rig.store)
        self.rig.pass_s(seconds - self.rig.clock.seconds)
        self.rig.established()

    def show_code(self) -> None:
        job = [order.job for order in self.rig.jobs() if order.job.kind is JobKind.SHOW][-1]
        self.rig.tell(JobDone(job.execution, job.serial))

    @property
    def nonce(self) -> str:
        nonce: str = self.rig.published(Up.HELLO, Hello)[-1].nonce
        return nonce

    @property
    def now_ms(self) -> int:
        return self.rig.core.clock.now_ms(self.rig.clock.now)

    def command(self, action: str, **changed: Any) -> Command:
        """As the server makes it when all is well."""
        self.counter += 1
        reads = action in {"test.look", CANCEL, CONSENT}
        return msgspec.structs.replace(
            Command(
                version=1,
                audience=DEVICE,
                tenant="default",
                execution=str(uuid.uuid4()),
                action=action,
                danger_class=DangerClass.READS if reads else DangerClass.CHANGES,
                params={},
                issued_at_ms=self.now_ms,
                not_after_ms=self.now_ms + HOUR_MS,
                counter=self.counter,
                nonce=None if reads else self.nonce,
                requester="" if reads else "sue",
            ),
            **changed,
        )

    def authorisation(self, **changed: Any) -> Authorisation:
        """A shift permit as the people of the policy would sign it; ``changed`` makes an approval of it."""
        permit = Authorisation(
            id=str(uuid.uuid4()),
            tenant="default",
            kind=AuthorisationKind.SHIFT_PERMIT,
            requester="lead",
            grants=[Grant(action) for action in PERMITTED],
            danger_class=DangerClass.CHANGES,
            not_before_ms=self.now_ms - HOUR_MS,
            not_after_ms=self.now_ms + HOUR_MS,
            max_count=5,
            max_per_device=PER_DEVICE,
            targets=[DEVICE],
        )
        if changed.get("kind") is AuthorisationKind.APPROVAL:
            once = {"requester": "sue", "grants": [Grant("test.mend", {})], "max_count": 1, "max_per_device": 1}
            permit = msgspec.structs.replace(permit, **once)
        return msgspec.structs.replace(permit, **changed)

    def honest(self, command: Command) -> None:
        self.sent.append(signed(command))
        self.send(self.sent[-1])

    def send(self, payload: bytes, kind: Down = Down.COMMAND) -> None:
        before = len(self.rig.effects)
        self.rig.tell(Arrived(kind, payload, None))
        for effect in self.rig.effects[before:]:
            # Checks are answered at once, so that none is refused because others run.
            if isinstance(effect, RunJob) and effect.job.kind is JobKind.CHECK:
                self.rig.tell(JobDone(effect.job.execution, effect.job.serial, findings=PASS))

    def begun(self) -> set[str]:
        """Executions of which the agent has ordered anything beyond a check and a display."""
        wanted = {JobKind.CONDITIONS, JobKind.STEP, JobKind.PROBE}
        return {order.job.execution for order in self.rig.jobs() if order.job.kind in wanted}


def signed(command: Command, *keys: SigningKey) -> bytes:
    return codec.to_json(sign(COMMAND_TYPE, codec.to_json(command), keys or [COMMAND_KEY]))


def authorised_by(document: Authorisation, *keys: SigningKey) -> str:
    return codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), keys)).decode()


def carrying(command: Command, text: str, **changed: Any) -> Command:
    return msgspec.structs.replace(command, authorisation=text, authorisation_sha256=sha256_of(text), **changed)
