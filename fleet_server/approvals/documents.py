"""Documents that people sign, from being proposed to being carried by a command.

What approvers sign is one text, made when the execution is asked for and never changed: the page and the command line
show it, each signature is over exactly these bytes, and the command carries them. Rows are only kept here. Whoever
forges one gains nothing, because signer and terminal judge the document itself.

Invariants: a person signs an approval once, and never what the person asked for; an approval counts its people, not
their keys.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlmodel import Session

from fleet_server.approvals.errors import (
    AlreadyApproved,
    ApprovalNotFound,
    ApproverIsRequester,
    PermitNotFound,
    PermitRefused,
    SignatureRefused,
)
from fleet_server.approvals.models import BREAK_GLASS, Approval, ApprovalSignature, ShiftPermit
from fleet_server.approvals.repository import ApprovalRepository
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import from_ms, to_ms
from protocol import codec, merkle
from protocol.authorisations import (
    APPROVERS_NEEDED,
    LONGEST,
    Artifact,
    Authorisation,
    AuthorisationKind,
    Grant,
    same_person,
)
from protocol.commands import AUTHORISATION_TYPE, DangerClass, TargetProof
from protocol.errors import Malformed
from protocol.parameters import ParamValue
from protocol.signing import Approver, Envelope, Policy, Signature, key_ids, open_envelope, public_keys, verify

# Terminals compare with their own trusted clock, which may run a little behind the server's.
AUTHORISED_BEFORE = timedelta(minutes=5)
_PERMITS_SHOWN_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An execution that needs people."""

    execution_id: str
    device_id: str
    action: str
    params: dict[str, ParamValue]
    danger_class: DangerClass
    requester: str
    reason: str
    until: datetime
    artifact: Artifact | None = None


@dataclass(frozen=True, slots=True)
class Awaited:
    """``people``: who has signed so far."""

    row: Approval
    people: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        return len(self.people) >= self.row.needed


