"""The only wiring: configuration in, a runner ready to run out. Nothing else makes these objects or knows them all."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from device_agent import opening
from device_agent.actions import Definition
from device_agent.adapters import clock
from device_agent.adapters.control_socket import ControlSocket
from device_agent.adapters.guard import Guard, GuardedStore
from device_agent.adapters.held_targets import HeldTargets
from device_agent.adapters.identity_files import newest_files
from device_agent.adapters.mqtt_link import Broker, MqttLink
from device_agent.adapters.software_door import SoftwareDoor
from device_agent.adapters.spool import Spool
from device_agent.config import AgentConfig
from device_agent.control import Control
from device_agent.core.agent import AgentCore
from device_agent.core.backoff import DEFAULT_BASE_S, DEFAULT_CAP_S
from device_agent.core.data_budget import Limits
from device_agent.core.hours import Hours, minutes_of
from device_agent.core.identity import Identity
from device_agent.core.records import RecordMaker
from device_agent.core.trusted_time import FLOOR, Floor, TrustedClock
from device_agent.core.watch import DeviceSpec
from device_agent.drivers.measured import OF_THE_AGENT, OF_THE_BUDGET, metrics_of
from device_agent.errors import ConfigurationInvalid
from device_agent.families import TERMINAL
from device_agent.policy_files import kept_trust
from device_agent.renewal import Renewer
from device_agent.runner import EventQueue, Link, Runner
from device_agent.software.keeper import Bounds, SoftwareKeeper
from device_agent.worker import DevicePlan, DeviceWorker, LogSource
from protocol import codec
from protocol.commands import DangerClass
from protocol.identifiers import DeviceId, LinkId
from protocol.parameters import Words
from protocol.records import RecordBody, SecurityEvent
from protocol.session import Flow, Profile
from protocol.version import RELEASE

MIB: Final = 1024 * 1024
DEFAULT_DRAIN_RECORDS_PER_S: Final = 1000

# Keepalive, sample and report interval in seconds: the profiles of protocol version 1.
PACES: Final = {
    Profile.METERED: (600.0, 60.0, 1800.0),
    Profile.UNMETERED: (60.0, 60.0, 60.0),
    Profile.DEMO: (10.0, 5.0, 5.0),
}

DefinitionsFor = Callable[[str, str], tuple[Definition, ...]]
# How the link to the fleet is made; a recorder puts itself in the broker's place.
LinkMaker = Callable[[AgentConfig, LinkId, EventQueue], Link]


@dataclass(slots=True)
class Agent:
    """Everything that runs. `close` may be called from a signal handler's thread."""

    runner: Runner
    control: ControlSocket
    spool: Spool
    renewer: Renewer | None = None
    software: SoftwareKeeper | None = None

    def run(self) -> None:
        self.control.start()
        if self.renewer is not None:
            self.renewer.start()
        if self.software is not None:
            self.software.start()
        try:
            self.runner.run()
        finally:
            if self.software is not None:
                self.software.stop()
            if self.renewer is not None:
                self.renewer.stop()
            self.control.stop()
            self.spool.close()

    def stop(self) -> None:
        # A signal handler interrupts the very thread that reads the queue: it must not wait for the queue's lock.
        threading.Thread(target=self.runner.events.stop, name="stop", daemon=True).start()


