"""The whole agent without its hands: told what happened and when, it answers what to do.

    handle(event) ... -> settle() -> [commit] -> effects

Everything that events cause is collected; `settle` commits it in one transaction and only then gives out what may be
published or begun. Invariants: nothing that changes a device begins before its intent is durable; no record is
published before it is durable. A class 0 check is the one exception that changes nothing: it runs while intent and
result wait `CHECK_HOLD_S` for one another and go into one commit, and a crash in between simply runs it again when
the command is delivered again. Threads, sockets, files and clocks are the runner's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from device_agent.core.command_gate import USES, Accepted, AlreadyKnown, CommandGate, Refused, Standing
from device_agent.core.connection import Connection
from device_agent.core.consent import Tried
from device_agent.core.data_budget import DataBudget
from device_agent.core.declaration import Declaration, hello
from device_agent.core.effects import (
    Arrived,
    Carried,
    Effect,
    Event,
    JobDone,
    JobProgress,
    JobStarted,
    LinkDown,
    LinkUp,
    Noticed,
    Polled,
    Publish,
)
from device_agent.core.executions import Executions
from device_agent.core.identity import Identity
from device_agent.core.instant import Instant, earliest
from device_agent.core.live import Live
from device_agent.core.outbox import Outbox
from device_agent.core.pace import Pacing
from device_agent.core.ports import Dice, Store
from device_agent.core.records import Changes, RecordMaker
from device_agent.core.refusals import Refusals, glass_broken
from device_agent.core.session import Session, State
from device_agent.core.spool_readings import of_the_spool
from device_agent.core.trust import Trust
from device_agent.core.trusted_time import TrustedClock
from device_agent.core.turns import Moment, Turn
from device_agent.core.watch import DeviceSpec, Watch
from device_agent.drivers.results import FaultSign
from device_agent.families import SHOWING as SHOWING_FAMILIES
from protocol.commands import CONSENT
from protocol.errors import Malformed
from protocol.identifiers import DeviceId, ExecutionId, Nonce, SessionId
from protocol.records import RecordBody, SecurityEvent
from protocol.session import Flow, Hello, PresenceStatus, Welcome
from protocol.streams import Ack
from protocol.topics import Down, Up

# How long a check's intent waits for its result: longer than a quick check takes, shorter than a person notices.
CHECK_HOLD_S: Final = 0.02
SPOOL_SHED_CODE: Final = "agent.SPOOL_SHED"


class AgentCore:
    def __init__(
        self,
        identity: Identity,
        specs: Sequence[DeviceSpec],
        trust: Trust,
        floor: Flow,
        store: Store,
        dice: Dice,
        clock: TrustedClock,
        now: Instant,
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.trust = trust
        self._store = store
        self._dice = dice
        self.maker = RecordMaker(identity.boot)
        self._changes = Changes()
        self._effects: list[Effect] = []
        self.pacing = Pacing(floor, store.fact(Pacing.FACT))
        self.budget = DataBudget(identity.limits, store.fact(DataBudget.FACT))
        pace = self.budget.slowed(self.pacing.pace)
        self.watches = {spec.device: Watch(spec, pace, store.fact(f"faults/{spec.device}"), now) for spec in specs}
        self._definitions = definitions = {spec.device: spec.definitions for spec in specs}
        self._declaration = Declaration(specs, store.fact, self.maker.clean)
        self.session = Session(dice, self._hello, self.pacing.keepalive_s, trust.policy)
        self.connection = Connection(self.session, dice, now)
        self.connection.set_pace(self.pacing.flow)
        self.outbox = Outbox(store, dice, db_epoch=store.fact("db_epoch"))
        self.outbox.set_rate(self.pacing.flow.drain_records_per_s)
        self.gate = CommandGate(trust.policy, store.fact, dice.hex128)
        self.executions = Executions(definitions, store.journal(), self._displays, identity.hours, self._open_faults)
        self.refusals = Refusals()
        self.live = Live()
        self._told_time(now)
        self._changes.facts.update(dict.fromkeys(CommandGate.outlived(store.facts(USES), clock.now_ms(now))))
        self._apply(self.executions.recover(self._moment(now)), now)
        if trust.stop.is_stopped:
            self._apply(self.executions.stop(self._moment(now)), now)

    def handle(self, event: Event, now: Instant) -> None:
        match event:
            case JobDone():
                self._apply(self.executions.on_done(self.budget.beside(event), self._moment(now)), now)
            case JobStarted():
                self.executions.on_started(event.execution, event.serial, self._moment(now))
            case Arrived():
                self._arrived(event, now)
            case Polled():
                self._polled(event, now)
            case Noticed() if event.device in self.watches:
                self._watched(self.watches[event.device], self.watches[event.device].on_noticed(event, now), now)
            case JobProgress():
                self.live.on_progress(event, self.executions.device_of(event.execution))
            case Carried():
                self._carried(event, now)
            case LinkUp():
                self._effects += self.session.on_connected(now)
            case LinkDown():
                self.connection.on_lost(event, now)
                self.outbox.on_lost()
            case Noticed():
                pass  # A device that was taken out of the configuration.

    def tell(self, event: SecurityEvent, now: Instant) -> None:
        """What was found before the first event came."""
        self._add(self._own_device, [event], now)

    def tick(self, now: Instant) -> None:
        """What is due by time alone."""
        self._effects += self.connection.on_tick(now, self.clock.now_ms(now))
        self._effects += self.session.on_tick(now)
        self._apply(self.executions.on_tick(self._moment(now)), now)
        for watch in self.watches.values():
            self._watched(watch, watch.on_tick(now), now)
        self._add(self._own_device, self.refusals.on_tick(now), now)
        if self.session.state is State.ESTABLISHED:
            latest = {device: watch.sampler.latest for device, watch in self.watches.items()}
            self._effects += self.live.on_tick(latest, now)
            self._redeclare(now)
        self._changes.facts.update(self.clock.facts_due(now))

    def settle(self, now: Instant) -> list[Effect]:
        """Makes durable what must be, and gives out what may now be done."""
        if self._changes and not self._changes.is_held(now.monotonic_ns):
            changes, self._changes = self._changes, Changes()
            if self._store.commit(changes, self.clock.now_ms(now)):
                self._shed(now)
        effects, self._effects = self._effects, []
        sent = ((Up(one.kind.value), one.encoded) for one in self.outbox.pump(now))
        return [*effects, *(Publish(kind, encoded.payload, encoded.content_type) for kind, encoded in sent)]

    def _shed(self, now: Instant) -> None:
        """Records were given up: batches are cut anew, and the loss is a fault of this link until it has been quiet."""
        self.outbox.on_shed()
        own = self.watches[self._own_device]
        self._watched(own, own.faults.on_noticed([FaultSign(SPOOL_SHED_CODE, "no room for more records")], now), now)

    def next_due_ns(self) -> int | None:
        return earliest(
            self.connection.next_due_ns(),
            self.session.next_due_ns(),
            self.outbox.next_due_ns(),
            self.executions.next_due_ns(),
            self.refusals.next_due_ns(),
            *self._due_when_established(),
            self._changes.hold_until_ns if self._changes else None,
            *(watch.next_due_ns() for watch in self.watches.values()),
        )

    def goodbye(self) -> Publish | None:
        """The word on a clean stop, when there is anybody to hear it."""
        is_heard = self.session.state in {State.GREETING, State.ESTABLISHED}
        return self.session.presence(PresenceStatus.OFFLINE, "stopped") if is_heard else None

    def _arrived(self, event: Arrived, now: Instant) -> None:
        match event.kind:
            case Down.COMMAND:
                self._commanded(event.payload, now)
            case Down.ACK:
                ack = self.session.on_ack(event.payload, event.content_type)
                if ack is not None:
                    self.session.on_heard(now)
                    self._acknowledged(ack, now)
            case Down.WELCOME:
                was_established = self.session.state is State.ESTABLISHED
                welcome = self.session.on_welcome(event.payload, event.content_type, now)
                if welcome is not None:
                    self._welcomed(welcome, now, is_first=not was_established)
            case Down.FLOW:
                flow = self.session.on_flow(event.payload, event.content_type)
                if flow is not None:
                    self.outbox.on_heard()
                    self._paced(flow, now)
            case Down.TRUST:
                self._trusted(event, now)

    def _trusted(self, event: Arrived, now: Instant) -> None:
        was_stopped = self.trust.stop.is_stopped
        taken = self.trust.on_trust(event.payload, event.content_type)
        if taken is None:
            return
        if isinstance(taken, Malformed):
            self._add(self._own_device, self.refusals.add(f"trust.{taken.code}", taken.detail, now), now)
            return
        self.gate.policy = self.session.policy = self.trust.policy
        self._changes.facts.update(self.trust.facts)
        self._add(self._own_device, [taken], now)
        self._told_time(now)
        if self.trust.stop.is_stopped and not was_stopped:
            self._apply(self.executions.stop(self._moment(now)), now)

    def _told_time(self, now: Instant) -> None:
        if told := self.clock.on_policy(self.trust.policy, now):
            self.outbox.offset_ms = None
            self.budget.set_back(self.clock.now_ms(now))
        self._changes.facts.update(self.clock.facts_due(now))
        self._add(self._own_device, told, now)

    def _welcomed(self, welcome: Welcome, now: Instant, *, is_first: bool) -> None:
        """``is_first``: of its connection. One more answers a repeated hello and may be older than the newest ack."""
        if is_first:
            self.connection.on_established(now)
            self.outbox.on_established()
        self._acknowledged(welcome.ack, now)
        self._paced(welcome.flow, now)
        if welcome.want_capabilities:
            self._effects.append(self._declaration.asked())
        self._redeclare(now)

    def _acknowledged(self, ack: Ack, now: Instant) -> None:
        self.clock.on_signed_time(ack.server_time_ms, now)
        if self.session.is_welcomed_late:
            # The quickest answer so far tells it best.
            self.outbox.offset_ms = self.clock.offset_ms
        before = self.outbox.db_epoch
        result = self.outbox.on_ack(ack, now)
        for kind, upto in result.moved.items():
            self._store.acknowledge(kind, upto)
        for kind in result.conflicts:
            # The server has what this spool never numbered: an old copy of the file. No number may be used twice.
            self._store.renew_stream(kind, self._dice.hex128())
        if result.conflicts:
            self.outbox.on_renewed()
            self._effects += self.session.greet_again(now)
        if self.outbox.db_epoch != before:
            self._changes.facts["db_epoch"] = ack.db_epoch
        if result.went_back:
            self._effects += self.session.greet_again(now)

    def _paced(self, flow: Flow, now: Instant) -> None:
        self.live.on_flow(self.budget.allowed(flow), now)
        if not self.pacing.on_flow(flow):
            return
        self._changes.facts[Pacing.FACT] = self.pacing.to_text()
        self.connection.set_pace(flow)
        self.outbox.set_rate(flow.drain_records_per_s)
        self.session.asked_keepalive_s = self.pacing.keepalive_s
        self._set_pace(now)

    def _set_pace(self, now: Instant) -> None:
        for watch in self.watches.values():
            watch.sampler.set_pace(self.budget.slowed(self.pacing.pace), now)

    def _carried(self, event: Carried, now: Instant) -> None:
        if self.budget.on_carried(event.total_bytes, self.clock.now_ms(now)):
            self._set_pace(now)
        self._changes.facts.update(self.budget.to_save(is_last=event.is_last))

    def _commanded(self, payload: bytes, now: Instant) -> None:
        moment = self._moment(now)
        standing = Standing(
            tenant=self.identity.tenant,
            session_nonce=self.session.nonce if self.session.state is not State.IDLE else "",
            trusted_ms=moment.trusted_ms,
            devices=self._definitions,
            journalled=self.executions.known,
            is_stopped=self.trust.stop.is_stopped,
            highest_class=self.identity.highest_class,
        )
        decision = self.gate.decide(payload, standing)
        match decision:
            case Refused():
                events = self.refusals.add(f"command.{decision.refusal}", decision.detail, now)
                self._add(self._own_device, events, now)
                if decision.device is not None:
                    self._add(decision.device, self.executions.refuse(decision), now)
            case AlreadyKnown():
                device = self.executions.device_of(decision.execution)
                self._add(device or self._own_device, self.executions.answer_known(decision.execution), now)
            case Accepted() if decision.command.action == CONSENT:
                self._consented(decision, moment)
            case Accepted():
                turn = self.executions.accept(decision, moment)
                self._changes.facts.update(decision.facts)
                if decision.is_broken_glass:
                    self._add(self._own_device, [glass_broken(decision.command)], now)
                self._apply(turn, now, may_wait=not turn.is_durable)

    def _consented(self, accepted: Accepted, moment: Moment) -> None:
        """Each wrong try is told by itself: somebody may be guessing."""
        device, now = DeviceId(accepted.command.audience), moment.now
        execution, code = ExecutionId(str(accepted.params["execution"])), str(accepted.params["code"])
        self._changes.facts.update(accepted.facts)
        turn, tried = self.executions.try_code(execution, device, code, moment)
        if tried is Tried.BURNT:
            self._changes.facts.update(self.gate.burnt(device, moment.trusted_ms))
        if tried in {Tried.WRONG, Tried.BURNT}:
            self._add(device, self.refusals.add(f"consent.{tried.value}", f"execution {execution}", now), now)
        self._apply(turn, now)

    def _displays(self, device: DeviceId) -> list[DeviceId]:
        """The device itself, the terminal that the agent runs on, a printer beside it: what has a screen or paper."""
        wanted = [device, self._own_device, *self.watches]
        return [one for one in dict.fromkeys(wanted) if self.watches[one].spec.family in SHOWING_FAMILIES]

    def _open_faults(self, device: DeviceId) -> list[str]:
        return list(self.watches[device].faults.open_faults())

    def _polled(self, event: Polled, now: Instant) -> None:
        watch = self.watches.get(event.device)
        if watch is None:
            return
        facts = self._declaration.on_polled(event)
        if facts:
            self._changes.facts.update(facts)
            if self.session.state is State.ESTABLISHED:
                self._redeclare(now)
        is_own = event.device == self._own_device
        own = of_the_spool(self._store, self.clock.now_ms(now)) | self.budget.readings() if is_own else {}
        self._watched(watch, watch.on_polled(event, own, now), now)

    def _watched(self, watch: Watch, bodies: Sequence[RecordBody], now: Instant) -> None:
        if not bodies:
            return
        self._add(watch.spec.device, bodies, now)
        self._apply(self.executions.on_watched(watch.spec.device, bodies, self._moment(now)), now)
        faults = watch.changed_faults()
        if faults is not None:
            self._changes.facts[watch.fact_name] = faults

    def _apply(self, turn: Turn, now: Instant, *, may_wait: bool = False) -> None:
        rows = self.executions.changed_rows()
        for row in rows:
            self._changes.journal[row.execution] = row.encoded()
        # Bodies of one turn may concern executions of several devices only when one supersedes another: same device.
        for body in turn.bodies:
            device = self.executions.device_of(getattr(body, "execution", "") or "") or self._own_device
            self._changes.records += self.maker.spooled(device, body, now)
        self._effects += turn.effects
        if may_wait:
            self._changes.hold(now.in_s(CHECK_HOLD_S))
        elif rows or turn.bodies:
            self._changes.is_due = True

    def _add(self, device: DeviceId, bodies: Sequence[RecordBody], now: Instant) -> None:
        for body in bodies:
            self._changes.records += self.maker.spooled(device, body, now)
            self._changes.is_due = True

    @property
    def _own_device(self) -> DeviceId:
        return DeviceId(self.identity.link)

    def _moment(self, now: Instant) -> Moment:
        return Moment(now, self.clock.now_ms(now))

    def _redeclare(self, now: Instant) -> None:
        declared = self._declaration.unasked(now)
        if declared is not None:
            self._effects.append(declared)

    def _due_when_established(self) -> tuple[int | None, ...]:
        if self.session.state is not State.ESTABLISHED:
            return ()
        return self.live.next_due_ns(), self._declaration.next_due_ns()

    def _hello(self, nonce: Nonce, session: SessionId, now: Instant) -> Hello:
        self._declaration.greeted()
        return hello(
            boot=self.identity.boot,
            agent_version=self.identity.agent_version,
            unregistered=self.identity.unregistered,
            nonce=nonce,
            session=session,
            digest=self._declaration.digest,
            watches=self.watches.values(),
            positions=self._store.positions().values(),
            flow=self.pacing.flow,
            keepalive_s=self.session.keepalive_s,
            trusted_ms=self.clock.now_ms(now),
            trust=self.trust,
            now=now,
        )
