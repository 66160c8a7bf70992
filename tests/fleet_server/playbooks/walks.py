"""A fleet whose devices answer when a test says so, a playbook that its devices can be walked with, and a scheduler's
keeper that can die and be made anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine
from sqlmodel import col, select

from fleet_server.approvals.documents import AUTHORISED_BEFORE, Documents
from fleet_server.auth.models import User
from fleet_server.auth.roles import Actor, ActorKind, Role
from fleet_server.db import reading, transaction
from fleet_server.devices.repository import DeviceRepository
from fleet_server.devices.service import CapabilityCache, DeviceService
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.executions.models import Execution
from fleet_server.executions.outbound import Outbound
from fleet_server.kit.conflicts import Conflicts
from fleet_server.kit.identifiers import uuid7
from fleet_server.kit.times import to_ms
from fleet_server.playbooks.keeping import PlaybookKeeper
from fleet_server.playbooks.repository import PlaybookRepository
from fleet_server.playbooks.service import PlaybookService, RunRead
from fleet_server.signer.demo import NAME
from fleet_server.timeline.writer import NewEvent, append_events
from protocol import codec
from protocol.authorisations import Authorisation, AuthorisationKind
from protocol.commands import AUTHORISATION_TYPE, DangerClass
from protocol.parameters import ParamValue
from protocol.playbooks.language import Playbook
from protocol.playbooks.reading import read_playbook
from protocol.signing import sign
from tests.fleet_server.executions.conftest import APPROVER_KEY, COMMAND_KEY, Broker
from tests.fleet_server.factories import TENANT, Fleet, add_fleet
from tests.support.signing import signer_with

MORNING = datetime(2026, 3, 2, 1, tzinfo=UTC)
LIN = "id-lin"
# Checks the way, restarts the application when it is not there, waits, looks again, at most twice.
TEXT = """
name = "path_down"
version = 3
title = { zh = "路不通", en = "The way is down" }
symptom = { zh = "路不通", en = "The way is down" }
codes = ["term.HOST_TIMEOUT"]
longest_s = 7200

[[variables]]
name = "tries"
title = { zh = "次数", en = "Tries" }
start = 3
asked = true

[[steps]]
name = "path"
title = { zh = "看路", en = "See the way" }
check = "net.path"
params = { count = { variable = "tries" } }
within_s = 600
times = 3
spent = "host"
then = [
  { when = { verdict = ["pass"] }, go = "reads" },
  { when = { code = ["term.HOST_TIMEOUT"] }, go = "restart" },
  { go = "look" },
]

[[steps]]
name = "restart"
title = { zh = "重启应用", en = "Restart the application" }
fix = "app.restart"
because = { zh = "路不通", en = "the way is down" }
within_s = 1800
times = 3
spent = "host"
then = [{ when = { result = ["fixed"] }, go = "pause" }, { go = "host" }]

[[steps]]
name = "pause"
title = { zh = "等一等", en = "Wait" }
wait_s = 120
times = 3
spent = "host"
then = [{ go = "path" }]

[[steps]]
name = "reads"
title = { zh = "看读卡器", en = "See the readers" }
check = "reader.status"
within_s = 600
then = [{ when = { verdict = ["pass", "unsupported"] }, go = "echo" }, { go = "look" }]

[[steps]]
name = "echo"
title = { zh = "回声", en = "Echo" }
check = "agent.echo"
within_s = 600
then = [{ when = { verdict = ["pass"] }, go = "well" }, { go = "look" }]

[[ends]]
name = "well"
as = "nothing_wrong"
say = { zh = "好", en = "Well" }

[[ends]]
name = "host"
as = "handover"
to = "acquirer"
say = { zh = "问收单机构", en = "Ask the acquirer" }