def build(
    config: AgentConfig, definitions_for: DefinitionsFor | None = None, make_link: LinkMaker | None = None
) -> Agent:
    """Raises AgentError with a sentence for people when something that is needed is not there."""
    _make_private(config.state_folder)
    boot = clock.host_boot()
    started = clock.now()
    who = config.who
    link = LinkId(who.link)
    maker = RecordMaker(boot)

    def wrap(body: RecordBody) -> bytes:
        return codec.to_json(maker.record(DeviceId(link), body, clock.now()))

    spool = Spool(config.spool_file, wrap, quota_bytes=config.quota_mb * MIB)
    store = GuardedStore(spool, _guard(config.guard_folder))
    set_right = store.reconcile()
    trust = kept_trust(config, store)
    events = EventQueue()
    later = _Later()
    software = _software(config, later)
    plans, specs = _devices(config, definitions_for or _registry(config, software), boot)
    highest = DangerClass(config.highest_class)
    identity = Identity(
        link, who.tenant, boot, RELEASE, _unregistered(config), highest, _hours(config), _limits(config)
    )
    trusted = TrustedClock.starting(
        started, persisted=Floor.from_text(spool.fact(FLOOR)), newest_record_ms=spool.newest_record_ms()
    )
    core = AgentCore(identity, specs, trust, _floor(config.profile), store, clock.system_dice(), trusted, started)
    if set_right:
        core.tell(SecurityEvent("state.set_back", set_right), started)
    later.core = core
    core.gate.held = HeldTargets(config.state_folder / "targets").held if software is None else software.held
    workers = {plan.device: DeviceWorker(plan, events.put) for plan in plans}
    to_fleet = (make_link or _link)(config, link, events)
    runner = _runner(core, to_fleet, workers, events, spool)
    control = Control(runner, spool) if software is None else Control(runner, spool, software.standing)
    renewer = _renewer(config, core, to_fleet) if isinstance(to_fleet, MqttLink) else None
    return Agent(runner, ControlSocket(config.control_socket, control.ask), spool, renewer, software)


def _runner(
    core: AgentCore, to_fleet: Link, workers: dict[DeviceId, DeviceWorker], events: EventQueue, spool: Spool
) -> Runner:
    if isinstance(to_fleet, MqttLink):
        return Runner(core, to_fleet, workers, events, clock.now, spool.tidy, to_fleet.carried.total)
    return Runner(core, to_fleet, workers, events, clock.now, spool.tidy)


@dataclass(slots=True)
class _Later:
    """The core, for whoever is made before it and asks it only while it runs."""

    core: AgentCore | None = None

    def now_ms(self) -> int:
        return 0 if self.core is None else self.core.clock.now_ms(clock.now())

    def artifact_root(self) -> str | None:
        return None if self.core is None else self.core.gate.policy.artifact_roots.get(self.core.identity.tenant)


def _software(config: AgentConfig, later: _Later) -> SoftwareKeeper | None:
    """None without a server's address, as bundles of before have none: then somebody carries files."""
    who = config.who
    if not who.server_url:
        return None
    door = SoftwareDoor(who.server_url, config.bundle, config.state_folder, who.link, later.now_ms)
    bounds = Bounds(config.software.quota_mb * MIB, config.software.daily_mb * MIB)
    return SoftwareKeeper(
        config.state_folder / "software",
        config.guard_folder / "software",
        door,
        later.artifact_root,
        later.now_ms,
        clock.system_dice(),
        bounds,
    )


def _renewer(config: AgentConfig, core: AgentCore, link: MqttLink) -> Renewer:
    now_ms = partial(_now_ms, core)
    return Renewer(config, now_ms, partial(_refused, link), link.renew, clock.system_dice())


def _now_ms(core: AgentCore) -> int:
    return core.clock.now_ms(clock.now())


def _refused(link: MqttLink) -> int:
    return link.refused


def _devices(
    config: AgentConfig, definitions_for: DefinitionsFor, boot: str
) -> tuple[list[DevicePlan], list[DeviceSpec]]:
    who = config.who
    own = DeviceId(who.link)
    family = opening.family_of_host(config)
    own_class = who.terminal_class
    host_boot = "" if family == TERMINAL else boot
    log = _log(config, own_class)
    plans = [DevicePlan(own, own_class, config.host.poll_s, opening.host(config), host_boot, log)]
    actions = _named(config, definitions_for, family, own_class)
    measured = (*metrics_of(family, own_class), *OF_THE_AGENT)
    if config.data.day_mb or config.data.month_mb:
        measured = (*measured, *OF_THE_BUDGET)
    specs = [DeviceSpec(own, family, own_class, actions, metrics=measured, model=who.model or "")]
    for line in config.lines:
        if line.name not in who.attached:
            continue
        device = DeviceId(who.attached[line.name])
        its_class = line.terminal_class or own_class
        plans.append(DevicePlan(device, its_class, line.poll_s, opening.on_line(config, line)))
        actions = _named(config, definitions_for, line.driver, its_class)
        measured = metrics_of(line.driver, its_class)
        specs.append(DeviceSpec(device, line.driver, its_class, actions, line.name, measured))
    return plans, specs