class Documents:
    def __init__(self, session: Session, tenant_id: str) -> None:
        self._repository = ApprovalRepository(session, tenant_id)
        self._tenant_id = tenant_id

    @property
    def tenant_id(self) -> str:
        return self._tenant_id

    def propose(self, wanted: Proposal, now: datetime) -> Awaited:
        """What approvers are to sign, fixed from here on."""
        until = min(wanted.until, now - AUTHORISED_BEFORE + LONGEST[AuthorisationKind.APPROVAL])
        document = Authorisation(
            id=uuid7(now),
            tenant=self._tenant_id,
            kind=AuthorisationKind.APPROVAL,
            requester=wanted.requester[:120],
            grants=[Grant(wanted.action, wanted.params)],
            danger_class=wanted.danger_class,
            not_before_ms=to_ms(now - AUTHORISED_BEFORE),
            not_after_ms=to_ms(until),
            max_count=1,
            targets=[wanted.device_id],
            execution=wanted.execution_id,
            artifact=wanted.artifact,
            reason=wanted.reason[:300],
        )
        row = Approval(
            execution_id=wanted.execution_id,
            tenant_id=self._tenant_id,
            device_id=wanted.device_id,
            action=wanted.action,
            requester=wanted.requester,
            payload=codec.to_json(document).decode(),
            needed=APPROVERS_NEEDED[wanted.danger_class],
            created_at=now,
            expires_at=until,
        )
        self._repository.add(row)
        return Awaited(row, ())

    def list_awaited(self, now: datetime) -> list[Awaited]:
        return self._with_people(self._repository.list_open(now))

    def awaited(self, execution_id: str) -> Awaited:
        row = self._repository.get(execution_id)
        if row is None or not row.is_open:
            raise ApprovalNotFound(execution_id)
        return self._with_people([row])[0]

    def sign(self, execution_id: str, signature: Signature, policy: Policy, now: datetime) -> tuple[Awaited, str]:
        """Takes one person's signature; whose it was. Raises what is wrong with it."""
        awaited = self.awaited(execution_id)
        person = _whose(awaited.row, signature, policy)
        if same_person(person, awaited.row.requester):
            raise ApproverIsRequester(f"{person} asked for this: somebody else has to approve it")
        if any(same_person(person, other) for other in awaited.people):
            raise AlreadyApproved(f"{person} has approved this already")
        row = ApprovalSignature(
            execution_id=execution_id,
            person=person,
            tenant_id=self._tenant_id,
            key_id=signature.keyid,
            signature=signature.sig,
            signed_at=now,
        )
        self._repository.add(row)
        after = Awaited(awaited.row, (*awaited.people, person))
        if after.is_complete:
            self._repository.close(execution_id)
        return after, person

    def close(self, execution_id: str) -> None:
        """Nothing is awaited any more: refused, cancelled or over."""
        self._repository.close(execution_id)

    def envelope(self, execution_id: str, permit_id: str | None) -> str | None:
        """What the command of this execution carries."""
        if permit_id is not None:
            permit = self._repository.permit(permit_id)
            return None if permit is None or permit.withdrawn_at is not None else permit.envelope
        row = self._repository.get(execution_id)
        signatures = [Signature(one.key_id, one.signature) for one in self._repository.signatures([execution_id])]
        if row is None or not signatures:
            return None
        payload = base64.b64encode(row.payload.encode()).decode()
        return codec.to_json(Envelope(AUTHORISATION_TYPE, payload, signatures)).decode()

    def target_proof(self, permit_id: str | None, device_id: str) -> TargetProof | None:
        """That the device is in the list whose root the permit names; None where the permit names devices."""
        permit = None if permit_id is None else self._repository.permit(permit_id)
        if permit is None or permit.devices is None or device_id not in permit.devices:
            return None
        entries = [str(one).encode() for one in permit.devices]
        index = permit.devices.index(device_id)
        return TargetProof(index, [one.hex() for one in merkle.path(entries, index)])

    def add_permit(self, envelope: str, policy: Policy, now: datetime, devices: Sequence[str] = ()) -> ShiftPermit:
        """``devices``: the list whose root the permit names. Raises ``PermitRefused``."""
        document, people = _open_permit(envelope, policy, self._tenant_id)
        _check_list(document, devices)
        if from_ms(document.not_after_ms) <= now:
            raise PermitRefused("the permit is over already")
        if self._repository.permit(document.id) is not None:
            raise PermitRefused(f"permit {document.id} is here already")
        row = _permit_row(document, envelope, ", ".join(people), now, devices)
        self._repository.add(row)
        return row

    def withdraw_permit(self, permit_id: str, now: datetime) -> ShiftPermit:
        self._repository.withdraw(permit_id, now)
        row = self._repository.permit(permit_id)
        if row is None:
            raise PermitNotFound(permit_id)
        return row

    def add_broken_glass(self, envelope: str, execution_id: str, policy: Policy, now: datetime) -> ShiftPermit:
        """What a key that lies offline signed for this execution. Raises ``PermitRefused``."""
        awaited = self.awaited(execution_id).row
        document = _open_broken_glass(envelope, policy, self._tenant_id)
        if document.execution != execution_id or awaited.device_id not in document.targets:
            raise PermitRefused("expected break-glass for this execution and its device")
        if self._repository.permit(document.id) is not None:
            raise PermitRefused(f"{document.id} is here already")
        row = _permit_row(document, envelope, BREAK_GLASS, now)
        self._repository.add(row)
        self._repository.close(execution_id)
        return row

    def list_permits(self, now: datetime) -> Sequence[ShiftPermit]:
        return self._repository.list_permits(now - _PERMITS_SHOWN_FOR)

    def covering(self, wanted: Proposal, now: datetime) -> list[ShiftPermit]:
        """Permits that allow this, before it is asked how often they were used."""
        return [one for one in self._repository.live_permits(now) if _covers(one, wanted)]

    def _with_people(self, rows: Sequence[Approval]) -> list[Awaited]:
        people: defaultdict[str, list[str]] = defaultdict(list)
        for one in self._repository.signatures([row.execution_id for row in rows]):
            people[one.execution_id].append(one.person)
        return [Awaited(row, tuple(people[row.execution_id])) for row in rows]


def document_of(envelope: str) -> Authorisation | None:
    """What a kept envelope says, unverified."""
    outer = codec.from_json(envelope.encode(), Envelope)
    if isinstance(outer, Malformed):
        return None
    inner = codec.from_json(base64.b64decode(outer.payload), Authorisation)
    return None if isinstance(inner, Malformed) else inner


def keys_of_person(policy: Policy, tenant_id: str, name: str) -> list[str]:
    """Ids of the keys by which the policy knows this person."""
    return [_key(one) for one in _approvers(policy, tenant_id) if same_person(one.name, name)]


def approvers_beside(policy: Policy, tenant_id: str, requester: str) -> int:
    """How many people could approve what this one asks for: people, not keys."""
    people: list[str] = []
    for one in _approvers(policy, tenant_id):
        if not any(same_person(one.name, other) for other in (requester, *people)):
            people.append(one.name)
    return len(people)


def _covers(permit: ShiftPermit, wanted: Proposal) -> bool:
    document = document_of(permit.envelope)
    if document is None or wanted.danger_class is not DangerClass.CHANGES:
        return False
    signers = permit.people.split(", ")
    is_among_them = any(same_person(wanted.requester, one) for one in (*signers, document.requester))
    fits = any(one.action == wanted.action and one.params in (None, wanted.params) for one in document.grants)
    is_permit = document.kind is AuthorisationKind.SHIFT_PERMIT
    named = document.targets if permit.devices is None else permit.devices
    return is_permit and fits and wanted.device_id in named and not is_among_them


