"""Whatever lets everybody in has lapsed, on a real broker: nobody gets in, a person is told why, and the commands of
docs/keys.md bring all back without a visit to a terminal. Each from a fresh installation.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from device_agent.adapters import clock
from device_agent.core.instant import Instant
from fleet_server.enrollment.authority import CRL_LIFE, ISSUING_LIFE, LEAF_LIFE
from fleet_server.kit.times import utc_now
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.integration.server.test_enrolment import (
    DEADLINE_S,
    SERVER,
    Site,
    Thief,
    _is_ready,
    link_of,
    running_agent,
    wait_for,
)
from tests.support.ageing import NONE, Ages, age
from tests.support.broker import free_port, running_mosquitto

pytestmark = pytest.mark.integration
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "keys.md").read_text("utf-8")
MINUTE = timedelta(minutes=1)
LAPSED_ISSUING = ISSUING_LIFE + MINUTE
LAPSED_OWN = LEAF_LIFE + MINUTE


def commands_of(heading: str) -> list[str]:
    """The lines of the first block of code below a heading of the page."""
    section = PAGE.split(f"#### {heading}\n", 1)[1].split("\n#", 1)[0]
    block = re.search(r"```sh\n(.*?)```", section, re.DOTALL)
    assert block is not None, heading
    return [line.partition(" #")[0].strip() for line in block[1].replace("\\\n", " ").splitlines() if line.strip()]


@dataclass
class House(Site):
    """An installation with its broker, server and safe, each of which can be stopped."""

    broker: ExitStack = field(default_factory=ExitStack)
    process: subprocess.Popen[bytes] | None = None

    @property
    def safe(self) -> Path:
        return self.folder / "safe"

    def start_broker(self) -> None:
        configuration = Path(self.installed["broker_config"])
        self.broker.enter_context(running_mosquitto(configuration, self.installed["mqtt_port"]))

    def start(self) -> None:
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen([*SERVER, "run", "--data", str(self.data)], stdout=log, stderr=log)
        wait_for(lambda: _is_ready(self.installed["url"]), "the server is ready")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
            self.process = None

    def grow_older(self, ages: Ages) -> None:
        """While all is off; then the broker is started again."""
        self.stop()
        self.broker.close()
        age(self.data, (self.safe / "ca-root.key").read_bytes(), ages)
        self.start_broker()

    def refusal(self, *words: str) -> str:
        """What a command says when it refuses."""
        command = [*SERVER, *words, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
        assert done.returncode == 2, done
        return done.stderr

    def drill(self, heading: str, **names: str) -> None:
        """As the page has it. ``names``: what stands in for its words in capitals."""
        for line in commands_of(heading):
            match shlex.split(line):
                case ["fleet-server", *words]:
                    places = {"/var/lib/tillmedic": str(self.data), "/media/safe": str(self.safe), **names}
                    subprocess.run([*SERVER, *(places.get(one, one) for one in words)], check=True)
                case ["systemctl", "reload", "mosquitto"]:
                    os.kill(int((self.data / "broker" / "state" / "mosquitto.pid").read_text()), signal.SIGHUP)
                case ["systemctl", "restart", "mosquitto"]:
                    self.broker.close()
                    self.start_broker()
                case ["systemctl", "restart", "fleet-server"]:
                    self.stop()
                    self.start()
                case _:
                    raise AssertionError(f"a drill has a command that no test can give: {line}")

    def is_welcome(self, bundle: Path) -> bool:
        return Thief(self, bundle).is_let_in()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """With the root's key in a safe; nothing of it runs yet."""
    fleet = small_fleet()
    fleet["devices"].append({**fleet["devices"][-1], "key": "till", "serial_number": "ES0000009", "terminal_id": None})
    (tmp_path / "fleet.json").write_text(json.dumps(fleet), "utf-8")
    data = tmp_path / "d"
    ports = ["--mqtt-port", str(free_port()), "--http-port", str(free_port())]
    words = ["init", "--data", str(data), "--fleet", str(tmp_path / "fleet.json"), *ports, "--json"]
    installed = json.loads(subprocess.run([*SERVER, *words], capture_output=True, check=True).stdout)
    made = House(data, installed, tmp_path)
    made.safe.mkdir()
    (data / "server" / "keys" / "ca-root.key").rename(made.safe / "ca-root.key")
    installed["token"] = json.loads(made.server("token", "tests", "--role", "operator", "--json"))["token"]
    try:
        yield made
    finally:
        made.stop()
        made.broker.close()


