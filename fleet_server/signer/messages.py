"""What is said on the signer's socket: one JSON object behind its length as four bytes, each way, both bounded.

A request is one of `Request`, its answer one of `Reply`. Unknown fields are refused: caller and signer are of one
version.
"""

from __future__ import annotations

import socket
import time
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol import codec
from protocol.artifacts import MAX_ROOTS, MAX_TARGETS_BYTES
from protocol.commands import MAX_COMMAND_BYTES, DangerClass, TargetProof
from protocol.errors import Malformed
from protocol.identifiers import WireAction, WireDevice, WireExecution, WireHex128, WireMillis
from protocol.parameters import Params
from protocol.signing import Policy

MAX_REQUEST_BYTES = 256 * 1024
MAX_REPLY_BYTES = 512 * 1024
MAX_JOURNAL_PAGE = 500
_LENGTH_BYTES = 4

Name = Annotated[str, Meta(max_length=120)]
Document = Annotated[str, Meta(max_length=MAX_COMMAND_BYTES)]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag="sign"):
    """What is to be signed. ``nonce``: of the link's last hello, for class 1. ``requester``: the account that
    asks. ``authorisation``: a DSSE envelope as JSON, signed by people, for class 1 and 2; ``consent``: the terminal is
    to ask the merchant instead, for class 1.
    """

    device_id: WireDevice
    tenant_id: Annotated[str, Meta(max_length=64)]
    execution_id: WireExecution
    action: WireAction
    danger_class: DangerClass
    params: Params
    counter: Annotated[int, Meta(ge=1, le=2**53)]
    not_after_ms: WireMillis
    nonce: WireHex128 | None = None
    skip_if_passing: bool = True
    override_holds: bool = False
    supersedes: WireExecution | None = None
    requester: Name = ""
    authorisation: Document | None = None
    target_proof: TargetProof | None = None
    consent: bool = False


class AskStanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="standing"):
    pass


class AskPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ask_policy"):
    pass


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="stop"):
    """Ends all signing for a tenant. ``by``: whose decision it was, as the caller says. ``above``: the highest epoch
    that the caller has seen: a signer that lost its file has to number on from there, or no terminal would hear of it.
    """

    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    by: Name
    reason: Annotated[str, Meta(max_length=300)] = ""
    above: Annotated[int, Meta(ge=0, le=2**53)] = 0


class Resume(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="resume"):
    """``lifting``: a `protocol.stops.StopOrder` in its DSSE envelope, signed by people."""

    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    lifting: Document


class NewPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="policy"):
    envelope: Annotated[str, Meta(max_length=128 * 1024)]


class PrepareKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="prepare_key"):
    """Makes the command key that comes after the present one, if there is none, and tells its public half."""


class TakeKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="take_key"):
    """Goes over to the key that was prepared, once the policy names it."""


class AskReleaseKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="release_keys"):
    """The public keys that are to sign snapshots and timestamps of software. ``next``: those that follow."""

    next: bool = False


class SignRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="release"):
    """A tenant's repository of software as it was signed offline: every root from the one that the policy names, and
    the list of targets, each as the file has it.
    """

    tenant: Annotated[str, Meta(min_length=1, max_length=64)]
    roots: Annotated[list[Annotated[str, Meta(max_length=16 * 1024)]], Meta(min_length=1, max_length=MAX_ROOTS)]
    targets: Annotated[str, Meta(max_length=MAX_TARGETS_BYTES)]


class AskJournal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="journal"):
    after: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_JOURNAL_PAGE)] = MAX_JOURNAL_PAGE


Request = (
    Order
    | AskStanding
    | AskPolicy
    | Stop
    | Resume
    | NewPolicy
    | PrepareKey
    | TakeKey
    | AskReleaseKeys
    | SignRelease
    | AskJournal
)


class Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="signed"):
    """The DSSE envelope of the command as JSON."""

    envelope: str


