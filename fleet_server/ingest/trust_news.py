"""Policies and stops on their way to links: what a hello shows to be missing, and what has just changed, to all online.

They lie as signed envelopes in the server's folder, written by whoever holds the keys: ``policy.json`` is the newest,
``policy-history/`` holds those before it that named a new root, ``stops/TENANT.json`` the newest stop or lift of a
tenant. Ingest is a courier here: links believe the signatures alone.

What all who are online were told last is written down, so that what changes while no worker is up is told by the next
one: those links do not greet again, for the broker kept their connection.

Invariant: a link is sent nothing that its hello showed it to know.
"""

from __future__ import annotations

import base64
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session

from fleet_server.db import reading, transaction
from fleet_server.devices.models import Device
from fleet_server.ingest.answers import Publication
from fleet_server.ingest.installation import read_state, save_state
from protocol import codec
from protocol.errors import Malformed
from protocol.identifiers import LinkId
from protocol.session import Hello
from protocol.signing import Envelope, Policy
from protocol.stops import StopOrder
from protocol.topics import Down, down

# How often the files are looked at: how much later than others an emergency stop may leave here.
LOOK_EVERY_S = 2.0
# Links told in one step: the worker's other answers wait so long.
TOLD_AT_ONCE = 200
_QOS = 1
# What is kept of it beside other facts of the server.
TOLD = "trust_told"
_DEVICE = Device.__table__  # type: ignore[attr-defined]  # SQLModel tables have it
KindT = TypeVar("KindT", Policy, StopOrder)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _News:
    """``policies``: documents with their versions, oldest first. ``stops``: document and order by tenant."""

    policies: tuple[tuple[int, bytes], ...] = ()
    stops: dict[str, tuple[StopOrder, bytes]] = field(default_factory=dict)


class TrustNews:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark: tuple[tuple[str, int], ...] = ()
        self._news = _News()
        self._looked_s = float("-inf")
        self._is_first = True
        # Links still to be told of a change, with their tenants; None: it is not known yet who is online.
        self._to_tell: deque[tuple[str, str]] | None = deque()

    def for_link(self, link_id: str, tenant: str, hello: Hello, now_s: float) -> list[Publication]:
        self._look(now_s)
        documents = [document for version, document in self._news.policies if version > hello.policy_version]
        found = self._news.stops.get(tenant)
        if found is not None and found[0].epoch > (hello.lift_epoch if found[0].lifts else hello.stop_epoch):
            documents.append(found[1])
        return [_publication(link_id, document) for document in documents]

    def has_news(self, now_s: float) -> bool:
        """Whether `spread` has something to do."""
        self._look(now_s)
        if self._is_first:
            self._to_tell = None
        return self._to_tell is None or bool(self._to_tell)

    def tell(self, engine: Engine, publish: Callable[[Sequence[Publication]], None], now_s: float) -> int:
        """Publishes a part of what is to be said to all who are online, and answers how many messages that were."""
        if not self.has_news(now_s):
            return 0
        try:
            with reading(engine) as session:
                messages = self.spread(session)
        except SQLAlchemyError as error:
            _log.warning("links could not be told of a new policy, trying again", error=str(error)[:300])
            return 0
        publish(messages)
        try:
            with transaction(engine) as session:
                self.note(session)
        except SQLAlchemyError as error:
            # The next worker tells it once more.
            _log.warning("what links were told could not be written down", error=str(error)[:300])
        return len(messages)

    def spread(self, session: Session) -> list[Publication]:
        """A part of what is to be said to all who are online. Those who are not hear it when they greet."""
        if self._is_first and read_state(session, TOLD) == self._told():
            self._to_tell = deque()
        self._is_first = False
        if self._to_tell is None:
            online = select(_DEVICE.c.id, _DEVICE.c.tenant_id).where(
                _DEVICE.c.kind != "attached", _DEVICE.c.presence == "online", _DEVICE.c.retired_at.is_(None)
            )
            self._to_tell = deque((str(link), str(tenant)) for link, tenant in session.execute(online))
        messages: list[Publication] = []
        for _ in range(min(TOLD_AT_ONCE, len(self._to_tell))):
            link, tenant = self._to_tell.popleft()
            documents = [document for _, document in self._news.policies]
            documents += [self._news.stops[tenant][1]] if tenant in self._news.stops else []
            messages += [_publication(link, document) for document in documents]
        return messages

    def note(self, session: Session) -> None:
        """To be asked after the last part was sent: the next worker need not tell it again."""
        if not self._to_tell and read_state(session, TOLD) != self._told():
            save_state(session, TOLD, self._told())

    def _told(self) -> dict[str, str]:
        documents = [document for _, document in self._news.policies]
        documents += [document for _, (_, document) in sorted(self._news.stops.items())]
        return {"sha256": hashlib.sha256(b"".join(documents)).hexdigest()}

    def _look(self, now_s: float) -> None:
        """Reads the files anew when one of them has changed. Whoever looks first, all who are online will be told."""
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        files = [path for path in _files(self._folder) if path.is_file()]
        mark = tuple((str(path), path.stat().st_mtime_ns) for path in files)
        if mark == self._mark:
            return
        self._mark, self._news = mark, _read(files)
        self._to_tell = None


def _files(folder: Path) -> Iterable[Path]:
    yield from sorted((folder / "policy-history").glob("*.json"))
    yield folder / "policy.json"
    yield from sorted((folder / "stops").glob("*.json"))


def _read(files: Iterable[Path]) -> _News:
    policies: dict[int, bytes] = {}
    stops: dict[str, tuple[StopOrder, bytes]] = {}
    for path in files:
        document = path.read_bytes()
        if path.parent.name == "stops":
            order = _inside(document, StopOrder, path)
            if order is not None:
                stops[order.tenant] = (order, document)
        else:
            policy = _inside(document, Policy, path)
            if policy is not None:
                policies[policy.version] = document
    return _News(tuple(sorted(policies.items())), stops)


def _inside(document: bytes, kind: type[KindT], path: Path) -> KindT | None:
    """What the envelope holds, only to see for whom it is news; nothing here believes it."""
    envelope = codec.from_json(document, Envelope)
    if not isinstance(envelope, Malformed):
        try:
            return msgspec.json.decode(base64.b64decode(envelope.payload, validate=True), type=kind)
        except (ValueError, *codec.UNREADABLE):
            pass
    _log.error("not a signed document: it is sent to nobody", file=path.name, expected=kind.__name__)
    return None


def _publication(link_id: str, document: bytes) -> Publication:
    encoded = codec.encode(msgspec.Raw(document), deflate=True)
    return Publication(down(LinkId(link_id), Down.TRUST), encoded.payload, encoded.content_type, _QOS)
