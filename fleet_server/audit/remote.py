"""Anchoring from another machine: the key is there, the server is asked for what is new, and neither the server nor its
database can sign. What it gives must go on from the last anchor that lies here.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2

from fleet_server.audit.anchors import (
    PUBLIC,
    Keys,
    Signed,
    anchor_public_keys,
    check_from,
    newest,
    open_anchor,
    sign_head,
)
from fleet_server.audit.chain import ChainRow
from fleet_server.audit.checking import Check, verify
from fleet_server.audit.errors import AnchorRefused, AuditBroken
from fleet_server.audit.files import parse_line
from fleet_server.audit.keeping import read_anchors, write_anchor
from fleet_server.kit.answer_lines import lines_of
from fleet_server.signer.keys import load_key
from protocol import codec
from protocol.errors import Malformed

_TIMEOUT_S = 60.0


def connect(url: str, token: str, ca: Path | None) -> httpx2.Client:
    verify_by: Any = True if ca is None else ssl.create_default_context(cafile=str(ca))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, verify=verify_by)


def anchor(server: httpx2.Client, key_file: Path, folder: Path, now: datetime) -> Signed | None:
    """Signs the head into ``folder`` and gives it to the server; None: nothing is new. Raises ``AuditBroken``."""
    key = load_key(key_file)
    head = _answer(server.get("/api/v1/audit/head"))
    tenant_id = str(head["tenant"])
    beside = key_file.with_name(PUBLIC)
    known = _known(folder / tenant_id, anchor_public_keys(beside) if beside.exists() else Keys.of(key.public_hex))
    last = newest(known)
    check = check_from(tenant_id, known) if last is None else _behind(tenant_id, last, known)
    if head["seq"] == check.seq:
        return None
    finding = verify(lambda behind: _rows(server, behind), check, (int(head["seq"]), str(head["row_hash"])))
    if finding is not None:
        raise AuditBroken(f"entry {finding.seq}, {finding.damage}: {finding.detail}")
    signed = sign_head(check, last, key, now)
    write_anchor(folder, signed)
    _answer(server.post("/api/v1/audit/anchors", json={"envelope": signed.envelope}))
    return signed


def _behind(tenant_id: str, last: Signed, known: list[Signed]) -> Check:
    anchors = {one.statement.seq: one.statement.row_hash for one in known}
    return Check.behind(tenant_id, last.statement.seq, last.statement.row_hash, anchors)


def _known(folder: Path, keys: Keys) -> list[Signed]:
    """``keys``: with those of before, when their file lies beside the key."""
    opened = [open_anchor(envelope, keys) for envelope in read_anchors(folder)] if folder.is_dir() else []
    for one in opened:
        if isinstance(one, Malformed):
            raise AnchorRefused(f"{folder}: an anchor there is not signed by this key: {one.detail}")
    return [one for one in opened if not isinstance(one, Malformed)]


def _rows(server: httpx2.Client, behind: int) -> Iterator[ChainRow]:
    params: dict[str, Any] = {"format": "jsonl", "behind": behind}
    with server.stream("GET", "/api/v1/audit/export", params=params) as response:
        if not response.is_success:
            response.read()
            _answer(response)
        for line in lines_of(response):
            yield parse_line(line.encode())


def _answer(response: httpx2.Response) -> dict[str, Any]:
    if not response.is_success:
        raise AnchorRefused(f"the server answered {response.status_code}: {response.text[:300]}")
    document = codec.from_json(response.content, dict[str, Any])
    if isinstance(document, Malformed):
        raise AnchorRefused(f"expected a document of the server's, came something else: {document.detail}")
    return document
