"""Everything of one run that is alive: database, broker, the server's processes and the agents, kept up from outside.

``tick`` must be called often: nothing here has a thread of its own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from simulators.api import ApiClient, ServerRefused
from simulators.broker import find_mosquitto
from simulators.demo.agent_files import point_bundle_at
from tests.chaos.history import History, HistoryReader
from tests.chaos.plan import AGENT_NAMES, API, BROKER, DATABASE, SCHEDULER, SIGNER, Fault, Plan
from tests.chaos.processes import REPOSITORY, Kept
from tests.chaos.site import Site, SiteUnusable

UP_WITHIN_S: Final = 90.0
QUOTA_MB: Final = 8
# What the spool asks for at its first start, and a little more.
DISK_MB: Final = 20
_POLL_S: Final = 0.05
_PYTHON: Final = (sys.executable, "-m")
_ISSUER: Final = "issuer"


class World:
    def __init__(self, site: Site, plan: Plan, ingest_module: str = "fleet_server") -> None:
        self.site = site
        self.plan = plan
        self.network = site.network
        self.said = site.furnish(plan)
        self.data = site.place / "data"
        self.cluster = site.database(plan)
        self.links = [self.said["devices"][name]["id"] for name in AGENT_NAMES]
        self.api = ApiClient(f"http://127.0.0.1:{site.http_port}", self.said["api_token"])
        self._disks: list[Path] = []
        self._begin = site.place / "begin"
        self._server = self._server_processes(ingest_module)
        self._agents = {name: self._agent(number) for number, name in enumerate(AGENT_NAMES)}
        self._readers = [HistoryReader(link, self._history(number)) for number, link in enumerate(self.links)]

    @property
    def database_url(self) -> str:
        return self.cluster.url if self.cluster else f"sqlite:///{self.data / 'server' / 'fleet.db'}"

    @property
    def is_database_held(self) -> bool:
        """Whoever asked it now would wait, and could not let it go."""
        return self.cluster is not None and bool(self.cluster.primary.held_still or self.cluster.primary.held_down)

    def process(self, name: str) -> Kept:
        if name == DATABASE and self.cluster is not None:
            return self.cluster.primary
        return {**self._server, **self._agents}[name]

    def users_of_the_database(self) -> list[Kept]:
        return [process for name, process in self._server.items() if name not in {BROKER, SIGNER}]

    def processes(self) -> list[Kept]:
        databases = self.cluster.processes() if self.cluster else []
        return [*databases, *self._server.values(), *self._agents.values()]

    def start(self) -> None:
        """The server's parts at once, then the agents, until each of them was heard."""
        for agent in self._agents.values():
            agent.held_down += 1
        if self.cluster is not None:
            self.cluster.open()
            if any(step.fault is Fault.FAILOVER for step in self.plan.steps):
                self.cluster.add_standby()
        self.await_that(self._is_ready, "the server to be ready")
        for agent in self._agents.values():
            agent.let_up()
        self.await_that(self._does_the_pipe_run, "every agent to be heard")

    def begin(self) -> None:
        """The agents make records from now on."""
        self._begin.touch()

    def tick(self) -> None:
        for process in self.processes():
            process.keep()

    def histories(self) -> list[History]:
        return [reader.read() for reader in self._readers]

    def await_that(self, holds: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + UP_WITHIN_S
        while not holds():
            if time.monotonic() > give_up_at:
                raise SiteUnusable(f"waited {UP_WITHIN_S:g} s in vain for {what}")
            self.tick()
            time.sleep(_POLL_S)

    def server_command(self, *words: str) -> subprocess.Popen[bytes]:
        """``fleet-server backup`` and the like."""
        with (self.site.logs / "commands.log").open("ab") as log:
            command = [*_PYTHON, "fleet_server", *words, "--data", str(self.data)]
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=REPOSITORY)

    def disk(self, agent: str) -> Path:
        return self.site.place / "state" / agent

    def set_clock(self, agent: str, *, days: float) -> None:
        """How wrong the agent's clock is."""
        beside = self._clock(agent).with_suffix(".new")
        beside.write_text(str(days), "ascii")
        beside.replace(self._clock(agent))

    def stop(self) -> None:
        databases = self.cluster.processes() if self.cluster else []
        # The database last, so that the others need not notice; what does not obey is killed.
        for group in ([*self._agents.values(), *self._server.values()], databases):
            for process in group:
                process.ask_to_end()
            for process in group:
                process.end()
        for disk in self._disks:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)

    def _server_processes(self, ingest_module: str) -> dict[str, Kept]:
        mosquitto = find_mosquitto()
        conf = Path(self.said["broker_config"])
        broker = Kept(BROKER, mosquitto.command(conf), self._log(BROKER), mosquitto.environment)
        # In the order of `fleet-server run`: who signs first, so that nobody who asks makes an issuer of its own.
        signing = [*_PYTHON, "fleet_server", SIGNER, "--folder", str(self.data / "signer")]
        made = {BROKER: broker, SIGNER: Kept(SIGNER, signing, self._log(SIGNER))}
        for number in range(1, self.plan.ingest_workers + 1):
            name = f"ingest-{number}"
            command = [*_PYTHON, ingest_module, "ingest", "--data", str(self.data), "--name", f"svc-fleet-{number}"]
            made[name] = Kept(name, command, self._log(name))
        for name in (_ISSUER, API, SCHEDULER):
            made[name] = Kept(name, [*_PYTHON, "fleet_server", name, "--data", str(self.data)], self._log(name))
        return made

    def _agent(self, number: int) -> Kept:
        name = AGENT_NAMES[number]
        bundle = Path(self.said["devices"][name]["bundle"])
        if not self.site.is_enclosed:
            point_bundle_at(bundle, self.network.port(number))
        state = self.disk(name)
        state.mkdir(parents=True)
        if self.site.is_enclosed:
            size = f"size={DISK_MB}m,mode=0700"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", str(state)], check=True)
            self._disks.append(state)
        configuration = bundle / "agent.toml"
        configuration.write_text(
            f'enrolment = "{bundle}"\nstate_dir = "{state}"\nprofile = "demo"\nquota_mb = {QUOTA_MB}\n'
            '[host]\nkind = "none"\n',
            "utf-8",
        )
        command = [*self.network.prefix(number), *_PYTHON, "tests.chaos.agent"]
        command += [str(configuration), "--history", str(self._history(number))]
        self.set_clock(name, days=0.0)
        command += [
            "--clock",
            str(self._clock(name)),
            "--records",
            str(self.plan.records_each),
            "--feed-s",
            str(self.plan.feed_s),
            "--begin",
            str(self._begin),
        ]
        return Kept(name, command, self._log(name))

    def _clock(self, agent: str) -> Path:
        return self.site.place / f"{agent}.clock"

    def _history(self, number: int) -> Path:
        return self.site.logs / f"{AGENT_NAMES[number]}.history"

    def _log(self, name: str) -> Path:
        return self.site.logs / f"{name}.log"

    def _does_the_pipe_run(self) -> bool:
        return all(any(one.acked().values()) for one in self.histories())

    def _is_ready(self) -> bool:
        """Ingest as well: what an agent says before anybody listens it says again only after 15 s."""
        ingest = [process for name, process in self._server.items() if name.startswith("ingest-")]
        if not all(process.has_reached(self.site.mqtt_port) for process in ingest):
            return False
        try:
            self.api.get("/readyz")
        except (ServerRefused, OSError, ValueError):
            return False
        return True