[[ends]]
name = "look"
as = "undecided"
say = { zh = "看一看", en = "Have a look" }
"""


@dataclass
class Walks:
    engine: Engine
    fleet: Fleet
    broker: Broker
    dispatcher: Dispatcher
    playbook: Playbook
    at: datetime = MORNING
    keeper: PlaybookKeeper = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new scheduler's keeper: whatever the one before knew by heart is gone."""
        outbound = Outbound(self.broker, lambda: None)
        self.keeper = PlaybookKeeper(self.engine, CapabilityCache(), self.dispatcher, outbound, Conflicts())

    def in_service(self, work: Callable[[PlaybookService], RunRead], actor: Actor | None = None) -> RunRead:
        with transaction(self.engine, TENANT if actor is None else actor.reach) as session:
            devices = DeviceService(DeviceRepository(session, TENANT))
            outbound = Outbound(self.broker, lambda: None)
            return work(PlaybookService(session, TENANT, devices, outbound, {self.playbook.name: self.playbook}))

    def start(self, actor: Actor | None = None, given: dict[str, ParamValue] | None = None) -> str:
        who = actor or person()
        device = self.fleet.terminal
        return self.in_service(lambda service: service.start(who, device, "path_down", given or {}, self.at)).row.id

    def cancel(self, run_id: str) -> RunRead:
        return self.in_service(lambda service: service.cancel(person(), run_id, self.at))

    def permit(self, read: RunRead) -> str:
        """What an approver signs for the whole walk; its id."""
        document = Authorisation(
            id=uuid7(self.at),
            tenant=TENANT,
            kind=AuthorisationKind.SHIFT_PERMIT,
            requester=f"playbook {read.row.playbook}",
            grants=list(read.grants),
            danger_class=DangerClass.CHANGES,
            not_before_ms=to_ms(self.at - AUTHORISED_BEFORE),
            not_after_ms=to_ms(read.ends_by),
            max_count=read.uses,
            max_per_device=read.uses,
            targets=[read.row.device_id],
        )
        envelope = codec.to_json(sign(AUTHORISATION_TYPE, codec.to_json(document), [APPROVER_KEY])).decode()
        with transaction(self.engine, TENANT) as session:
            return Documents(session, TENANT).add_permit(envelope, self.dispatcher.policy(self.at), self.at).id

    def go(self, seconds: float = 1) -> None:
        """The scheduler's turns until then."""
        self.at += timedelta(seconds=seconds)
        while self.keeper.step(TENANT, self.at):
            pass

    def read(self, run_id: str) -> RunRead:
        with reading(self.engine) as session:
            rows = PlaybookRepository(session, TENANT)
            row = rows.get(run_id)
            assert row is not None
            return RunRead(row, rows.steps([run_id]))

    def names(self, run_id: str) -> list[str]:
        return [one.step for one in self.read(run_id).steps]

    def asked(self) -> list[Execution]:
        with reading(self.engine) as session:
            return list(session.exec(select(Execution).order_by(col(Execution.id))))

    def answer(self, outcome: str = "pass", state: str = "SUCCEEDED", *codes: str, found: bool = True) -> Execution:
        """What is asked ends so. ``found``: with the findings of its check."""
        with transaction(self.engine) as session:
            (row,) = session.exec(select(Execution).where(col(Execution.is_final).is_(False))).all()
            row.is_final, row.state, row.outcome, row.deadline_at = True, state, outcome or None, None
            row.finished_at = self.at
            if found:
                self._found(session, row, outcome, list(codes))
            return row

    def findings_come(self, outcome: str, *codes: str) -> None:
        with transaction(self.engine) as session:
            row = session.exec(select(Execution).order_by(col(Execution.id).desc())).first()
            assert row is not None
            self._found(session, row, outcome, list(codes))

    def _found(self, session: Any, row: Execution, outcome: str, codes: list[str]) -> None:
        phase = "post_check" if row.kind == "fix" else "result"
        data = {"phase": phase, "item": "tcp", "outcome": outcome or "error", "codes": codes, "value": 7.5}
        event = NewEvent(row.device_id, "verdict", self.at, data, execution_id=row.id)
        append_events(session, TENANT, [event], self.at)

    def change_person(self, **values: object) -> None:
        with transaction(self.engine) as session:
            row = session.get(User, LIN)
            assert row is not None
            for name, value in values.items():
                setattr(row, name, value)


def person(role: Role = Role.SUPPORT, *, name: str = "lin", id_: str = LIN) -> Actor:
    return Actor(id_, name, role, TENANT, ActorKind.PERSON)


def make_walks(engine: Engine, *, presence: str = "online") -> Walks:
    with transaction(engine) as session:
        fleet = add_fleet(session, presence=presence)
        session.add(User(id=LIN, tenant_id=TENANT, name="lin", password_hash="", role="support", created_at=MORNING))
    dispatcher = Dispatcher(signer_with(COMMAND_KEY, [(NAME, APPROVER_KEY)]), jitter=lambda: 0.0)
    return Walks(engine, fleet, Broker(), dispatcher, read_playbook(TEXT, "path_down.toml"))
