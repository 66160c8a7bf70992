"""Policies and stops on their way to links: what a hello shows to be missing, and what has just changed, to all online.

They lie as signed envelopes in the server's folder, written by whoever holds the keys: ``policy.json`` is the newest,
``policy-history/`` holds those before it that named a new root, ``stops/TENANT.json`` the newest stop or lift of a
tenant. Ingest is a courier here: links believe the signatures alone.

Invariant: a link is sent nothing that its hello showed it to know.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
from sqlalchemy import select
from sqlmodel import Session

from fleet_server.devices.models import Device
from fleet_server.ingest.answers import Publication
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
        is_first = not self._mark and self._looked_s == float("-inf")
        if self._look(now_s) and not is_first:
            self._to_tell = None
        return self._to_tell is None or bool(self._to_tell)

    def spread(self, session: Session) -> list[Publication]:
        """A part of what is to be said to all who are online. Those who are not hear it when they greet."""
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

    def _look(self, now_s: float) -> bool:
        """Reads the files anew when one of them has changed; answers whether that was so."""
        if now_s - self._looked_s < LOOK_EVERY_S:
            return False
        self._looked_s = now_s
        files = [path for path in _files(self._folder) if path.is_file()]
        mark = tuple((str(path), path.stat().st_mtime_ns) for path in files)
        if mark == self._mark:
            return False
        self._mark, self._news = mark, _read(files)
        return True


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
        except (ValueError, msgspec.MsgspecError):
            pass
    _log.error("not a signed document: it is sent to nobody", file=path.name, expected=kind.__name__)
    return None


def _publication(link_id: str, document: bytes) -> Publication:
    encoded = codec.encode(msgspec.Raw(document), deflate=True)
    return Publication(down(LinkId(link_id), Down.TRUST), encoded.payload, encoded.content_type, _QOS)
