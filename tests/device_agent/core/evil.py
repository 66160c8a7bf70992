"""What an attacker tries who owns broker, server, database and online keys.

In hand: both online keys, an online key and an approver's key that were taken out of the policy since, all commands and
authorisations that were ever sent, the nonce of the present session, and a live shift permit. Not in hand: the keys of
the root and of the present approvers. Each method of `Attacks` is one kind of attack and answers one message; what it
is refused for is written down by the test.
"""

from __future__ import annotations

import base64
import random
import uuid
from typing import Any

import msgspec

from protocol import codec, merkle
from protocol.authorisations import Artifact, AuthorisationKind, Grant
from protocol.commands import (
    AUTHORISATION_TYPE,
    COMMAND_TYPE,
    CONSENT,
    MAX_COMMAND_BYTES,
    Command,
    DangerClass,
    TargetProof,
)
from protocol.signing import POLICY_TYPE, Approver, Envelope, Policy, Signature, sign
from protocol.stops import STOP_TYPE, StopOrder
from tests.device_agent.core.invented import DEVICE, OTHER
from tests.device_agent.core.test_command_gate import COMMAND_KEY
from tests.device_agent.core.test_command_gate import OTHER_KEY as SERVER_KEY
from tests.device_agent.core.victim import (
    ANN,
    ANN_AND_BEN,
    ARTIFACT,
    BEN,
    EVE,
    HOUR_MS,
    MINE,
    OLD_COMMAND,
    OLD_POLICIES,
    PERMITTED,
    Victim,
    authorised_by,
    carrying,
    policy,
    signed,
)


