"""The online command key: an order becomes a signed command, or a refusal.

Rules: class 1 and 2 only with an authorisation that this signer has judged itself, by the rule of the terminals
(`protocol.authorisations`) and against the policy that the offline root signed; class 1 also when the terminal is to
ask the merchant, if the policy lets merchants consent; no more commands and devices in an hour than its own settings
allow, for one tenant and for all together; nothing at all for a tenant while an emergency stop holds. Whoever may speak
to it may stop it; a stop is lifted by as many approvers as the policy says.

Invariants: the signed bytes are exactly the payload that is sent; whatever was signed stands in the journal before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Protocol

from msgspec.structs import replace

from fleet_server.kit.times import to_ms
from fleet_server.signer.demo import DemoApprover
from fleet_server.signer.errors import (
    AuthorisationRefused,
    ClassNotSigned,
    ClockWentBack,
    KeyNotReady,
    PolicyRefused,
    ResumeRefused,
    SigningRefused,
    SigningStopped,
)
from fleet_server.signer.keys import KeyFiles, load_key
from fleet_server.signer.messages import (
    MAX_JOURNAL_PAGE,
    JournalPage,
    NewPolicy,
    Order,
    ReleaseKeys,
    Resume,
    SignedRelease,
    SignRelease,
    Standing,
    Stop,
    StopNote,
)
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import Cap, SignerState, Spent, Use
from protocol import codec
from protocol.authorisations import APPROVERS_NEEDED, Allowed, Denied, judge, sha256_of
from protocol.commands import COMMAND_TYPE, Command, DangerClass
from protocol.errors import Malformed
from protocol.policy import Root, next_root, open_policy
from protocol.signing import Policy, SigningKey, sign
from protocol.stops import MAX_EPOCHS_AHEAD, STOP_TYPE, StopOrder, StopState, open_stop
from protocol.version import PROTOCOL_VERSION

# The envelope that was taken last.
POLICY_FACT = "policy"
ROOT_FACT = "policy_root"
_CLOCK_TOLERANCE = timedelta(hours=1)
# The longest that any order may wait in a queue; what is signed for longer would outlive who signed it.
_LONGEST_MS = 31 * 24 * 3600 * 1000


class Signs(Protocol):
    """The signer as those who send commands need it; raises ``SigningRefused``."""

    @property
    def demo_approver(self) -> DemoApprover | None: ...

    def sign(self, order: Order, now: datetime) -> bytes: ...

    def standing(self, now: datetime) -> Standing: ...

    def policy(self, now: datetime) -> Policy: ...

    def stop(self, asked: Stop, now: datetime) -> None: ...

    def resume(self, asked: Resume, now: datetime) -> None: ...

    def take_policy(self, asked: NewPolicy, now: datetime) -> None: ...

    def release_keys(self, *, following: bool = ...) -> ReleaseKeys: ...

    def sign_release(self, asked: SignRelease, now: datetime) -> SignedRelease: ...

    def journal(self, after: int, limit: int = ...) -> JournalPage: ...

    def close(self) -> None: ...


class ChangesKey(Signs, Protocol):
    """As whoever replaces its key needs it."""

    def prepare_key(self) -> str: ...

    def take_key(self, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Caps:
    """By class: of all tenants together, and of each."""

    of_all: dict[DangerClass, Cap]
    of_tenant: dict[DangerClass, Cap]

    @classmethod
    def of(cls, settings: SignerSettings) -> Caps:
        kinds = {DangerClass.READS: "reads", DangerClass.CHANGES: "changes", DangerClass.SOFTWARE: "software"}
        of_all, of_tenant = (
            {
                danger_class: Cap(
                    getattr(settings, f"{whose}{kind}_per_hour"), getattr(settings, f"{whose}{kind}_devices_per_hour")
                )
                for danger_class, kind in kinds.items()
            }
            for whose in ("", "tenant_")
        )
        return cls(of_all, of_tenant)


@dataclass(frozen=True, slots=True)
class Trust:
    """``root`` signs the policy after ``policy``."""

    root: Root
    policy: Policy


def check_clock(now: datetime, newest_received_at: datetime | None) -> None:
    """Raises ``ClockWentBack`` when ``now`` is too far behind the newest moment in the database."""
    if newest_received_at is not None and now < newest_received_at - _CLOCK_TOLERANCE:
        behind_s = (newest_received_at - now).total_seconds()
        raise ClockWentBack(f"the server's clock is {behind_s:.0f} s behind its own records, limit 3600 s")


class Signer:
    """Its methods may be called by several threads. ``files``: where its key lies, to be replaced by the next."""

    def __init__(
        self,
        key: SigningKey,
        trust: Trust,
        state: SignerState,
        caps: Caps,
        demo_approver: DemoApprover | None = None,
        files: KeyFiles | None = None,
    ) -> None:
        self.demo_approver = demo_approver
        self._files = files
        self._key = key
        self._trust = trust
        self._state = state
        self._caps = caps
        self._lock = Lock()

    def sign(self, order: Order, now: datetime) -> bytes:
        """The DSSE envelope of the command as JSON."""
        with self._lock:
            return self._sign(order, now)

    def _sign(self, order: Order, now: datetime) -> bytes:
        stop = self._state.stop(order.tenant_id)
        if stop is not None and stop.holds:
            raise SigningStopped(f"signing was stopped by {stop.by}: nothing is sent to terminals until it is lifted")
        now_ms = to_ms(now)
        if order.not_after_ms > now_ms + _LONGEST_MS:
            raise SigningRefused("expected an order for at most 31 days, came one for longer")
        command = _command(order, now_ms)
        data: dict[str, Any] = {"execution": order.execution_id, "action": order.action, "tenant": order.tenant_id}
        data |= {"class": int(order.danger_class), "counter": order.counter}
        use = None
        if order.danger_class is not DangerClass.READS:
            data["requester"] = order.requester
            allowed = self._allowed(command, now_ms)
            if allowed is None:
                data["consent"] = "asked"
            else:
                use = _use(allowed, command)
                data |= {"authorisation": use.authorisation, "approvers": list(allowed.people)}
                data["kind"] = allowed.authorisation.kind.value
        caps = self._caps.of_all[order.danger_class], self._caps.of_tenant[order.danger_class]
        self._state.admit(Spent(order.danger_class, order.tenant_id, order.device_id), caps, now_ms, data, use)
        return codec.to_json(sign(COMMAND_TYPE, codec.to_json(command), [self._key]))

    def _allowed(self, command: Command, now_ms: int) -> Allowed | None:
        """None: the terminal is to ask the merchant. Raises ``ClassNotSigned`` or ``AuthorisationRefused``."""
        if command.authorisation is not None:
            judged = judge(command.authorisation, command, self._trust.policy, now_ms)
            if isinstance(judged, Denied):
                raise AuthorisationRefused(judged.detail)
            return judged
        may_ask = command.danger_class is DangerClass.CHANGES and self._trust.policy.merchant_consent
        if command.consent and may_ask and command.requester:
            return None
        needed = APPROVERS_NEEDED[command.danger_class]
        raise ClassNotSigned(f"class {int(command.danger_class)} needs the authorisation of {needed}, none came")

    def standing(self, now: datetime) -> Standing:
        with self._lock:
            policy = self._trust.policy
            names = [one.name for one in policy.approvers]
            used = self._state.used(to_ms(now))
            return Standing(self._key.public_hex, policy.version, names, used, self._state.stops())

    def policy(self, now: datetime) -> Policy:  # noqa: ARG002 - as the others are asked
        with self._lock:
            return self._trust.policy

    def stop(self, asked: Stop, now: datetime) -> None:
        """A second stop changes nothing: what lifts the first lifts it."""
        with self._lock:
            last = self._state.stop(asked.tenant)
            if last is not None and last.holds:
                return
            lifted = 0 if last is None else last.lifted
            own = max(lifted, 0 if last is None else last.stopped)
            # Believed of the caller only as far as it cannot use up the numbers there are.
            epoch = max(own, min(asked.above, own + MAX_EPOCHS_AHEAD // 2)) + 1
            note = StopNote(asked.tenant, epoch, lifted, to_ms(now), asked.by, asked.reason, "")
            note = replace(note, document=_signed_stop(note, self._key))
            self._state.set_stops([note], "stopped", _stop_data(note), to_ms(now))

    def resume(self, asked: Resume, now: datetime) -> None:
        """Raises ``ResumeRefused``."""
        with self._lock:
            last = self._state.stop(asked.tenant)
            if last is None:
                raise ResumeRefused("no stop holds")
            order = open_stop(asked.lifting.encode(), self._trust.policy, asked.tenant)
            if isinstance(order, Malformed):
                raise ResumeRefused(order.detail)
            after = StopState(last.stopped, last.lifted).after(order)
            if not last.holds:
                if not order.lifts or order.epoch != last.lifted:
                    raise ResumeRefused("no stop holds")
                # Signed anew by who approves today: links that slept would not believe those who have left.
                after = StopState(last.stopped, last.lifted)
            if isinstance(after, Malformed) or after.is_stopped:
                raise ResumeRefused(f"expected what lifts stop {last.stopped}, came one of epoch {order.epoch}")
            note = StopNote(
                asked.tenant, after.stopped, after.lifted, to_ms(now), "approvers", order.reason, asked.lifting
            )
            self._state.set_stops([note], "resumed", _stop_data(note), to_ms(now))

    def take_policy(self, asked: NewPolicy, now: datetime) -> None:
        """Raises ``PolicyRefused``."""
        with self._lock:
            present = self._trust.policy
            trust = follow(self._trust, asked.envelope.encode())
            if trust.policy == present:
                return
            if trust.policy.version <= present.version:
                raise PolicyRefused(f"expected a version after {present.version}, came {trust.policy.version}")
            facts = policy_facts(asked.envelope, self._trust.root)
            self._state.note("policy", {"version": trust.policy.version}, to_ms(now), facts)
            self._trust = trust

    @property
    def key_public(self) -> str:
        with self._lock:
            return self._key.public_hex

    def prepare_key(self) -> str:
        """Of the key that comes after the present one."""
        with self._lock:
            return self._next().prepared().public_hex

    def take_key(self, now: datetime) -> None:
        """Raises ``KeyNotReady`` unless the policy names the prepared key: terminals would obey no other."""
        with self._lock:
            files = self._next()
            if not files.next.exists():
                raise KeyNotReady("no next key was prepared")
            fresh = load_key(files.next)
            if fresh.public_hex not in self._trust.policy.command_keys:
                raise KeyNotReady(f"policy {self._trust.policy.version} does not name the next key yet")
            # A stop must be believed by links that sleep until the former key is gone from the policy.
            stops = [replace(one, document=_signed_stop(one, fresh)) for one in self._state.stops() if one.holds]
            self._state.set_stops(stops, "key", {"key": fresh.id, "before": self._key.id}, to_ms(now))
            files.take()
            self._key = fresh

    def _next(self) -> KeyFiles:
        if self._files is None:
            raise KeyNotReady("this signer has no folder for another key")
        return self._files

    def release_keys(self, *, following: bool = False) -> ReleaseKeys:
        """Public halves for the next root of a repository of software. ``following``: of the keys after these."""
        from fleet_server.signer.releases import offered

        with self._lock:
            return offered(self._next().present.parent, following=following)

    def sign_release(self, asked: SignRelease, now: datetime) -> SignedRelease:
        """Raises ``ReleaseRefused``. Tenants differ in nothing but what the policy names for them."""
        from fleet_server.signer.releases import sign_release

        with self._lock:
            return sign_release(self._next().present.parent, self._trust.policy, self._state, asked, to_ms(now))

    def journal(self, after: int, limit: int = MAX_JOURNAL_PAGE) -> JournalPage:
        with self._lock:
            return self._state.journal(after, limit)

    def close(self) -> None:
        """Whoever opened the state closes it."""

    @property
    def state(self) -> SignerState:
        return self._state


def _signed_stop(note: StopNote, key: SigningKey) -> str:
    order = StopOrder(note.tenant, note.stopped, note.at_ms, reason=note.reason)
    return codec.to_json(sign(STOP_TYPE, codec.to_json(order), [key])).decode()


def _stop_data(note: StopNote) -> dict[str, Any]:
    return {"tenant": note.tenant, "epoch": note.stopped, "by": note.by, "reason": note.reason}


def policy_facts(envelope: str, root: Root) -> dict[str, str | None]:
    """To be kept: with the root that it was verified by, for after a change of roots the first one would not do."""
    return {POLICY_FACT: envelope, ROOT_FACT: codec.to_json(asdict(root)).decode()}


def follow(trust: Trust, envelope: bytes) -> Trust:
    """Raises ``PolicyRefused`` unless the root of ``trust`` signed it."""
    policy = open_policy(envelope, trust.root)
    if isinstance(policy, Malformed):
        raise PolicyRefused(f"expected a policy signed by this installation's root: {policy.detail}")
    return Trust(next_root(policy, trust.root), policy)


def _use(allowed: Allowed, command: Command) -> Use:
    document = allowed.authorisation
    return Use(
        authorisation=document.id,
        execution=command.execution,
        device=command.audience,
        max_count=document.max_count,
        max_per_device=document.max_per_device,
        until_ms=document.not_after_ms,
    )


def _command(order: Order, now_ms: int) -> Command:
    is_read = order.danger_class is DangerClass.READS
    authorisation = None if is_read else order.authorisation
    return Command(
        version=PROTOCOL_VERSION,
        audience=order.device_id,
        tenant=order.tenant_id,
        execution=order.execution_id,
        action=order.action,
        danger_class=order.danger_class,
        params=order.params,
        issued_at_ms=now_ms,
        not_after_ms=order.not_after_ms,
        counter=order.counter,
        nonce=None if is_read else order.nonce,
        skip_if_passing=order.skip_if_passing,
        override_holds=not is_read and order.override_holds,
        supersedes=order.supersedes,
        authorisation=authorisation,
        authorisation_sha256=None if authorisation is None else sha256_of(authorisation),
        target_proof=None if is_read else order.target_proof,
        requester="" if is_read else order.requester,
        consent=not is_read and authorisation is None and order.consent,
    )
