"""What people allow, signed ahead of time, and the one rule by which signer and terminal judge it.

Three kinds: an approval of one execution; a shift permit for named actions on a group of devices until the end of a
shift; break-glass, signed by a key that lies offline. Class 1 needs one approver, class 2 two different ones and a
target of the software repository. Whoever asks never approves.

Invariant: `judge` answers ``Allowed`` only for a document that enough of the policy's people signed, that names this
tenant, device, action and parameters, and that holds at this moment. How often it was used is counted by its callers.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from protocol import codec, merkle
from protocol.commands import AUTHORISATION_TYPE, MAX_TARGETS, Command, DangerClass, Refusal
from protocol.errors import Malformed
from protocol.identifiers import KeyId, WireAction, WireDevice, WireExecution, WireMillis, WireSha256
from protocol.parameters import Params
from protocol.signing import Policy, key_ids, open_envelope, public_keys

MAX_GRANTS = 64


class AuthorisationKind(StrEnum):
    APPROVAL = "approval"
    SHIFT_PERMIT = "shift_permit"
    BREAK_GLASS = "break_glass"


# The longest that each may hold, whatever it says: a permit is for one shift, break-glass for one emergency.
LONGEST: Final = {
    AuthorisationKind.APPROVAL: timedelta(days=7),
    AuthorisationKind.SHIFT_PERMIT: timedelta(hours=24),
    AuthorisationKind.BREAK_GLASS: timedelta(hours=4),
}
# Approvers that must have signed, by class.
APPROVERS_NEEDED: Final = {DangerClass.READS: 0, DangerClass.CHANGES: 1, DangerClass.SOFTWARE: 2}


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One action that may be run. ``params``: exactly these; absent: any that the device declares."""

    action: WireAction
    params: Params | None = None


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The software repository's target that class 2 is about. ``length``: bytes."""

    path: Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")]
    length: Annotated[int, Meta(ge=1, le=2**40)]
    sha256: WireSha256


class Authorisation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``targets`` by name, or ``target_root`` of a list of ``target_count`` names (`protocol.merkle`, names in ASCII).

    ``requester``: the account of whoever asked for this; never one of those who sign. ``max_count``: uses in all, which
    the signer counts, and on one link; ``max_per_device``: on each device. ``execution``: the one execution that an
    approval is for.
    """

    id: WireExecution
    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: AuthorisationKind
    requester: Annotated[str, Meta(min_length=1, max_length=120)]
    grants: Annotated[list[Grant], Meta(min_length=1, max_length=MAX_GRANTS)]
    danger_class: DangerClass
    not_before_ms: WireMillis
    not_after_ms: WireMillis
    max_count: Annotated[int, Meta(ge=1, le=100_000)]
    max_per_device: Annotated[int, Meta(ge=1, le=1000)] = 1
    targets: Annotated[list[WireDevice], Meta(max_length=MAX_TARGETS)] = []
    target_root: WireSha256 | None = None
    target_count: Annotated[int, Meta(ge=0, le=2**32)] = 0
    execution: WireExecution | None = None
    artifact: Artifact | None = None
    reason: Annotated[str, Meta(max_length=300)] = ""


@dataclass(frozen=True, slots=True)
class Allowed:
    """``people``: names of those whose signatures counted; of break-glass none."""

    authorisation: Authorisation
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    refusal: Refusal
    detail: str


def judge(document: str, command: Command, policy: Policy, now_ms: int) -> Allowed | Denied:
    """``document``: the DSSE envelope as the command carries it. ``now_ms``: by the judge's own trusted clock."""
    opened = open_envelope(document.encode(), AUTHORISATION_TYPE, _keys_of_people(policy))
    if isinstance(opened, Malformed):
        return Denied(Refusal.AUTHORISATION_SIGNATURES, opened.detail)
    allowed = codec.from_json(opened.payload, Authorisation)
    if isinstance(allowed, Malformed):
        return Denied(Refusal.AUTHORISATION_SIGNATURES, allowed.detail)
    people = _people(policy, allowed, opened.signers)
    is_broken_glass = allowed.kind is AuthorisationKind.BREAK_GLASS
    denied = _glass_denied(policy, opened.signers) if is_broken_glass else _people_denied(allowed, command, people)
    denied = denied or _outside(allowed, command) or _untimely(allowed, policy, now_ms)
    return denied or Allowed(allowed, () if is_broken_glass else tuple(sorted(people)))


