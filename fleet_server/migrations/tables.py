"""Every table of every domain, registered by importing its module."""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import MetaData
from sqlmodel import SQLModel

_DOMAINS = (
    "approvals",
    "assignments",
    "audit",
    "auth",
    "devices",
    "enrollment",
    "executions",
    "faults",
    "freezes",
    "health",
    "ingest",
    "inspections",
    "personal",
    "playbooks",
    "tenants",
    "timeline",
)


def metadata() -> MetaData:
    for domain in _DOMAINS:
        import_module(f"fleet_server.{domain}.models")
    return SQLModel.metadata
