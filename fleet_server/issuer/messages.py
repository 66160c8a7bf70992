"""What is asked of the issuer over its socket, one JSON object a line, and what it answers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.enrolment import Pem, Proof

MAX_LINE = 16 * 1024 * 1024
Name = Annotated[str, Meta(min_length=1, max_length=64)]
Serial = Annotated[str, Meta(pattern="^[0-9a-f]{1,48}$")]


class Enrol(msgspec.Struct, frozen=True, tag="enrol", tag_field="ask", forbid_unknown_fields=True):
    """The first certificate of a name."""

    name: Name
    csr: Pem


class Renew(msgspec.Struct, frozen=True, tag="renew", tag_field="ask", forbid_unknown_fields=True):
    """``approved_by``: the person who lets a device in that slept past its grace."""

    name: Name
    csr: Pem
    proof: Proof
    approved_by: Annotated[str, Meta(max_length=120)] = ""


class Replace(msgspec.Struct, frozen=True, tag="replace", tag_field="ask", forbid_unknown_fields=True):
    """Another key for a name whose key is lost, on a person's word. Bounded by a cap."""

    name: Name
    csr: Pem
    approved_by: Annotated[str, Meta(min_length=1, max_length=120)]


class Retire(msgspec.Struct, frozen=True, tag="retire", tag_field="ask", forbid_unknown_fields=True):
    """``known``: serial numbers and ends of certificates that are older than the ledger."""

    name: Name
    reason: Annotated[str, Meta(max_length=120)]
    known: dict[Serial, datetime] = {}


class TakeOver(msgspec.Struct, frozen=True, tag="take_over", tag_field="ask", forbid_unknown_fields=True):
    """Five minutes in the name of one that was retired, to end its session."""

    name: Name
    csr: Pem


class Service(msgspec.Struct, frozen=True, tag="service", tag_field="ask", forbid_unknown_fields=True):
    name: Name
    csr: Pem


class Server(msgspec.Struct, frozen=True, tag="server", tag_field="ask", forbid_unknown_fields=True):
    hosts: Annotated[list[Annotated[str, Meta(min_length=1, max_length=255)]], Meta(min_length=1, max_length=64)]
    csr: Pem


class Probe(msgspec.Struct, frozen=True, tag="probe", tag_field="ask", forbid_unknown_fields=True):
    name: Name
    csr: Pem


class Lists(msgspec.Struct, frozen=True, tag="lists", tag_field="ask", forbid_unknown_fields=True):
    """The lists of revoked certificates, signed now. ``serials``: to be in them beside the ledger's."""

    serials: list[Serial] = []


class Describe(msgspec.Struct, frozen=True, tag="describe", tag_field="ask", forbid_unknown_fields=True):
    pass


Ask = Enrol | Renew | Replace | Retire | TakeOver | Service | Server | Probe | Lists | Describe


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Either ``code`` and ``detail`` of a refusal, or what was asked for."""

    code: str = ""
    detail: str = ""
    pem: str = ""
    serial: str = ""
    not_after: datetime | None = None
    serials: list[str] = []
