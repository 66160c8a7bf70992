"""Whether a command is obeyed. The broker and the web process are untrusted couriers; only signatures count.

Refusals, in the order in which they are looked for, each with its own code: larger than 64 KiB; not parseable or an
unknown field; command signature; audience; action not in the list; counter used; nonce not of this session; past its
time on the trusted clock; parameters; class switched off; emergency stop; authorisation. A command whose execution is
journalled is answered with what is stored, whatever its counter.

Invariants: nothing is accepted without a command key's signature over exactly these bytes; a counter is accepted once;
class 1 and above need the present session's nonce and people's authorisation for this device, action and parameters.
Journalling and running are left to `executions`.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from device_agent.actions import Definition
from device_agent.core.consent import FACT as CONSENT_FACT
from device_agent.core.consent import Budget, code_of
from device_agent.core.replay import ReplayWindow
from protocol import codec
from protocol.authorisations import Artifact, Authorisation, AuthorisationKind, Denied, judge, sha256_of
from protocol.commands import (
    CANCEL,
    COMMAND_TYPE,
    CONSENT,
    CONSENT_DIGITS,
    MAX_COMMAND_BYTES,
    Command,
    DangerClass,
    Refusal,
)
from protocol.errors import Malformed
from protocol.identifiers import ActionName, DeviceId, ExecutionId, KeyId
from protocol.parameters import Parameter, ParamType, ParamValue, Words, check_params
from protocol.signing import Envelope, Policy, public_keys, verify
from protocol.version import PROTOCOL_VERSION

# Facts that count the uses of an authorisation, by its id.
USES: Final = "used/"
_EXECUTION: Final = Parameter("execution", Words("执行编号", "execution"), ParamType.TEXT, pattern=r"[0-9a-f-]{36}")
_CODE: Final = Parameter("code", Words("验证码", "code"), ParamType.TEXT, pattern=f"[0-9]{{{CONSENT_DIGITS}}}")
# Orders about an execution that is here already: class 0, and of every device.
_ORDERS: Final = {CANCEL: [_EXECUTION], CONSENT: [_EXECUTION, _CODE]}


@dataclass(frozen=True, slots=True)
class Accepted:
    """``definition`` is None for `CANCEL` and `CONSENT`. ``params``: of class 2 also path, length and sha256 of the
    artifact that people signed for. ``facts``: what must be durable before anything is changed.
    ``code``: that the merchant must read out first.
    """

    command: Command
    definition: Definition | None
    params: Mapping[str, ParamValue]
    facts: Mapping[str, str]
    code: str | None = field(default=None, repr=False)
    is_broken_glass: bool = False


@dataclass(frozen=True, slots=True)
class AlreadyKnown:
    execution: ExecutionId


@dataclass(frozen=True, slots=True)
class Refused:
    """``execution`` and ``device`` are known when an authentic command named one of ours."""

    refusal: Refusal
    detail: str
    execution: ExecutionId | None = None
    device: DeviceId | None = None


Decision = Accepted | AlreadyKnown | Refused


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds at the moment of deciding. ``highest_class``: what the device's own configuration lets through."""

    tenant: str
    session_nonce: str
    trusted_ms: int
    devices: Mapping[DeviceId, Mapping[str, Definition]]
    journalled: Collection[str]
    is_stopped: bool = False
    highest_class: DangerClass = DangerClass.SOFTWARE


@dataclass(frozen=True, slots=True)
class _Allowance:
    """What lets a command of class 1 or 2 run, and what is to be kept of it."""

    facts: Mapping[str, str]
    code: str | None = field(default=None, repr=False)
    is_broken_glass: bool = False
    artifact: Artifact | None = None


