"""Verifying an export away from the database it came from, against anchors that were kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fleet_server.audit.anchors import Keys, check_from, open_anchor, opened_for
from fleet_server.audit.checking import Check, Finding, verify
from fleet_server.audit.errors import AnchorKeyMissing
from fleet_server.audit.files import first_row, read_rows
from fleet_server.audit.keeping import Outcome
from protocol.errors import Malformed


def verify_file(path: Path, keys: Keys, kept: Sequence[str], say: Callable[[int], None]) -> Outcome:
    """A whole export as JSON lines. Where older entries were removed, one of ``kept`` must be the stub for them."""
    if kept and not keys.public:
        raise AnchorKeyMissing("expected --key beside --anchors: who may sign anchors is not in an export")
    first = first_row(path)
    tenant_id = first.tenant_id if first else ""
    signed = opened_for(tenant_id, about(tenant_id, kept, keys), keys, all_there=False)
    if isinstance(signed, Finding):
        return Outcome(tenant_id, Check(tenant_id), signed, ())
    check = check_from(tenant_id, signed)
    return Outcome(tenant_id, check, verify(read_rows(path), check, None, say), tuple(signed))


def about(tenant_id: str, envelopes: Iterable[str], keys: Keys) -> list[str]:
    """Those that are about this tenant, and those that cannot be trusted: let whoever verifies say so."""
    found = []
    for envelope in envelopes:
        opened = open_anchor(envelope, keys)
        if isinstance(opened, Malformed) or opened.statement.tenant == tenant_id:
            found.append(envelope)
    return found