def _named(
    config: AgentConfig, definitions_for: DefinitionsFor, family: str, terminal_class: str
) -> dict[str, Definition]:
    limit_s = config.soak_limit_s
    definitions = definitions_for(family, terminal_class)
    if limit_s is not None:
        definitions = tuple(with_soak_limit(definition, limit_s) for definition in definitions)
    return {definition.declared.name: definition for definition in definitions}


def with_soak_limit(definition: Definition, limit_s: float) -> Definition:
    """The same action with a soak of at most ``limit_s``, declared as such."""
    declared = definition.declared
    if declared.soak_s <= limit_s:
        return definition
    return dataclasses.replace(definition, declared=msgspec.structs.replace(declared, soak_s=limit_s))


def _hours(config: AgentConfig) -> Hours | None:
    if not config.maintenance_window:
        return None
    from device_agent.adapters.time_zone import offset_of

    return Hours(*minutes_of(config.maintenance_window), offset_of(config.time_zone))


def _limits(config: AgentConfig) -> Limits:
    if not (config.data.day_mb or config.data.month_mb):
        return Limits()
    from device_agent.adapters.time_zone import offset_of

    return Limits(config.data.day_mb * MIB, config.data.month_mb * MIB, offset_of(config.time_zone))


def _unregistered(config: AgentConfig) -> tuple[str, ...]:
    return tuple(line.name for line in config.lines if line.name not in config.who.attached)


def _log(config: AgentConfig, terminal_class: str) -> LogSource | None:
    if not config.app.log:
        return None
    from device_agent.adapters.app_log import AppLog

    app = config.app
    place = config.state_folder / "app_log.place"
    return AppLog(config.file(app.log), terminal_class, app.acquirer_profile or None, place_file=place)


def _registry(config: AgentConfig, software: SoftwareKeeper | None) -> DefinitionsFor:
    from device_agent.registry import definitions_for, software_definitions
    from device_agent.settable_values import STANDARD_VALUES, SettableValue

    values = tuple(SettableValue(one.name, Words(one.zh, one.en), one.pattern) for one in config.values)

    def found(family: str, terminal_class: str) -> tuple[Definition, ...]:
        known = definitions_for(family, terminal_class, values or STANDARD_VALUES)
        return known if software is None else (*known, *software_definitions(family, software))

    return found


def _link(config: AgentConfig, link: LinkId, events: EventQueue) -> MqttLink:
    files = {"ca": config.bundled("ca.crt"), "cert": config.bundled("client.crt"), "key": config.bundled("client.key")}
    for path in files.values():
        if not os.access(path, os.R_OK):
            raise ConfigurationInvalid(f"enrolment: expected a readable {path.name} in the bundle, came none: {path}")
    broker = config.who.broker
    newest = partial(newest_files, files["cert"], files["key"], config.state_folder, config.who.link)
    return MqttLink(link, Broker(broker.host, broker.port, **files, newest=newest), events.put)


def _floor(profile: Profile) -> Flow:
    """The pace of a profile until the server has said another."""
    keepalive_s, sample_s, report_s = PACES[profile]
    return Flow(
        profile=profile,
        keepalive_s=keepalive_s,
        sample_s=sample_s,
        report_s=report_s,
        drain_records_per_s=DEFAULT_DRAIN_RECORDS_PER_S,
        reconnect_base_s=DEFAULT_BASE_S,
        reconnect_cap_s=DEFAULT_CAP_S,
    )


def _guard(folder: Path) -> Guard:
    try:
        return Guard(folder)
    except OSError as error:
        raise ConfigurationInvalid(
            f"guard_dir: expected a folder of one's own, came {error.strerror}: {folder}"
        ) from error


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise ConfigurationInvalid(
            f"state_dir: expected a folder of one's own, came {error.strerror}: {folder}"
        ) from error