class CommandGate:
    """``policy``: the one in force, set anew when another comes. ``held``: what lies here under the path of a target of
    the software repository; None when nothing does.
    """

    def __init__(
        self,
        policy: Policy,
        fact: Callable[[str], str | None],
        random_hex: Callable[[], str],
    ) -> None:
        self.policy = policy
        self._fact = fact
        self._random_hex = random_hex
        self.held: Callable[[Artifact], Artifact | None] = lambda _wanted: None
        self._budgets: dict[DeviceId, Budget] = {}
        self._windows: dict[str, ReplayWindow] = {}
        # With the moment after which it is over, as the store has them: only those that still hold are kept here.
        self._uses: dict[str, tuple[int, int]] = {}

    def decide(self, payload: bytes, standing: Standing) -> Decision:
        if len(payload) > MAX_COMMAND_BYTES:
            return Refused(Refusal.TOO_LARGE, f"command is {len(payload)} bytes, limit {MAX_COMMAND_BYTES}")
        envelope = codec.from_json(payload, Envelope)
        if isinstance(envelope, Malformed):
            return Refused(Refusal.NOT_DECODABLE, envelope.detail)
        command = self._command(envelope)
        if isinstance(command, Malformed):
            return Refused(Refusal.NOT_DECODABLE, command.detail)
        opened = verify(envelope, COMMAND_TYPE, public_keys(self.policy.command_keys))
        if isinstance(opened, Malformed):
            return Refused(Refusal.SIGNATURE, opened.detail)
        return self._authentic(command, min(opened.signers), standing)

    @staticmethod
    def outlived(uses: Mapping[str, str], trusted_ms: int) -> list[str]:
        """Names of the kept use counts whose authorisations are over: they would be refused by their time."""
        return [name for name, value in uses.items() if int(value.partition("@")[2] or 0) < trusted_ms]

    def _command(self, envelope: Envelope) -> Command | Malformed:
        """What the envelope says, not yet believed."""
        try:
            body = base64.b64decode(envelope.payload, validate=True)
        except ValueError:
            return Malformed("not_decodable", "payload is not base64")
        command = codec.from_json(body, Command)
        if isinstance(command, Command) and command.version != PROTOCOL_VERSION:
            return Malformed("version", f"expected version {PROTOCOL_VERSION}, came {command.version}")
        return command

    def _authentic(self, command: Command, signer: KeyId, standing: Standing) -> Decision:
        device = DeviceId(command.audience)
        execution = ExecutionId(command.execution)
        if device not in standing.devices or command.tenant != standing.tenant:
            return Refused(Refusal.AUDIENCE, f"{command.audience} of {command.tenant} is not served here")
        definition = standing.devices[device].get(command.action)
        declared = DangerClass.READS if definition is None else definition.declared.danger_class
        if (definition is None and command.action not in _ORDERS) or command.danger_class is not declared:
            words = f"{command.action} of class {int(command.danger_class)} is not an action of this device"
            return Refused(Refusal.UNKNOWN_ACTION, words, execution, device)
        if definition is not None and execution in standing.journalled:
            return AlreadyKnown(execution)
        counter = f"counter/{device}/{signer}"
        stale = self._stale(command, counter, declared, standing)
        if stale is not None:
            return Refused(*stale, execution, device)
        params = check_params(_declared_params(command, definition), command.params)
        if isinstance(params, list):
            return Refused(Refusal.PARAMETERS, "; ".join(map(str, params)), execution, device)
        allowed: _Allowance | tuple[Refusal, str] = _Allowance({})
        if declared > DangerClass.READS:
            allowed = _held_back(declared, standing) or self._allowance(command, device, standing)
        if isinstance(allowed, tuple):
            return Refused(*allowed, execution, device)
        # Only what is accepted uses its counter up: a refused command may be mended and sent again.
        self._windows[counter] = self._window(counter).with_used(command.counter)
        facts = {**allowed.facts, counter: self._windows[counter].to_text()}
        given = params if allowed.artifact is None else {**params, **msgspec.structs.asdict(allowed.artifact)}
        return Accepted(command, definition, given, facts, allowed.code, allowed.is_broken_glass)

    def burnt(self, device: DeviceId, trusted_ms: int) -> dict[str, str]:
        """A code was tried wrongly too often: what must be kept so that guessing cannot go on."""
        self._budgets[device] = self._budget(device).locked(trusted_ms)
        return {f"{CONSENT_FACT}{device}": self._budgets[device].to_text()}

    def _allowance(self, command: Command, device: DeviceId, standing: Standing) -> _Allowance | tuple[Refusal, str]:
        if command.authorisation is None and command.consent:
            return self._consented(command, device, standing)
        allowed = self._allowed(command, standing)
        if isinstance(allowed, tuple):
            return allowed
        is_broken_glass = allowed.kind is AuthorisationKind.BREAK_GLASS
        used = self._used(allowed, device, standing.trusted_ms)
        artifact = allowed.artifact if command.danger_class is DangerClass.SOFTWARE else None
        return _Allowance(used, is_broken_glass=is_broken_glass, artifact=artifact)

    def _consented(self, command: Command, device: DeviceId, standing: Standing) -> _Allowance | tuple[Refusal, str]:
        """What the merchant's code may stand for, if the terminal may ask for it now."""
        if command.danger_class > DangerClass.CHANGES:
            return Refusal.AUTHORISATION_MISSING, f"class {command.danger_class} takes more than the merchant's consent"
        if not command.requester:
            return Refusal.REQUESTER, "the command does not say who asks"
        if not self.policy.merchant_consent:
            return Refusal.CONSENT_UNAVAILABLE, "the policy takes no merchant's consent"
        why_not = self._budget(device).refuses(standing.trusted_ms)
        if why_not is not None:
            return Refusal.CONSENT_UNAVAILABLE, why_not
        self._budgets[device] = self._budget(device).with_code(standing.trusted_ms)
        facts = {f"{CONSENT_FACT}{device}": self._budgets[device].to_text()}
        return _Allowance(facts, code=code_of(self._random_hex()))

    def _budget(self, device: DeviceId) -> Budget:
        if device not in self._budgets:
            self._budgets[device] = Budget.from_text(self._fact(f"{CONSENT_FACT}{device}"))
        return self._budgets[device]

    def _stale(
        self, command: Command, counter: str, declared: DangerClass, standing: Standing
    ) -> tuple[Refusal, str] | None:
        window = self._window(counter)
        if window.was_used(command.counter):
            return Refusal.REPLAYED, f"counter {command.counter} was used, highest is {window.highest}"
        if declared > DangerClass.READS and (not standing.session_nonce or command.nonce != standing.session_nonce):
            return Refusal.SESSION_NONCE, "the nonce is not that of this session"
        if standing.trusted_ms > command.not_after_ms:
            late_s = (standing.trusted_ms - command.not_after_ms) // 1000
            return Refusal.TOO_LATE, f"its time was over {late_s} s ago"
        return None

    def _allowed(self, command: Command, standing: Standing) -> Authorisation | tuple[Refusal, str]:
        if command.authorisation is None:
            return Refusal.AUTHORISATION_MISSING, f"class {command.danger_class} needs people's authorisation"
        if sha256_of(command.authorisation) != command.authorisation_sha256:
            return Refusal.AUTHORISATION_SIGNATURES, "the command names another authorisation than it carries"
        judged = judge(command.authorisation, command, self.policy, standing.trusted_ms)
        if isinstance(judged, Denied):
            return judged.refusal, judged.detail
        allowed = judged.authorisation
        return self._used_up(allowed, DeviceId(command.audience)) or self._out_of_hand(allowed, command) or allowed

    def _used_up(self, allowed: Authorisation, device: DeviceId) -> tuple[Refusal, str] | None:
        if self._use_count(allowed.id, allowed.not_after_ms) >= allowed.max_count:
            return Refusal.AUTHORISATION_USED_UP, f"used {allowed.max_count} times on this link"
        if self._use_count(f"{allowed.id}/{device}", allowed.not_after_ms) >= allowed.max_per_device:
            return Refusal.AUTHORISATION_USED_UP, f"used {allowed.max_per_device} times on this device"
        return None

    def _out_of_hand(self, allowed: Authorisation, command: Command) -> tuple[Refusal, str] | None:
        """Class 2 runs only what lies here, whole, as the people who signed have named it."""
        wanted = allowed.artifact
        if command.danger_class is not DangerClass.SOFTWARE or wanted is None:
            return None
        held = self.held(wanted)
        if held is None:
            return Refusal.ARTIFACT, f"{wanted.path} of {wanted.length} bytes is not in hand"
        if held != wanted:
            expected, came = (f"{one.length} bytes with SHA-256 {one.sha256[:16]}..." for one in (wanted, held))
            return Refusal.ARTIFACT, f"{wanted.path}: expected {expected}, came {came}"
        return None

    def _use_count(self, name: str, until_ms: int) -> int:
        if name not in self._uses:
            count = int((self._fact(f"{USES}{name}") or "0").partition("@")[0])
            self._uses[name] = (count, until_ms)
        return self._uses[name][0]

    def _used(self, allowed: Authorisation, device: DeviceId, trusted_ms: int) -> dict[str, str]:
        """The counts, and the moment after which they may be forgotten with the authorisation itself."""
        counts = {
            name: self._use_count(name, allowed.not_after_ms) + 1 for name in (allowed.id, f"{allowed.id}/{device}")
        }
        # Whose clock goes back reads the count from the store again.
        self._uses = {name: (used, until) for name, (used, until) in self._uses.items() if until >= trusted_ms}
        self._uses.update({name: (count, allowed.not_after_ms) for name, count in counts.items()})
        return {f"{USES}{name}": f"{count}@{allowed.not_after_ms}" for name, count in counts.items()}

    def _window(self, name: str) -> ReplayWindow:
        if name not in self._windows:
            self._windows[name] = ReplayWindow.from_text(self._fact(name))
        return self._windows[name]


def _declared_params(command: Command, definition: Definition | None) -> list[Parameter]:
    return _ORDERS[ActionName(command.action)] if definition is None else definition.declared.params


def _held_back(declared: DangerClass, standing: Standing) -> tuple[Refusal, str] | None:
    """What no signature of a person helps against."""
    if declared > standing.highest_class:
        return Refusal.SWITCHED_OFF, f"this device takes commands up to class {int(standing.highest_class)}"
    if standing.is_stopped:
        return Refusal.STOPPED, "an emergency stop is in force; it must be lifted first"
    return None