def carried(house: House, key: str = "esign1") -> Path:
    """A bundle of the fleet file, on its terminal."""
    bundle = house.folder / key
    (house.data / "agents" / key).rename(bundle)
    return bundle


def comes_online(house: House, bundle: Path, *, renews: bool = False) -> None:
    with running_agent(bundle) as agent:
        if renews:
            # Its trusted clock lags until it hears the server: it may learn that it has ended only by being refused.
            wait_for(partial(has_renewed, agent, bundle), "it has renewed")
        wait_for(lambda: house.presence(link_of(bundle)) == "online", f"{bundle.name} is online")


def has_renewed(agent: Any, bundle: Path) -> bool:
    """Now, or a moment ago by its own thread."""
    return bool(agent.renewer.look()) or (bundle / "state" / "identity.pem").exists()


def test_a_lapsed_issuing_certificate(house: House) -> None:
    bundle = carried(house)
    house.grow_older(Ages(NONE, LAPSED_ISSUING, LAPSED_OWN, CRL_LIFE, {bundle: LAPSED_OWN}))
    assert not house.is_welcome(bundle)
    assert "the certificates of this server ended" in house.refusal("run")
    assert "the issuing certificate ended" in house.refusal("init")
    assert "issuing: ended" in house.server("authority", "show")
    house.drill("The issuing certificate")
    assert not house.is_welcome(bundle)
    comes_online(house, bundle, renews=True)


def test_a_lapsed_root(house: House) -> None:
    bundle = carried(house)
    house.grow_older(Ages(timedelta(days=3651), LAPSED_ISSUING, LAPSED_OWN, CRL_LIFE, {bundle: LAPSED_OWN}))
    assert not house.is_welcome(bundle)
    said = house.refusal("rotate", "issuing", "--root", str(house.safe))
    assert "the root's certificate ended" in said
    assert "fleet-server authority root" in said
    before = (bundle / "ca.crt").read_bytes()
    house.drill("The root's certificate")
    assert not house.is_welcome(bundle)
    comes_online(house, bundle, renews=True)
    assert (bundle / "ca.crt").read_bytes() == before, "no terminal was visited"
    house.installed["token"] = json.loads(house.server("token", "more", "--role", "operator", "--json"))["token"]
    comes_online(house, house.enrol("ES0000302"))


def test_a_lapsed_list_of_revoked_certificates(house: House) -> None:
    bundle = carried(house)
    house.start_broker()
    assert house.is_welcome(bundle)
    house.grow_older(Ages(revoked=CRL_LIFE))
    assert not house.is_welcome(bundle)
    assert "revocation list: ended" in house.server("authority", "show")
    house.drill("The list of revoked certificates")
    wait_for(lambda: house.is_welcome(bundle), "it is let in")


def test_lapsed_certificates_of_broker_and_server_and_of_devices_that_slept(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long, too_long = (carried(house, key) for key in ("esign1", "gw1", "till"))
    slept = {short: NONE, long: timedelta(days=89), too_long: timedelta(days=91)}
    house.grow_older(Ages(own=LAPSED_OWN, devices={one: LAPSED_OWN + days for one, days in slept.items()}))
    said = house.refusal("run")
    assert "the certificates of this server ended" in said
    assert "fleet-server init" in said
    with running_agent(short) as agent:
        agent.runner.core.clock.on_signed_time(int(utc_now().timestamp() * 1000), clock.now())
        wait_for(lambda: agent.runner.core.connection.attempts >= 2, "it has tried twice")
        assert agent.renewer._refused() == 0, "that it does not believe the broker is nobody's refusal of it"
    house.drill("Certificates of broker and server")
    comes_online(house, short, renews=True)
    comes_back_with_a_persons_word(house, too_long)
    # Whether it has ended it cannot know: it is refused, and asks.
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: Instant(real().monotonic_ns, datetime(1970, 1, 1, tzinfo=UTC)))
    assert not house.is_welcome(long)
    with running_agent(long) as agent:
        wait_for(partial(has_renewed, agent, long), "it was refused often enough")
        wait_for(lambda: house.presence(link_of(long)) == "online", "it is online")


