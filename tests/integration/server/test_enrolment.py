"""Enrolment, renewal and retirement with real parts: server processes, mosquitto, agents as people start them."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from device_agent.adapters.enrolment_door import EnrolmentFailed
from device_agent.bootstrap import build
from device_agent.config import load
from device_agent.core.session import State
from device_agent.renewal import REFUSED_BEFORE_ASKING
from fleet_server.db import open_engine, reading
from fleet_server.devices.models import Device
from fleet_server.issuer.folder import AuthorityPlaces, load_authority
from fleet_server.settings import load_settings
from protocol import codec
from protocol import mqtt_packets as packets
from protocol.broker_rules import MAX_PACKET_BYTES
from protocol.session import Presence, PresenceStatus
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.integration.agent.actions import definitions_for
from tests.support.broker import free_port, running_mosquitto

pytestmark = pytest.mark.integration
DEADLINE_S = 90.0
SERVER, AGENT = [sys.executable, "-m", "fleet_server"], [sys.executable, "-m", "device_agent"]


@dataclass
class Site:
    data: Path
    installed: dict[str, Any]
    folder: Path
    figures: dict[str, float] = field(default_factory=dict)

    def server(self, *words: str) -> str:
        command = [*SERVER, *words, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.installed['token']}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.installed["url"] + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return json.load(answer)

    @property
    def site_id(self) -> str:
        return str(self.ask("GET", "/api/v1/devices")["items"][0]["site"]["id"])

    def enrol(self, serial: str) -> Path:
        """The bundle of a device that enrolled itself."""
        asked = ["enrolment", "code", serial, "A920", "--class", "e_sign", "--site", self.site_id, "--json"]
        made = json.loads(self.server(*asked))
        bundle = self.folder / serial
        words = ["enroll", "--server", made["server"], "--code", made["code"], "--bundle", str(bundle)]
        subprocess.run([*AGENT, *words, "--serial", serial, "--model", "A920"], check=True, capture_output=True)
        return bundle

    def actions(self, link: str) -> list[str]:
        """What the device has declared so far."""
        known = self.ask("GET", f"/api/v1/devices/{link}")["capabilities"]
        return [str(one["name"]) for kind in ("checks", "tests", "fixes") for one in known[kind]]

    def presence(self, link: str) -> str:
        return str(self.ask("GET", f"/api/v1/devices/{link}")["presence"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("e")
    (folder / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    data = folder / "d"
    ports = ["--mqtt-port", str(free_port()), "--http-port", str(free_port())]
    words = ["init", "--data", str(data), "--fleet", str(folder / "fleet.json"), *ports, "--json"]
    installed = json.loads(subprocess.run([*SERVER, *words], capture_output=True, check=True).stdout)
    with running_mosquitto(Path(installed["broker_config"]), installed["mqtt_port"]):
        log = (folder / "log").open("w")
        process = subprocess.Popen([*SERVER, "run", "--data", str(data)], stdout=log, stderr=log)
        made = Site(data, installed, folder)
        try:
            wait_for(lambda: _is_ready(installed["url"]), "the server is ready")
            token = made.server("token", "tests", "--role", "operator", "--json")
            installed["token"] = json.loads(token)["token"]
            yield made
        finally:
            process.terminate()
            process.wait(DEADLINE_S)
            log.close()


def _is_ready(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def wait_for(condition: Callable[[], bool], what: str) -> float:
    """How long it took, in seconds."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() < began_s + DEADLINE_S, f"waited in vain: {what}"
        time.sleep(0.05)
    return time.monotonic() - began_s


def link_of(bundle: Path) -> str:
    return str(json.loads((bundle / "enrolment.json").read_text("utf-8"))["link"])


@contextmanager
def running_agent(bundle: Path) -> Iterator[Any]:
    config = bundle / "agent.toml"
    config.write_text('enrolment = "."\nprofile = "demo"\n[host]\nkind = "none"\n', "utf-8")
    agent = build(load(config), definitions_for)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


class Thief:
    """Whoever has a device's files and speaks for it: one connection held open, others tried again and again."""

    def __init__(self, site: Site, bundle: Path) -> None:
        self.link = link_of(bundle)
        self._address = ("127.0.0.1", site.installed["mqtt_port"])
        self._context = ssl.create_default_context(cafile=str(bundle / "ca.crt"))
        self._context.load_cert_chain(bundle / "client.crt", bundle / "client.key")
        self.topic = f"fleet/v1/{self.link}/up/presence"
        self.payload = codec.encode(Presence("ab" * 16, PresenceStatus.ONLINE, "x")).payload

    def enter(self) -> ssl.SSLSocket:
        """Raises ``OSError`` when it is not let in."""
        raw = socket.create_connection(self._address, 5)
        try:
            link = self._context.wrap_socket(raw, server_hostname="127.0.0.1")
        except OSError:
            raw.close()
            raise
        try:
            link.settimeout(5)
            link.sendall(packets.connect(self.link, 60, max_packet_bytes=MAX_PACKET_BYTES))
            if link.recv(4)[:1] != b"\x20":
                raise ConnectionResetError("no CONNACK")
        except OSError:
            link.close()
            raise
        return link

    def is_let_in(self) -> bool:
        """Raises ``TimeoutError`` of a broker that is only slow: that would be no refusal."""
        try:
            self.enter().close()
        except (ssl.SSLError, ConnectionError) as refused:
            if isinstance(refused, TimeoutError):
                raise
            return False
        return True


