"""Playbooks as people start, read and cancel them. What moves a walk is `fleet_server.playbooks.keeping`.

Starting takes what its steps take one by one: the permission of the highest kind among them. Who may not ask for a fix
does not start a playbook that could come to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlmodel import Session

from fleet_server.audit.service import record
from fleet_server.auth.errors import RoleTooLow
from fleet_server.auth.roles import Actor
from fleet_server.devices.holding import hold_one
from fleet_server.devices.service import DeviceService
from fleet_server.executions.errors import CapabilitiesUnknown
from fleet_server.executions.outbound import Outbound
from fleet_server.executions.service import NEEDED
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.pagination import CursorInvalid, Page, decode_cursor, encode_cursor
from fleet_server.kit.times import from_us, to_us
from fleet_server.playbooks import happenings
from fleet_server.playbooks.errors import (
    PlaybookNotForDevice,
    PlaybookNotFound,
    PlaybookOver,
    PlaybookRunning,
    PlaybookRunNotFound,
    PlaybookVariablesInvalid,
)
from fleet_server.playbooks.models import PlaybookRun, PlaybookStep
from fleet_server.playbooks.repository import PlaybookRepository, RunFilters
from fleet_server.playbooks.taking import definition_of
from fleet_server.timeline.writer import NewEvent
from protocol.authorisations import Grant
from protocol.capabilities import Action
from protocol.commands import DangerClass
from protocol.parameters import ParamValue
from protocol.playbooks.checking import check_given, highest_class
from protocol.playbooks.granting import grants_of, uses_of
from protocol.playbooks.language import Playbook
from protocol.playbooks.reading import shipped
from protocol.redaction import is_card_value, scrub


@dataclass(frozen=True, slots=True)
class Offered:
    """A playbook as one device can be walked with. ``suggested_by``: its open faults that the playbook is for."""

    playbook: Playbook
    danger_class: DangerClass
    suggested_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunRead:
    """``grants`` and ``uses``: what an approver would allow to allow the whole walk, and how often at most."""

    row: PlaybookRun
    steps: Sequence[PlaybookStep]
    grants: Sequence[Grant] = ()
    uses: int = 0

    @property
    def ends_by(self) -> datetime:
        return self.row.started_at + timedelta(seconds=self.row.definition["longest_s"])


class PlaybookService:
    """``known``: playbooks by name; none: those that ship."""

    def __init__(
        self,
        session: Session,
        tenant_id: str,
        devices: DeviceService,
        outbound: Outbound,
        known: Mapping[str, Playbook] | None = None,
    ) -> None:
        self._known = shipped() if known is None else known
        self._session = session
        self._outbound = outbound
        self._tenant_id = tenant_id
        self._rows = PlaybookRepository(session, tenant_id)
        self._devices = devices

    def definitions(self) -> Sequence[Playbook]:
        return list(self._known.values())

    def definition(self, name: str) -> Playbook:
        found = self._known.get(name)
        if found is None:
            raise PlaybookNotFound(name)
        return found

    def offered(self, device_id: str, open_codes: Sequence[str]) -> Sequence[Offered]:
        """Those that fit the device; first those that its open faults suggest."""
        declared = self._declared(device_id)
        found = [
            Offered(one, highest_class(one, declared), tuple(code for code in open_codes if code in one.codes))
            for one in self.definitions()
            if _wrong_for(one, declared) is None
        ]
        return sorted(found, key=lambda one: -len(one.suggested_by))

    def start(self, actor: Actor, device_id: str, name: str, given: Mapping[str, ParamValue], now: datetime) -> RunRead:
        """The first step is begun by the scheduler, within a second or so."""
        playbook = self.definition(name)
        _require_fit(playbook, given)
        hold_one(self._session, self._tenant_id, device_id)
        target = self._devices.command_target(device_id)
        if target.capability_digest is None:
            raise CapabilitiesUnknown(f"device {device_id} has not yet said what it can do")
        declared = {one.name: one for one in self._devices.declared_actions(target)}
        wrong = _wrong_for(playbook, declared)
        if wrong is not None:
            raise PlaybookNotForDevice(wrong)
        _require_allowed(actor, playbook, declared)
        running = self._rows.open_on(device_id)
        if running is not None:
            raise PlaybookRunning(f"playbook {running.playbook} is being walked on this device: {running.id}")
        row = _row(actor, playbook, device_id, given, highest_class(playbook, declared), now)
        row.tenant_id = self._tenant_id
        self._rows.add(row)
        data = {"run": row.id, "playbook": row.playbook, "version": row.version, "variables": dict(given)}
        record(self._session, actor, "playbook_started", device_id, data, now=now)
        self._announce(happenings.moved(row, "started", now, actor=actor.name), now)
        return self._whole(row)

    def cancel(self, actor: Actor, run_id: str, now: datetime) -> RunRead:
        """The present step is told to end; once it has, the walk is over."""
        row = self._rows.get(run_id)
        if row is None:
            raise PlaybookRunNotFound(run_id)
        hold_one(self._session, self._tenant_id, row.device_id)
        row = self._rows.get(run_id, locked=True) or row
        playbook = definition_of(row)
        target = self._devices.command_target(row.device_id)
        _require_allowed(actor, playbook, {one.name: one for one in self._devices.declared_actions(target)})
        if not row.is_open:
            raise PlaybookOver(f"this walk is over since {row.ended_at:%Y-%m-%d %H:%M} UTC")
        if row.cancel_asked_at is None:
            row.cancel_asked_at, row.cancel_asked_by, row.due_at = now, actor.name[:120], now
            record(self._session, actor, "playbook_cancelled", row.device_id, {"run": row.id}, now=now)
            self._announce(happenings.moved(row, "cancelling", now, actor=actor.name), now)
        return self._whole(row)

    def get(self, run_id: str) -> RunRead:
        row = self._rows.get(run_id)
        if row is None:
            raise PlaybookRunNotFound(run_id)
        return self._whole(row)

    def list(self, filters: RunFilters, cursor: str | None, limit: int) -> Page[RunRead]:
        """Newest first, without their steps."""
        rows = self._rows.newest_first(filters, None if cursor is None else _after(cursor), limit + 1)
        items = rows[:limit]
        last = items[-1] if len(rows) > limit else None
        following = None if last is None else encode_cursor(to_us(last.started_at), last.id)
        return Page([RunRead(row, []) for row in items], following)

    def _whole(self, row: PlaybookRun) -> RunRead:
        playbook, found = definition_of(row), self._devices.capabilities(row.device_id)
        declared = {} if found is None else {one.name: one for one in found.actions}
        grants, uses = grants_of(playbook, row.given, declared), uses_of(playbook, declared)
        return RunRead(row, self._rows.steps([row.id]), grants, uses)

    def _announce(self, event: NewEvent, now: datetime) -> None:
        self._outbound.announce(self._session, self._tenant_id, [], [event], now)

    def _declared(self, device_id: str) -> dict[str, Action]:
        self._devices.require(device_id)
        found = self._devices.capabilities(device_id)
        return {} if found is None else {one.name: one for one in found.actions}


def _require_fit(playbook: Playbook, given: Mapping[str, ParamValue]) -> None:
    wrong = [str(one) for one in check_given(playbook, given)]
    for name, value in given.items():
        if scrub(value).hits if isinstance(value, str) else is_card_value(value):
            wrong.append(f"{scrub(name).text}: expected no card data, came some")
    if wrong:
        raise PlaybookVariablesInvalid("; ".join(wrong)[:500])


def _wrong_for(playbook: Playbook, declared: Mapping[str, Action]) -> str | None:
    first = playbook.steps[0]
    if first.action and first.action not in declared:
        return f"{playbook.name} begins with {first.action}, which the device does not declare"
    for step in playbook.steps:
        action = declared.get(step.action)
        if action is not None and action.kind is not step.kind:
            return f"step {step.name}: {step.action} is a {action.kind} on this device, expected a {step.kind}"
        if action is not None and action.danger_class is DangerClass.SOFTWARE:
            return f"step {step.name}: {step.action} is of class 2 on this device, and a playbook names no artifact"
    return None


def _require_allowed(actor: Actor, playbook: Playbook, declared: Mapping[str, Action]) -> None:
    for permission in {NEEDED[declared[name].kind] for name in playbook.actions if name in declared}:
        if not actor.may(permission):
            raise RoleTooLow(permission, actor)


def _row(
    actor: Actor,
    playbook: Playbook,
    device_id: str,
    given: Mapping[str, ParamValue],
    danger_class: DangerClass,
    now: datetime,
) -> PlaybookRun:
    definition: dict[str, Any] = msgspec.to_builtins(playbook)
    return PlaybookRun(
        id=uuid7(now),
        tenant_id=actor.tenant_id,
        device_id=device_id,
        playbook=playbook.name,
        version=playbook.version,
        definition=definition,
        given=dict(given),
        danger_class=int(danger_class),
        started_by=actor.name[:120],
        starter_id=actor.id[:36],
        starter_kind=actor.kind.value,
        started_at=now,
        due_at=now,
    )


def _after(cursor: str) -> tuple[datetime, str]:
    started_us, run_id = decode_cursor(cursor, 2)
    if not isinstance(started_us, int) or not isinstance(run_id, str):
        raise CursorInvalid("cursor is not one of the list of walks")
    return from_us(started_us), run_id
