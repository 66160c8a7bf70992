"""What can be wrong with the audit, or with what is asked of it."""

from __future__ import annotations

from typing import ClassVar

from fleet_server.errors import FleetError


class AnchorKeyMissing(FleetError):
    code: ClassVar[str] = "anchor_key_missing"


class AnchorRefused(FleetError):
    """A statement about a chain that is not signed by the anchor key, or does not fit the chain."""

    code: ClassVar[str] = "anchor_refused"
    status: ClassVar[int] = 409


class AuditBroken(FleetError):
    """The chain does not hold; says where and how."""

    code: ClassVar[str] = "audit_broken"
    status: ClassVar[int] = 409


class ExportUnreadable(FleetError):
    """Names the line of the file that is no entry of an audit."""

    code: ClassVar[str] = "audit_export_unreadable"