def test_a_device_enrols_itself_is_renewed_while_it_runs_and_comes_back_with_the_new_one(site: Site) -> None:
    bundle = site.enrol("ES0000101")
    link = link_of(bundle)
    assert {path.stat().st_mode & 0o777 for path in bundle.iterdir()} == {0o600}
    with running_agent(bundle) as agent:
        wait_for(lambda: site.presence(link) == "online", "the device is online")
        before = agent.runner.core.session.id
        agent.renewer._refused = lambda: 99
        assert agent.renewer.look()
        renewed = bundle / "state" / "identity.pem"
        assert renewed.stat().st_mode & 0o777 == 0o600
        assert renewed.read_bytes() != (bundle / "client.key").read_bytes() + (bundle / "client.crt").read_bytes()
        session = agent.runner.core.session
        # What the server shows may be the presence of the session before, and comes before the welcome: that ends it.
        wait_for(lambda: session.id != before and session.state is State.ESTABLISHED, "the server welcomes it anew")
        wait_for(lambda: site.presence(link) == "online", "the device is online again")
    # The bundle's own key has been replaced: it proves nothing any more.
    (renewed).unlink()
    with running_agent(bundle) as agent:
        agent.renewer._refused = lambda: 99
        with pytest.raises(EnrolmentFailed, match="not of the key"):
            agent.renewer.look()


def test_a_stolen_terminal_is_shut_out_within_the_time_that_is_promised(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    bundle = site.enrol("ES0000102")
    thief = Thief(site, bundle)
    live = thief.enter()
    live.sendall(packets.publish(thief.topic, thief.payload, 1, 1, "application/json"))
    wait_for(lambda: last_heard(site, thief.link) is not None, "ingest hears it while it may speak")
    began_s = time.monotonic()
    began = datetime.now(UTC)
    site.ask("POST", f"/api/v1/devices/{thief.link}/retirement", {"reason": "stolen", "note": "from the counter"})

    cut_s: list[float] = []
    holding = threading.Thread(target=_hold, args=(live, thief, began_s, cut_s))
    holding.start()

    # A connection that is let in would throw the open one out: only from when the open one is gone others are tried.
    holding.join(DEADLINE_S)
    assert not thief.is_let_in()
    wait_for(
        lambda: site.ask("GET", f"/api/v1/devices/{thief.link}/retirement")["enforced_at"] is not None, "it is true"
    )
    heard_at = last_heard(site, thief.link)
    assert heard_at is not None
    heard_s = (heard_at - began).total_seconds()
    record_property("live session cut after s", round(cut_s[0], 3))
    sys.stdout.write(f"live session cut after {cut_s[0]:.3f} s, data taken until {heard_s:.3f} s\n")
    assert cut_s[0] <= 60
    assert heard_s <= 5
    rules = (site.data / "broker" / "acl").read_text("utf-8")
    assert f"user {thief.link}\ntopic deny fleet/v1/{thief.link}/#" in rules
    # Installing again, as an upgrade does, lets nobody in again.
    site.server("init")
    assert (site.data / "broker" / "acl").read_text("utf-8") == rules
    assert not thief.is_let_in()


def last_heard(site: Site, link: str) -> datetime | None:
    engine = open_engine(load_settings(site.data).database_url)
    with reading(engine) as session:
        row = session.get(Device, link)
        assert row is not None
        heard_at = row.last_seen_at
    engine.dispose()
    return heard_at


def test_new_connections_are_refused_within_five_seconds(
    site: Site, record_property: Callable[[str, object], None]
) -> None:
    thief = Thief(site, site.enrol("ES0000103"))
    assert thief.is_let_in()
    began_s = time.monotonic()
    site.ask("POST", f"/api/v1/devices/{thief.link}/retirement", {"reason": "compromised"})
    wait_for(lambda: not thief.is_let_in(), "it is refused")
    refused_s = time.monotonic() - began_s
    record_property("new connections refused after s", round(refused_s, 3))
    sys.stdout.write(f"new connections refused after {refused_s:.3f} s\n")
    assert refused_s <= 5
    assert not any(thief.is_let_in() for _ in range(3)), "and stays so"


def test_drill_after_a_stolen_issuing_key_nothing_forged_is_let_in_and_devices_come_back_by_their_own_keys(
    site: Site,
) -> None:
    """The commands of docs/operator.md, in their order."""
    bundle = site.enrol("ES0000104")
    link = link_of(bundle)
    stolen = load_authority(AuthorityPlaces(site.data / "server" / "keys", site.data / "server" / "issuer"))
    forged = site.folder / "forged"
    forged.mkdir()
    for name in ("ca.crt", "enrolment.json"):
        (forged / name).write_bytes((bundle / name).read_bytes())
    made = stolen.issue_link(link, datetime.now(UTC))
    (forged / "client.crt").write_bytes(made.certificate_pem)
    (forged / "client.key").write_bytes(made.key_pem)
    assert Thief(site, forged).is_let_in(), "whoever has the issuing key has every name"

    site.server("authority", "issuing", "--lost")
    site.server("init")
    wait_for(lambda: not Thief(site, forged).is_let_in(), "the forged one is refused")
    assert not Thief(site, bundle).is_let_in()
    with running_agent(bundle) as agent:
        # Refused again and again, it asks for another certificate by itself.
        wait_for(lambda: agent.renewer._refused() >= REFUSED_BEFORE_ASKING, "the agent is refused")
        assert agent.renewer.look()
        wait_for(lambda: site.presence(link) == "online", "the device is online again")
    assert not Thief(site, forged).is_let_in()


def _hold(live: ssl.SSLSocket, thief: Thief, began_s: float, cut_s: list[float]) -> None:
    """Goes on speaking until the broker ends it."""
    live.settimeout(0.1)
    mid = 1
    while True:
        try:
            mid += 1
            live.sendall(packets.publish(thief.topic, thief.payload, 1, mid % 60000 + 1, "application/json"))
            if live.recv(4096) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
        time.sleep(0.05)
    cut_s.append(time.monotonic() - began_s)
    live.close()