class Refused(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="refused"):
    code: str
    detail: str


class StopNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last stop of a tenant and, once it is lifted, by whom. ``document``: what terminals are to be given."""

    tenant: str
    stopped: int
    lifted: int
    at_ms: int
    by: str
    reason: str
    document: str

    @property
    def holds(self) -> bool:
        return self.stopped > self.lifted


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="standing"):
    """``used``: commands of the last hour by class."""

    command_key: str
    policy_version: int
    approvers: list[str]
    used: dict[str, int]
    stops: list[StopNote] = []


class JournalEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One thing the signer did. ``number`` rises by one; ``data`` names what was signed, and by whom it was allowed."""

    number: int
    at_ms: int
    event: str
    device: str
    data: dict[str, str | int | list[str]]


class JournalPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="journal"):
    """``journal``: which one this is; a signer whose file was lost begins another, with numbers from 1."""

    journal: str
    entries: list[JournalEntry]


class PresentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="policy"):
    policy: Policy


class PreparedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="prepared_key"):
    public: str


class ReleaseKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="release_keys"):
    snapshot: str
    timestamp: str


class SignedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="release"):
    """``version``: of both files."""

    version: int
    snapshot: str
    timestamp: str


class Done(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="done"):
    pass


Reply = Signed | Refused | Standing | PresentPolicy | PreparedKey | ReleaseKeys | SignedRelease | JournalPage | Done


class Garbled(Exception):
    """Not a message of this protocol, or cut short: the connection is of no more use."""


def send(link: socket.socket, message: Request | Reply) -> None:
    body = codec.to_json(message)
    link.sendall(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


def receive_request(link: socket.socket, idle_s: float, whole_s: float) -> Request | None:
    """None when the peer hung up between two messages, or said nothing for ``idle_s``. Raises ``Garbled`` also when
    more than ``whole_s`` pass between the first byte and the last.
    """
    link.settimeout(idle_s)
    try:
        if not link.recv(1, socket.MSG_PEEK):
            return None
    except TimeoutError:
        return None
    try:
        body = _receive(link, MAX_REQUEST_BYTES, time.monotonic() + whole_s)
    except TimeoutError as error:
        raise Garbled(f"expected a whole request within {whole_s:g} s, came a part") from error
    # Of the answer too: a peer that does not take it is as little use as one that does not ask.
    link.settimeout(whole_s)
    if body is None:
        return None
    message = codec.from_json(body, Request)  # type: ignore[arg-type]  # a union is a type to msgspec
    if isinstance(message, Malformed):
        raise Garbled(message.detail)
    return message


def receive_reply(link: socket.socket) -> Reply:
    body = _receive(link, MAX_REPLY_BYTES, None)
    if body is None:
        raise Garbled("expected an answer, came the end")
    message = codec.from_json(body, Reply)  # type: ignore[arg-type]  # as above
    if isinstance(message, Malformed):
        raise Garbled(message.detail)
    return message


def _receive(link: socket.socket, limit: int, until_s: float | None) -> bytes | None:
    """``until_s``: by the monotonic clock; None: as the link's own time-out has it."""
    head = _exactly(link, _LENGTH_BYTES, until_s)
    if head is None:
        return None
    length = int.from_bytes(head, "big")
    if length > limit:
        raise Garbled(f"message is {length} bytes, limit {limit}")
    body = _exactly(link, length, until_s)
    if body is None:
        raise Garbled("cut short")
    return body


def _exactly(link: socket.socket, count: int, until_s: float | None) -> bytes | None:
    """None when the peer hung up before the first byte. Raises ``TimeoutError``."""
    parts: list[bytes] = []
    missing = count
    while missing:
        if until_s is not None:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            link.settimeout(left_s)
        piece = link.recv(missing)
        if not piece:
            if missing == count:
                return None
            raise Garbled("cut short")
        parts.append(piece)
        missing -= len(piece)
    return b"".join(parts)