def same_person(one: str, other: str) -> bool:
    """Account names are compared as a person reads them: neither case nor width nor space around makes another one."""
    return folded_name(one) == folded_name(other)


def folded_name(name: str) -> str:
    """What two spellings of one person have in common."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def sha256_of(document: str) -> str:
    """How a command names the authorisation that it carries."""
    return hashlib.sha256(document.encode()).hexdigest()


def _keys_of_people(policy: Policy) -> dict[KeyId, Ed25519PublicKey]:
    return public_keys([*(one.public for one in policy.approvers), *policy.break_glass_keys])


def _people(policy: Policy, allowed: Authorisation, signers: Iterable[KeyId]) -> set[str]:
    """Different people, not different keys: one person may have two while one key takes the other's place."""
    signed = set(signers)
    ids = key_ids(one.public for one in policy.approvers)
    return {
        folded_name(one.name)
        for one, id_ in zip(policy.approvers, ids, strict=True)
        if id_ in signed and one.tenant in {"", allowed.tenant}
    }


def _glass_denied(policy: Policy, signers: Iterable[KeyId]) -> Denied | None:
    if set(key_ids(policy.break_glass_keys)) & set(signers):
        return None
    return Denied(Refusal.AUTHORISATION_SIGNATURES, "no break-glass key of the policy signed this")


def _people_denied(allowed: Authorisation, command: Command, people: set[str]) -> Denied | None:
    if not command.requester:
        return Denied(Refusal.REQUESTER, "the command does not say who asks")
    if allowed.kind is AuthorisationKind.APPROVAL and not same_person(allowed.requester, command.requester):
        return Denied(Refusal.REQUESTER, "the approval was given to another person than the one who asks")
    if {folded_name(allowed.requester), folded_name(command.requester)} & people:
        return Denied(Refusal.REQUESTER, "whoever asks is among those who signed")
    needed = APPROVERS_NEEDED[command.danger_class]
    if len(people) < needed:
        return Denied(Refusal.AUTHORISATION_SIGNATURES, f"{needed} approvers needed, {len(people)} signed")
    return None


def _outside(allowed: Authorisation, command: Command) -> Denied | None:
    """What the authorisation does not cover."""
    grants = [grant for grant in allowed.grants if grant.action == command.action]
    if allowed.tenant != command.tenant or not _names(allowed, command):
        words = "the authorisation does not name this device"
    elif not grants:
        words = f"the authorisation is for {', '.join(grant.action for grant in allowed.grants)[:200]}"
    elif allowed.danger_class < command.danger_class:
        words = f"the authorisation is for class {int(allowed.danger_class)}"
    elif not any(grant.params is None or grant.params == command.params for grant in grants):
        words = "the authorisation is for other parameters"
    elif allowed.kind is AuthorisationKind.APPROVAL and allowed.execution != command.execution:
        words = "the approval is for another execution"
    elif allowed.kind is AuthorisationKind.SHIFT_PERMIT and command.danger_class > DangerClass.CHANGES:
        words = "a shift permit is for class 1 alone"
    elif command.danger_class is DangerClass.SOFTWARE and allowed.artifact is None:
        words = "class 2 needs a target of the software repository, the authorisation names none"
    else:
        return None
    return Denied(Refusal.AUTHORISATION_SCOPE, words)


def _names(allowed: Authorisation, command: Command) -> bool:
    if allowed.target_root is None:
        return command.audience in allowed.targets
    proof = command.target_proof
    if proof is None or allowed.targets:
        return False
    way = [bytes.fromhex(one) for one in proof.path]
    wanted = bytes.fromhex(allowed.target_root)
    return merkle.proves(command.audience.encode(), proof.index, allowed.target_count, way, wanted)


def _untimely(allowed: Authorisation, policy: Policy, now_ms: int) -> Denied | None:
    longest_ms = LONGEST[allowed.kind] // timedelta(milliseconds=1)
    if allowed.not_after_ms - allowed.not_before_ms > longest_ms:
        words = f"a {allowed.kind} holds for at most {longest_ms // 3_600_000} h, this one says more"
    elif not allowed.not_before_ms <= now_ms <= allowed.not_after_ms:
        words = "the authorisation does not hold now"
    elif allowed.not_before_ms < policy.clock_ms:
        # How often it was used may be forgotten: by the clock that was ahead it was over.
        words = "the authorisation is from before clocks were set back; people sign anew"
    else:
        return None
    return Denied(Refusal.AUTHORISATION_TIME, words)