def _whose(row: Approval, signature: Signature, policy: Policy) -> str:
    """The person behind the key, if the signature holds over exactly what is asked."""
    approver = next((one for one in _approvers(policy, row.tenant_id) if _key(one) == signature.keyid), None)
    if approver is None:
        raise SignatureRefused("this key belongs to none of the approvers that the policy names")
    envelope = Envelope(AUTHORISATION_TYPE, base64.b64encode(row.payload.encode()).decode(), [signature])
    opened = verify(envelope, AUTHORISATION_TYPE, public_keys([approver.public]))
    if isinstance(opened, Malformed):
        raise SignatureRefused("expected a signature over the document of this execution, this one is over another")
    return approver.name


def _open_permit(envelope: str, policy: Policy, tenant_id: str) -> tuple[Authorisation, list[str]]:
    approvers = list(_approvers(policy, tenant_id))
    opened = open_envelope(envelope.encode(), AUTHORISATION_TYPE, public_keys(one.public for one in approvers))
    if isinstance(opened, Malformed):
        raise PermitRefused(f"expected a permit signed by an approver of the policy: {opened.detail}")
    document = codec.from_json(opened.payload, Authorisation)
    if isinstance(document, Malformed):
        raise PermitRefused(f"the permit is not understood: {document.detail}")
    longest = LONGEST[AuthorisationKind.SHIFT_PERMIT]
    if document.kind is not AuthorisationKind.SHIFT_PERMIT or document.danger_class is not DangerClass.CHANGES:
        raise PermitRefused(f"expected a shift permit of class 1, came {document.kind} of {int(document.danger_class)}")
    if document.tenant != tenant_id or bool(document.targets) == bool(document.target_root):
        raise PermitRefused("expected a permit for this tenant that names its devices, or the root of their list")
    if from_ms(document.not_after_ms) - from_ms(document.not_before_ms) > longest:
        raise PermitRefused(f"a shift permit holds for at most {longest // timedelta(hours=1)} h, this one says more")
    people = sorted({one.name for one in approvers if _key(one) in opened.signers})
    if any(same_person(document.requester, one) for one in people):
        raise PermitRefused("whoever asks for a permit does not sign it")
    return document, people


def _check_list(document: Authorisation, devices: Sequence[str]) -> None:
    if document.target_root is None:
        if devices:
            raise PermitRefused("the permit names its devices itself: expected no list beside it")
        return
    is_it = merkle.root([one.encode() for one in devices]).hex() == document.target_root
    if not is_it or len(devices) != document.target_count or len(set(devices)) != len(devices):
        raise PermitRefused(f"expected the list of {document.target_count} devices whose root the permit names")


def _open_broken_glass(envelope: str, policy: Policy, tenant_id: str) -> Authorisation:
    opened = open_envelope(envelope.encode(), AUTHORISATION_TYPE, public_keys(policy.break_glass_keys))
    if isinstance(opened, Malformed):
        raise PermitRefused(f"expected the signature of a break-glass key of the policy: {opened.detail}")
    document = codec.from_json(opened.payload, Authorisation)
    if isinstance(document, Malformed):
        raise PermitRefused(f"the document is not understood: {document.detail}")
    if document.kind is not AuthorisationKind.BREAK_GLASS or document.tenant != tenant_id:
        raise PermitRefused(f"expected break-glass for this tenant, came {document.kind} for {document.tenant}")
    return document


def _permit_row(
    document: Authorisation, envelope: str, people: str, now: datetime, devices: Sequence[str] = ()
) -> ShiftPermit:
    return ShiftPermit(
        id=document.id,
        tenant_id=document.tenant,
        people=people[:400],
        envelope=envelope,
        actions=[grant.action for grant in document.grants],
        devices=list(devices) or None,
        target_count=len(devices or document.targets),
        max_count=document.max_count,
        max_per_device=document.max_per_device,
        reason=document.reason,
        not_before=from_ms(document.not_before_ms),
        not_after=from_ms(document.not_after_ms),
        created_at=now,
    )


def _approvers(policy: Policy, tenant_id: str) -> Iterable[Approver]:
    return (one for one in policy.approvers if one.tenant in {"", tenant_id})


def _key(approver: Approver) -> str:
    return key_ids([approver.public])[0]


def shown(payload: str) -> dict[str, object]:
    """The document as an approver reads it."""
    document: dict[str, object] = msgspec.json.decode(payload)
    return document