def comes_back_with_a_persons_word(house: House, bundle: Path) -> None:
    with running_agent(bundle) as agent:
        assert not agent.renewer.look()
        waiting = json.loads(house.server("enrolment", "list", "--state", "pending", "--json"))
        [asked] = [one["id"] for one in waiting if one["device_id"] == link_of(bundle)]
        house.drill("A device's certificate", ENROLMENT=asked)
        wait_for(partial(has_renewed, agent, bundle), "it has renewed")
        wait_for(lambda: house.presence(link_of(bundle)) == "online", "it is online")


def test_a_clock_that_was_years_ahead(house: House) -> None:
    bundle = carried(house)
    ahead = timedelta(days=-800)
    house.grow_older(Ages(issuing=ahead, own=ahead, revoked=ahead))
    assert not house.is_welcome(bundle)
    assert "set the clock" in house.refusal("run")
    assert "the issuing certificate is valid only from" in house.refusal("init")
    house.drill("A clock that was years off")
    comes_online(house, bundle)


def asked(house: House, bundle: Path, agent: Any) -> tuple[str, str]:
    """How a check ends, and why. Its device must have said what it can do."""
    link = link_of(bundle)
    wait_for(lambda: house.presence(link) == "online" and "test.quick" in house.actions(link), "it can be asked")
    run = house.ask("POST", "/api/v1/executions", {"device": link, "action": "test.quick", "params": {}})
    path = f"/api/v1/executions/{run['id']}"
    wait_for(lambda: house.ask("GET", path)["state"] in {"SUCCEEDED", "REJECTED"}, "it has ended")
    end = house.ask("GET", path)
    return end["state"], end["code"]


def test_terminals_that_were_told_a_time_in_the_future(house: House) -> None:
    bundle = carried(house)
    house.start_broker()
    house.start()
    ahead_ms = int((utc_now() + timedelta(days=30)).timestamp() * 1000)
    with running_agent(bundle) as agent:
        assert asked(house, bundle, agent) == ("SUCCEEDED", "")
        # As an answer of a server with a wrong clock says it.
        agent.runner.core.clock.on_signed_time(ahead_ms, clock.now())
        assert asked(house, bundle, agent) == ("REJECTED", "too_late")
        wait_for(lambda: str(ahead_ms)[:6] in agent.runner.core._store.fact("floor_ms"), "it is written down")
    places = {name: str(house.folder / name) for name in ("next.json", "next.signed")}
    root = {"/media/safe/root.seed": str(house.data / "server" / "keys" / "root.seed")}
    with running_agent(bundle) as agent:
        assert asked(house, bundle, agent) == ("REJECTED", "too_late")
        told = house.ask("GET", f"/api/v1/devices/{link_of(bundle)}/timeline?types=security")["items"]
        assert "agent.CLOCK_AHEAD" in {one["data"]["code"] for one in told}
        house.drill("Terminals that were told a time in the future", **places, **root)
        wait_for(lambda: agent.runner.core.clock.now_ms(clock.now()) < ahead_ms, "its clock was set back")
        assert asked(house, bundle, agent) == ("SUCCEEDED", "")
    # Nor does it come back with a restart, or with the copy of its files beside them.
    with running_agent(bundle) as agent:
        assert asked(house, bundle, agent) == ("SUCCEEDED", "")