class Attacks:
    """``permit`` is live and real. Random choices come from ``dice`` alone."""

    def __init__(self, victim: Victim, dice: random.Random) -> None:
        self.victim = victim
        self.dice = dice
        self.permit = victim.authorisation()
        self.permit_text = authorised_by(self.permit, ANN)
        self.expired = authorised_by(
            victim.authorisation(not_before_ms=victim.now_ms - 3 * HOUR_MS, not_after_ms=victim.now_ms - HOUR_MS), ANN
        )
        later_ms = victim.now_ms + 24 * HOUR_MS
        self.later = authorised_by(victim.authorisation(not_before_ms=later_ms, not_after_ms=later_ms + HOUR_MS), ANN)
        group = [f"dev-{number:05}".encode() for number in range(64)]
        self.group_path = [one.hex() for one in merkle.path(group, 5)]
        named: dict[str, Any] = {"targets": [], "target_root": merkle.root(group).hex(), "target_count": len(group)}
        self.group = authorised_by(victim.authorisation(**named), ANN)
        self.software = victim.authorisation(
            kind=AuthorisationKind.APPROVAL,
            grants=[Grant("test.install", {})],
            danger_class=DangerClass.SOFTWARE,
            artifact=ARTIFACT,
            execution=str(uuid.UUID(int=9)),
        )
        self.software_text = authorised_by(self.software, ANN, BEN)

    def change(self, **changed: Any) -> Command:
        """A fix of the live permit, which would run if it came as it should."""
        return carrying(self.victim.command(self.dice.choice(PERMITTED)), self.permit_text, **changed)

    # What the broker alone can do.

    def forged(self) -> bytes:
        order = self.dice.choice([self.change(), self.victim.command("test.look")])
        return signed(order, self.dice.choice([MINE, EVE, OLD_COMMAND, SERVER_KEY]))

    def key_named_falsely(self) -> bytes:
        envelope = sign(COMMAND_TYPE, codec.to_json(self.change()), [MINE])
        spoofed = [Signature(COMMAND_KEY.id, envelope.signatures[0].sig)]
        return codec.to_json(msgspec.structs.replace(envelope, signatures=spoofed))

    def other_payload_type(self) -> bytes:
        envelope = sign(AUTHORISATION_TYPE, codec.to_json(self.change()), [COMMAND_KEY])
        return codec.to_json(msgspec.structs.replace(envelope, payload_type=COMMAND_TYPE))

    def algorithm_downgraded(self) -> bytes:
        plain = msgspec.json.decode(signed(self.change(), MINE))
        signature = plain["signatures"][0]
        how = self.dice.choice(["none", "HS256", "empty", "no signature", "unnamed key"])
        if how == "empty":
            plain["signatures"] = []
        elif how == "no signature":
            signature.update(keyid=COMMAND_KEY.id, sig="")
        elif how == "unnamed key":
            signature["keyid"] = ""
        else:
            # The public key as the secret of a MAC: what a verifier falls for that lets the message name its algorithm.
            signature.update(alg=how, keyid=COMMAND_KEY.id)
        return msgspec.json.encode(plain)

    def truncated(self) -> bytes:
        payload = signed(self.change())
        return payload[: self.dice.randrange(len(payload))]

    def damaged(self) -> bytes:
        # For the other device, which no permit names: whatever is damaged, it must not run there.
        payload = bytearray(signed(self.change(audience=OTHER)))
        payload[self.dice.randrange(len(payload))] ^= 1 << self.dice.randrange(8)
        return bytes(payload)

    def oversized(self) -> bytes:
        return signed(self.change()) + b" " * MAX_COMMAND_BYTES

    def replayed(self) -> bytes:
        return self.dice.choice(self.victim.sent)

    # What the server can do besides, with the online key.

    def counter_again(self) -> bytes:
        return signed(self.change(counter=self.dice.randint(1, 30)))

    def counter_fallen_out(self) -> bytes:
        self.victim.counter += 1
        self.victim.send(signed(self.victim.command("test.look", counter=self.victim.counter + 2000)))
        low = self.victim.counter
        self.victim.counter += 2001
        return signed(self.change(counter=low))

    def cross_device(self) -> bytes:
        return signed(self.change(audience=self.dice.choice([OTHER, "gw-00000001", "zvt-99999999"])))

    def cross_tenant(self) -> bytes:
        return signed(self.change(tenant=self.dice.choice(["another", "", "DEFAULT"])))

    def too_late(self) -> bytes:
        return signed(self.change(not_after_ms=self.victim.now_ms - self.dice.randint(1, 10**9)))

    def class_downgraded(self) -> bytes:
        action, lower = self.dice.choice(
            [
                ("test.mend", DangerClass.READS),
                ("test.install", DangerClass.CHANGES),
                ("test.install", DangerClass.READS),
            ]
        )
        return signed(self.change(action=action, danger_class=lower))

    def other_session(self) -> bytes:
        return signed(self.change(nonce=self.dice.choice([self.victim.old_nonce, None, "0" * 32])))

    def version_downgraded(self) -> bytes:
        plain = msgspec.json.decode(codec.to_json(self.change()))
        plain["version"] = self.dice.choice([0, 2, 1000, -1, "1"])
        return codec.to_json(sign(COMMAND_TYPE, msgspec.json.encode(plain), [COMMAND_KEY]))

    def unknown_field(self) -> bytes:
        plain = msgspec.json.decode(codec.to_json(self.change()))
        plain[self.dice.choice(["force", "shell", "approved", "Action"])] = True
        return codec.to_json(sign(COMMAND_TYPE, msgspec.json.encode(plain), [COMMAND_KEY]))

    def unknown_action(self) -> bytes:
        return signed(self.change(action=self.dice.choice(["shell.run", "agent.update", "test.look_again"])))

    def parameters(self) -> bytes:
        return signed(self.change(params=self.dice.choice([{"level": 6}, {"level": True}, {"run": "sh"}])))

    def bare(self) -> bytes:
        return signed(self.victim.command(self.dice.choice(PERMITTED)))

    def authorised_by_itself(self) -> bytes:
        keys = [self.dice.choice([COMMAND_KEY, SERVER_KEY, EVE, MINE, OLD_COMMAND])]
        kind = self.dice.choice(list(AuthorisationKind))
        order = self.victim.command("test.mend")
        document = self.victim.authorisation(kind=kind, execution=order.execution)
        return signed(carrying(order, authorised_by(document, *keys)))

    def authorisation_altered(self) -> bytes:
        wanted: dict[str, Any] = self.dice.choice(
            [
                {"targets": [DEVICE, OTHER]},
                {"max_count": 10_000, "max_per_device": 1000},
                {"not_after_ms": self.victim.now_ms + 9 * HOUR_MS},
                {"grants": [Grant("test.wipe")]},
                {"danger_class": DangerClass.SOFTWARE},
                {"requester": "sue"},
            ]
        )
        envelope = msgspec.json.decode(self.permit_text.encode(), type=Envelope)
        payload = codec.to_json(msgspec.structs.replace(self.permit, **wanted))
        altered = msgspec.structs.replace(envelope, payload=base64.b64encode(payload).decode())
        action = "test.wipe" if "grants" in wanted else "test.mend"
        return signed(carrying(self.victim.command(action), codec.to_json(altered).decode()))

    def signature_borrowed(self) -> bytes:
        """Ann's signature over her approval, under another document."""
        theirs = msgspec.json.decode(self.victim.approval_text.encode(), type=Envelope)
        mine = sign(AUTHORISATION_TYPE, codec.to_json(self.victim.authorisation()), [MINE])
        text = codec.to_json(msgspec.structs.replace(mine, signatures=theirs.signatures)).decode()
        return signed(carrying(self.victim.command("test.mend"), text))

    def hash_of_another(self) -> bytes:
        return signed(msgspec.structs.replace(self.change(), authorisation_sha256="0" * 64))

    def approval_used_again(self) -> bytes:
        """The people's approval of before, for what they never approved."""
        others: list[dict[str, Any]] = [{}, {"params": {"level": 2}}, {"audience": OTHER}, {"action": "test.once"}]
        order = msgspec.structs.replace(self.victim.command("test.mend"), **self.dice.choice(others))
        return signed(carrying(order, self.victim.approval_text))

    def outside_the_permit(self) -> bytes:
        action = self.dice.choice(["test.once", "test.reboot", "test.wipe", "test.probe", "test.print"])
        return signed(self.change(action=action))

    def permit_out_of_time(self) -> bytes:
        text = self.dice.choice([self.expired, self.later])
        return signed(carrying(self.victim.command("test.mend"), text))

    def outside_the_group(self) -> bytes:
        index = self.dice.randrange(64)
        path = list(self.group_path)
        self.dice.shuffle(path)
        proof = self.dice.choice(
            [None, TargetProof(5, self.group_path), TargetProof(index, path), TargetProof(index, [])]
        )
        return signed(carrying(self.victim.command("test.mend"), self.group, target_proof=proof))

    def approver_asks(self) -> bytes:
        return signed(self.change(requester=self.dice.choice(["ann", "ANN", "Ann ", ""])))

    def class_2_with_too_few(self) -> bytes:
        document, order = self.software, self.victim.command("test.install", danger_class=DangerClass.SOFTWARE)
        text = self.dice.choice(
            [
                authorised_by(document, ANN),
                authorised_by(document, ANN, ANN),
                authorised_by(document, ANN, EVE),
                authorised_by(document, ANN, COMMAND_KEY),
            ]
        )
        return signed(carrying(order, text, execution=document.execution))

    def class_2_with_a_permit(self) -> bytes:
        permit = self.victim.authorisation(
            grants=[Grant("test.install")], danger_class=DangerClass.SOFTWARE, artifact=ARTIFACT
        )
        order = self.victim.command("test.install", danger_class=DangerClass.SOFTWARE)
        return signed(carrying(order, authorised_by(permit, ANN, BEN)))

    def class_2_without_its_target(self) -> bytes:
        """Two people signed it; what they signed does not lie on the terminal, or something else does."""
        order = self.victim.command("test.install", danger_class=DangerClass.SOFTWARE)
        found = self.dice.choice(
            [None, msgspec.structs.replace(ARTIFACT, sha256="cd" * 32), Artifact(ARTIFACT.path, 1, "0" * 64)]
        )
        self.victim.rig.core.gate.held = lambda _wanted: found
        return signed(carrying(order, self.software_text, execution=self.software.execution))

    def class_2_by_consent(self) -> bytes:
        return signed(self.victim.command("test.install", danger_class=DangerClass.SOFTWARE, consent=True))

    def consent_beyond_the_hour(self) -> bytes:
        return signed(self.victim.command("test.mend", consent=True))

    # On the topic by which policies and stops come.

    def policy_of_before(self) -> bytes:
        return self.dice.choice(OLD_POLICIES)

    def policy_of_its_own(self) -> bytes:
        document = Policy(9, 9, [MINE.public_hex], [SERVER_KEY.public_hex], [Approver("me", EVE.public_hex)])
        keys = self.dice.choice([[COMMAND_KEY], [SERVER_KEY], [MINE], [EVE, COMMAND_KEY]])
        return codec.to_json(sign(POLICY_TYPE, codec.to_json(document), keys))

    def policy_resigned(self) -> bytes:
        envelope = msgspec.json.decode(policy(4, *ANN_AND_BEN), type=Envelope)
        document = Policy(4, 4, [MINE.public_hex], [SERVER_KEY.public_hex], [Approver("me", EVE.public_hex)])
        payload = base64.b64encode(codec.to_json(document)).decode()
        return codec.to_json(msgspec.structs.replace(envelope, payload=payload))

    def lift_of_its_own(self) -> bytes:
        order = StopOrder("default", self.dice.randint(1, 100), self.victim.now_ms, lifts=True)
        return codec.to_json(sign(STOP_TYPE, codec.to_json(order), [self.dice.choice([COMMAND_KEY, EVE, MINE])]))


def guesses(victim: Victim, dice: random.Random, executions: list[str]) -> list[bytes]:
    """Codes told without having been read out: as many as may be tried."""
    orders = [
        victim.command(CONSENT, params={"execution": execution, "code": f"{dice.randrange(10**6):06d}"})
        for execution in executions
        for _ in range(8)
    ]
    return [signed(order) for order in orders]
