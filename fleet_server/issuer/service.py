"""The issuer's rules. Whoever may reach its socket, all of the fleet server taken over included, cannot:

- have a certificate of a name that somebody has, without that key's proof or, counted and capped, a person's name;
- have one of a retired name, but for the five minutes that end its session; nor take a name out of retirement;
- have one of a service that is not of the list, or of a device with a service's name;
- have more in a certificate than its kind has: subject, usage and extensions are made here.

Not held here: whether the person named exists, and whether a new device is one. That is the server's word.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from fleet_server.enrollment.authority import Authority, Certified
from fleet_server.enrollment.errors import DataFolderUnusable, NameNotEnrollable
from fleet_server.enrollment.private_files import make_private_dir
from fleet_server.errors import FleetError
from fleet_server.issuer import messages
from fleet_server.issuer.errors import (
    CapReached,
    KeyTaken,
    NameRetired,
    NameTaken,
    ProofInvalid,
    TooLongAsleep,
)
from fleet_server.issuer.folder import AuthorityPlaces, load_authority, load_previous
from fleet_server.issuer.ledger import Known, Ledger
from fleet_server.issuer.signing_requests import check_proof, key_bytes, key_of_bytes, read_request
from protocol.codec import UNREADABLE
from protocol.enrolment import renew_proof_bytes
from protocol.identifiers import is_identifier

# How long after its certificate's end a device may still renew it with its key alone: a season in a cupboard.
GRACE = timedelta(days=90)
# Keys replaced on a person's word, an hour: a repair shop's day, and not a fleet.
REPLACED_AN_HOUR = 200
_ASKS = msgspec.json.Decoder(messages.Ask)


class Issuer:
    """One process has it at a time. ``clock`` tells the time in UTC."""

    def __init__(self, places: AuthorityPlaces, clock: Callable[[], datetime]) -> None:
        self._places = places
        self._loaded_ns = 0
        self._load()
        self._ledger = Ledger(places.ledger)
        self._clock = clock

    def close(self) -> None:
        self._ledger.close()

    def answer(self, line: bytes) -> bytes:
        try:
            return msgspec.json.encode(self._answer(_ASKS.decode(line)))
        except UNREADABLE as error:
            return msgspec.json.encode(messages.Answer("csr_refused", f"the request is not understood: {error}"[:300]))
        except FleetError as error:
            return msgspec.json.encode(messages.Answer(error.code, str(error)))

    def _load(self) -> None:
        """Again when `fleet_server.issuer.folder` has made another issuing authority."""
        changed_ns = self._places.chain.stat().st_mtime_ns if self._places.chain.exists() else -1
        if changed_ns != self._loaded_ns:
            self._authority = load_authority(self._places)
            self._previous = load_previous(self._places)
            self._loaded_ns = changed_ns

    def _answer(self, ask: messages.Ask) -> messages.Answer:
        self._load()
        now = self._clock()
        match ask:
            case messages.Enrol():
                return _made(self._enrol(ask, now))
            case messages.Renew():
                return _made(self._renew(ask, now))
            case messages.Replace():
                return _made(self._replace(ask, now))
            case messages.TakeOver():
                return _made(self._take_over(ask, now))
            case messages.Retire():
                serials = self._ledger.retire(ask.name, ask.reason, ask.known, now)
                self._ledger.write_down("retire", ask.name, ask.reason, now)
                return messages.Answer(serials=serials)
            case messages.Service():
                return _made(self._authority.certify_service(ask.name, read_request(ask.csr, [ask.name])[0], now))
            case messages.Server():
                return _made(self._authority.certify_server(ask.hosts, read_request(ask.csr, ())[0], now))
            case messages.Probe():
                return _made(self._authority.certify_probe(ask.name, read_request(ask.csr, [ask.name])[0], now))
            case messages.Lists():
                self._ledger.forget(now)
                return messages.Answer(pem=self._lists({int(one, 16) for one in ask.serials}, now).decode())
            case messages.Describe():
                return messages.Answer(pem=self._authority.chain_pem.decode())

    def _enrol(self, ask: messages.Enrol, now: datetime) -> Certified:
        public, _ = read_request(ask.csr, [ask.name])
        key = key_bytes(public)
        if not is_identifier(ask.name):
            raise NameNotEnrollable(f"expected an id of 8 to 64 of a-z, 0-9 and '-', came {ask.name[:80]!r}")
        known = self._ledger.find(ask.name)
        if known is not None and known.certified is not None and known.key == key and not known.is_retired:
            # Its answer was lost on the way to the server's database.
            return known.certified
        if known is not None:
            raise NameTaken(f"{ask.name} was certified before: a name is never given twice")
        self._refuse_known_key(key)
        made = self._authority.certify_link(ask.name, public, now)
        self._ledger.enter(ask.name, key, made)
        return made

    def _renew(self, ask: messages.Renew, now: datetime) -> Certified:
        known = self._require(ask.name)
        public, der = read_request(ask.csr, [ask.name])
        key, signed = key_bytes(public), renew_proof_bytes(ask.name, der)
        if known.certified is None or not known.key:
            raise ProofInvalid(f"{ask.name} has no key that could prove anything")
        if key == known.key and known.former:
            # Asked again by who lost the answer: the same certificate, for whoever proves to have had the key before.
            check_proof(key_of_bytes(known.former), ask.proof, signed)
            return known.certified
        check_proof(key_of_bytes(known.key), ask.proof, signed)
        if now > known.certified.not_after + GRACE and not ask.approved_by:
            raise TooLongAsleep(
                f"the certificate ended {known.certified.not_after:%Y-%m-%d}, more than {GRACE.days} days ago: "
                "a person has to let this device in again"
            )
        self._refuse_known_key(key)
        made = self._authority.certify_link(ask.name, public, now)
        self._ledger.enter(ask.name, key, made)
        return made

    def _replace(self, ask: messages.Replace, now: datetime) -> Certified:
        self._require(ask.name)
        public, _ = read_request(ask.csr, [ask.name])
        key = key_bytes(public)
        self._refuse_known_key(key)
        if self._ledger.count("replace", now - timedelta(hours=1)) >= REPLACED_AN_HOUR:
            raise CapReached(f"{REPLACED_AN_HOUR} keys were replaced within the hour: more wait for the next")
        self._ledger.write_down("replace", ask.name, ask.approved_by, now)
        made = self._authority.certify_link(ask.name, public, now)
        self._ledger.enter(ask.name, key, made)
        return made

    def _take_over(self, ask: messages.TakeOver, now: datetime) -> Certified:
        known = self._ledger.find(ask.name)
        if known is None or not known.is_retired:
            raise NameTaken(f"{ask.name} is not retired: nobody takes its session over")
        public, _ = read_request(ask.csr, [ask.name])
        self._refuse_known_key(key_bytes(public))
        made = self._authority.certify_take_over(ask.name, public, now)
        self._ledger.write_down("take_over", ask.name, made.serial, now)
        return made

    def _require(self, name: str) -> Known:
        known = self._ledger.find(name)
        if known is None:
            raise NameNotEnrollable(f"{name[:80]!r} was never enrolled")
        if known.is_retired:
            raise NameRetired(f"{name} is out of service: it gets no certificate any more")
        return known

    def _refuse_known_key(self, key: bytes) -> None:
        if self._ledger.name_of_key(key) is not None:
            raise KeyTaken("this key belongs to a device already: make a new one")

    def _lists(self, foreign: set[int], now: datetime) -> bytes:
        revoked = foreign | self._ledger.revoked(now)
        speaking = [one for one in self._previous if _may_still_be_shown(one, now)]
        return b"".join(one.revocation_list(revoked, now) for one in (self._authority, *speaking))


@contextmanager
def alone(places: AuthorityPlaces, wait_s: float = 0.0) -> Iterator[None]:
    """Raises ``DataFolderUnusable`` when another process has the ledger for longer than ``wait_s``."""
    make_private_dir(places.issuer_dir)
    folder = os.open(places.issuer_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(folder, places.issuer_dir, wait_s)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, named: Path, wait_s: float) -> None:
    give_up_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > give_up_s:
                raise DataFolderUnusable(f"another issuer is at work in {named}") from error
            time.sleep(0.05)
        else:
            return


def _may_still_be_shown(authority: Authority, now: datetime) -> bool:
    """Its own end bounds the ends of all that it signed."""
    return now < authority.certificate.not_valid_after_utc


def _made(made: Certified) -> messages.Answer:
    return messages.Answer(pem=made.certificate_pem.decode(), serial=made.serial, not_after=made.not_after)
