"""Signed statements about a chain: DSSE envelopes with the audit anchor key, which is good for nothing else and may be
kept on another machine.

A *head* says: at this moment the chain of this tenant had this entry last, with this hash. A *stub* says: the entries
up to this one were removed because they were old enough, the next one follows this hash. Each names the SHA-256 of the
statement before it, so that one that is missing is missed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from fleet_server.audit.chain import GENESIS
from fleet_server.audit.checking import Check, Damage, Finding
from fleet_server.audit.errors import AnchorKeyMissing
from fleet_server.enrollment.private_files import make_private_dir, read_or_make_seed, write_private
from fleet_server.kit.times import to_us
from fleet_server.signer.keys import KeyFiles, load_key
from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import KeyId
from protocol.signing import SigningKey, open_envelope, public_keys, sign

ANCHOR_TYPE = "application/vnd.tillmedic.audit-anchor+json"
SEED = "audit-anchor.seed"
PUBLIC = "audit-anchor.pub"

Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
_ENDED = " until "
# Somebody may be about to sign while a key is replaced.
_BOTH_FOR = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Keys:
    """``ended``: until when the word of a key counted that another one has followed, in microseconds."""

    public: Mapping[KeyId, Ed25519PublicKey]
    ended: Mapping[KeyId, int]

    @classmethod
    def of(cls, *hexes: str) -> Keys:
        return cls(public_keys(hexes), {})

    def count(self, signers: Iterable[KeyId], at_us: int) -> bool:
        return any(at_us <= self.ended.get(one, at_us) for one in signers)


class Kind(StrEnum):
    HEAD = "head"
    STUB = "stub"


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``last_at_us``: of a stub, when its entry was written; of a head 0."""

    version: Annotated[int, Meta(ge=1, le=1)]
    kind: Kind
    tenant: Annotated[str, Meta(max_length=64)]
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    row_hash: Hash
    signed_at_us: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    previous: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")]
    last_at_us: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement whose signature was verified, and its envelope as text."""

    statement: Statement
    envelope: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(codec.to_json(self.statement)).hexdigest()


def ensure_anchor_key(keys_dir: Path) -> None:
    """Makes the key unless its public half is there: then the other one is kept elsewhere on purpose."""
    if not (keys_dir / PUBLIC).exists():
        key = SigningKey.from_seed(read_or_make_seed(make_private_dir(keys_dir) / SEED))
        write_private(keys_dir / PUBLIC, f"{key.public_hex}\n")


def anchor_key(keys_dir: Path) -> SigningKey | None:
    """None: it is kept on another machine."""
    path = keys_dir / SEED
    return load_key(path) if path.exists() else None


def anchor_public_keys(path: Path) -> Keys:
    """Of a file with one key a line: those of before stay in it, with their end, so that what they signed until then is
    still good.
    """
    try:
        lines = [line.strip() for line in path.read_text("ascii").splitlines() if line.strip()]
        ends = {line.partition(_ENDED)[0]: line.partition(_ENDED)[2] for line in lines}
        public = {text: public_keys([text]) for text in ends}
        ended = {id_: to_us(datetime.fromisoformat(ends[text])) for text in ends if ends[text] for id_ in public[text]}
        return Keys({id_: key for one in public.values() for id_, key in one.items()}, ended)
    except (OSError, ValueError) as error:
        raise AnchorKeyMissing(f"{path}: expected public keys of 64 hexadecimal digits, one a line: {error}") from error


def replace_anchor_key(keys_dir: Path, now: datetime, fresh_public: str | None = None) -> tuple[str, str]:
    """The former public key and the present one. ``fresh_public``: of a key that is kept on another machine."""
    lines = (keys_dir / PUBLIC).read_text("ascii").split("\n")
    known = [line.strip() for line in lines if line.strip()]
    files = KeyFiles(keys_dir / SEED)
    if fresh_public is None and not files.present.exists():
        raise AnchorKeyMissing(
            f"{files.present} is kept on another machine: make the next one there, give its public half"
        )
    fresh = files.prepared().public_hex if fresh_public is None else fresh_public
    # Both, until nobody signs with the former one any more.
    _write_public(keys_dir, [fresh, *known])
    if fresh_public is None:
        files.take()
    end = f"{_ENDED}{(now + _BOTH_FOR).isoformat()}"
    _write_public(keys_dir, [fresh, *(line if _ENDED in line else line + end for line in known)])
    return known[0].partition(_ENDED)[0], fresh


def _write_public(keys_dir: Path, lines: Iterable[str]) -> None:
    write_private(keys_dir / PUBLIC, "\n".join(lines) + "\n")


def sign_head(check: Check, previous: Signed | None, key: SigningKey, now: datetime) -> Signed:
    """``check``: has gone over the chain to its end."""
    return _signed(Kind.HEAD, check.tenant_id, check.seq, check.row_hash, previous, key, now)


def sign_stub(
    tenant_id: str, seq: int, row_hash: str, last_at_us: int, previous: Signed | None, key: SigningKey, now: datetime
) -> Signed:
    return _signed(Kind.STUB, tenant_id, seq, row_hash, previous, key, now, last_at_us)


def open_anchor(envelope: str | bytes, keys: Keys) -> Signed | Malformed:
    text = envelope if isinstance(envelope, str) else envelope.decode("utf-8", "replace")
    opened = open_envelope(text.encode(), ANCHOR_TYPE, keys.public)
    if isinstance(opened, Malformed):
        return opened
    statement = codec.from_json(opened.payload, Statement)
    if isinstance(statement, Malformed):
        return statement
    if not keys.count(opened.signers, statement.signed_at_us):
        return Malformed("signature", "signed with a former key, after another one had taken its place")
    return Signed(statement, text)


def opened_for(
    tenant_id: str, envelopes: Iterable[str], keys: Keys, *, all_there: bool = True
) -> list[Signed] | Finding:
    """Statements about one chain, lowest place first; a finding when one of them is not signed, not about it, or, where
    they should be all there, missing.
    """
    found: list[Signed] = []
    for envelope in envelopes:
        opened = open_anchor(envelope, keys)
        if isinstance(opened, Malformed):
            return Finding(Damage.ANCHORS, 0, f"an anchor cannot be trusted: {opened.detail}")
        if opened.statement.tenant != tenant_id:
            said = f"an anchor is about the tenant {opened.statement.tenant!r}, expected {tenant_id!r}"
            return Finding(Damage.ANCHORS, opened.statement.seq, said)
        found.append(opened)
    digests = {one.digest for one in found} | {""}
    for one in found if all_there else ():
        if one.statement.previous not in digests:
            return Finding(Damage.ANCHORS, one.statement.seq, "the anchor that was signed before this one is missing")
    return sorted(found, key=lambda one: (one.statement.seq, one.statement.signed_at_us))


def check_from(tenant_id: str, signed: Iterable[Signed]) -> Check:
    """A check of the whole chain: from its first entry, or from where the newest stub says that it begins now."""
    anchors: dict[int, str] = {}
    seq, row_hash = 0, GENESIS
    for one in signed:
        said = one.statement
        # Of two that contradict each other the earlier one counts.
        anchors.setdefault(said.seq, said.row_hash)
        if said.kind is Kind.STUB and said.seq > seq:
            seq, row_hash = said.seq, said.row_hash
    return Check.behind(tenant_id, seq, row_hash, anchors)


def newest(signed: Iterable[Signed]) -> Signed | None:
    """The one that was signed last."""
    return max(signed, key=lambda one: (one.statement.signed_at_us, one.statement.seq), default=None)


def _signed(
    kind: Kind,
    tenant_id: str,
    seq: int,
    row_hash: str,
    previous: Signed | None,
    key: SigningKey,
    now: datetime,
    last_at_us: int = 0,
) -> Signed:
    before = previous.digest if previous else ""
    statement = Statement(1, kind, tenant_id, seq, row_hash, to_us(now), before, last_at_us)
    envelope = codec.to_json(sign(ANCHOR_TYPE, codec.to_json(statement), [key]))
    return Signed(statement, envelope.decode())
