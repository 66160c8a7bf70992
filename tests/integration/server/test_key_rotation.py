"""Every kind of key is replaced by its one command while one agent is online and another sleeps: neither is visited."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from device_agent.bootstrap import build
from device_agent.config import load
from fleet_server.__main__ import make_app
from fleet_server.approvals.keys import make_key, read_key
from fleet_server.enrollment.ceremony import CeremonyRefused, present_policy
from fleet_server.kit.times import utc_now
from fleet_server.mqtt import ServerLink
from fleet_server.settings import load_settings
from fleet_server.signer.client import SignerClient
from fleet_server.signer.keys import load_key
from protocol import codec
from protocol.commands import COMMAND_TYPE, Command, DangerClass
from protocol.identifiers import LinkId
from protocol.signing import SigningKey, sign
from protocol.topics import Down, down
from tests.integration.agent.actions import definitions_for
from tests.integration.server.test_enrolment import SERVER, Site, link_of, site, wait_for

pytestmark = pytest.mark.integration
__all__ = ["site"]
WORDS = "a passphrase of words"


@dataclass
class Keys:
    """What people hold: the root's keys and an approver's, on another machine than the server."""

    site: Site
    folder: Path
    root: list[Path] = field(default_factory=list)

    def rotate(self, *words: str, with_root: bool = True) -> str:
        files = [f"--root-key={path}" for path in self.root] if with_root else []
        words_file = [f"--passphrase-file={self.folder / 'words'}"] if with_root else []
        return self.run("rotate", *words, *files, *words_file, "--data", str(self.site.data))

    def run(self, *words: str) -> str:
        """As typed, in this process. Raises what was refused."""
        done = CliRunner().invoke(make_app(), words)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def make(self, name: str) -> Path:
        make_key(self.folder / name, WORDS)
        return self.folder / name

    def public(self, name: str) -> str:
        return read_key(self.folder / name, WORDS).public_hex

    def policy(self) -> Any:
        return present_policy(load_settings(self.site.data))

    def is_with_signer(self) -> bool:
        """It takes what was imported within seconds."""
        with closing(SignerClient(load_settings(self.site.data).signer_socket_path)) as signer:
            return bool(signer.policy(utc_now()).version == self.policy().version)


@pytest.fixture(scope="module")
def keys(site: Site) -> Keys:
    """The root's key is taken away first, as the operator's page says, and an approver is named."""
    folder = site.folder / "away"
    folder.mkdir()
    (folder / "words").write_text(WORDS, "utf-8")
    (site.data / "server" / "keys" / "root.seed").rename(folder / "root.seed")
    made = Keys(site, folder, [folder / "root.seed"])
    made.make("mei.pem")
    draft, signed = str(folder / "draft"), str(folder / "signed")
    data = ["--data", str(site.data)]
    made.run("policy", "draft", "--draft", draft, f"--add-approver=mei={made.public('mei.pem')}", *data)
    made.run("policy", "sign", "--draft", draft, "--signed", signed, "--root-key", str(made.root[0]), "--yes")
    made.run("policy", "import", "--signed", signed, *data)
    return made


@contextmanager
def running(bundle: Path) -> Iterator[Any]:
    """With a terminal of its own kind, so that there are actions to run on it."""
    config = bundle / "agent.toml"
    host = '[host]\nkind = "terminal"\nsocket = "nobody.sock"\npoll_s = 0.2\n'
    config.write_text(f'enrolment = "."\nprofile = "demo"\nsoak_limit_s = 0.1\n{host}', "utf-8")
    agent = build(load(config), definitions_for)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(20)
        assert not thread.is_alive()


def ask(site: Site, link: str, action: str, **params: str) -> str:
    return str(site.ask("POST", "/api/v1/executions", {"device": link, "action": action, "params": params})["id"])


def state(site: Site, execution: str) -> str:
    return str(site.ask("GET", f"/api/v1/executions/{execution}")["state"])


def is_checked(site: Site, link: str) -> bool:
    """One check, from the button to the verdict."""
    wait_for(lambda: "test.quick" in site.actions(link), "the server knows what it can do")
    execution = ask(site, link, "test.quick")
    wait_for(lambda: state(site, execution) == "SUCCEEDED", "the check has run")
    return True


def send(site: Site, link: str, key: SigningKey) -> None:
    """A check in a stranger's hands: the broker lets a thief of the server through."""
    settings = load_settings(site.data)
    now_ms = int(time.time() * 1000)
    command = Command(
        version=1,
        audience=link,
        tenant="default",
        execution="0198d0a0-0000-7000-8000-00000000dead",
        action="test.quick",
        danger_class=DangerClass.READS,
        params={},
        issued_at_ms=now_ms,
        not_after_ms=now_ms + 60_000,
        counter=2**40,
    )
    courier = ServerLink(settings, "svc-api-2", lambda _message: None)
    courier.start()
    try:
        wait_for(lambda: courier.is_connected, "the thief is connected")
        envelope = codec.to_json(sign(COMMAND_TYPE, codec.to_json(command), [key]))
        courier.publish(down(LinkId(link), Down.COMMAND), envelope, 1)
    finally:
        courier.stop()


def security(site: Site, link: str) -> list[str]:
    items = site.ask("GET", f"/api/v1/devices/{link}/timeline?types=security&limit=100")["items"]
    return [str(one["data"].get("code", "")) for one in items]


@dataclass
class Former:
    """Keys of before: what a thief may have."""

    command: SigningKey
    server: SigningKey
    issuing: bytes

    @classmethod
    def of(cls, site: Site) -> Former:
        server = site.data / "server"
        chain = (server / "issuer" / "issuing.crt").read_bytes()
        return cls(load_key(site.data / "signer" / "command.seed"), load_key(server / "keys" / "server.seed"), chain)


def test_all_keys_are_replaced_and_a_link_that_slept_through_it_comes_back(site: Site, keys: Keys) -> None:
    awake, sleeper, former = site.enrol("ES0000201"), site.enrol("ES0000202"), Former.of(site)
    with running(sleeper):
        assert is_checked(site, link_of(sleeper))
    with running(awake) as agent:
        assert is_checked(site, link_of(awake))
        replace_online_keys(site, keys, former, agent, link_of(awake))
        replace_people(keys, agent)
        replace_certificates(site, keys, former)
        assert is_checked(site, link_of(awake))
    with running(sleeper) as agent:
        wait_for(lambda: agent.runner.core.trust.policy.version == keys.policy().version, "it has all policies")
        assert is_checked(site, link_of(sleeper))
        wait_for(keys.is_with_signer, "the signer goes by the last policy too")
        execution = ask(site, link_of(sleeper), "test.mend", folder=str(sleeper))
        assert approve(site, keys, execution, "mei.pem") == 2
        assert approve(site, keys, execution, "mei-2.pem") == 0
        # There is no hardware behind its socket: that it looked for it shows that it took the signatures.
        wait_for(lambda: state(site, execution) == "FAILED", "the next key of the approver lets a fix out")
        assert site.ask("GET", f"/api/v1/executions/{execution}")["code"] == "device_not_answering"
        send(site, link_of(sleeper), former.command)
        wait_for(lambda: "command.signature" in security(site, link_of(sleeper)), "the former key is refused")
    newcomer = site.enrol("ES0000203")
    with running(newcomer):
        assert is_checked(site, link_of(newcomer)), "one that comes later begins with the new root"


def replace_online_keys(site: Site, keys: Keys, former: Former, agent: Any, link: str) -> None:
    for kind in ("command", "server"):
        assert "now; no terminal" in keys.rotate(kind, "--overlap=3")
        wait_for(lambda: agent.runner.core.trust.policy.version == keys.policy().version, "it knows the policy")
        assert is_checked(site, link)
    policy, now = keys.policy(), Former.of(site)
    assert (policy.command_keys, policy.server_keys) == ([now.command.public_hex], [now.server.public_hex])
    assert now.command.public_hex != former.command.public_hex
    assert now.server.public_hex != former.server.public_hex
    send(site, link, former.command)
    wait_for(lambda: "command.signature" in security(site, link), "the former key is refused")


def replace_people(keys: Keys, agent: Any) -> None:
    one, two, three = (keys.make(f"{name}.pem") for name in ("one", "two", "three"))
    new = [f"--new-key={path}" for path in (one, two, three)]
    assert "2 of 3 keys sign" in keys.rotate("root", "--threshold=2", *new)
    with pytest.raises(CeremonyRefused, match="not signed by enough keys of the root"):
        keys.rotate("approver", "mei", keys.public("one.pem"))
    keys.root = [one, three]
    keys.make("mei-2.pem")
    assert "Both keys of mei count" in keys.rotate("approver", "mei", keys.public("mei-2.pem"))
    assert "Only this key of mei" in keys.rotate("approver", "mei", keys.public("mei-2.pem"))
    wait_for(lambda: agent.runner.core.trust.policy.version == keys.policy().version, "it follows the new root")
    assert agent.runner.core.trust.held.root.threshold == 2


def replace_certificates(site: Site, keys: Keys, former: Former) -> None:
    keys.rotate("issuing", with_root=False)
    assert Former.of(site).issuing != former.issuing
    before = broker_key(site)
    assert "New: broker" in keys.rotate("certificates", "broker", with_root=False)
    assert broker_key(site) != before
    for kind in ("audit", "people"):
        keys.rotate(kind, with_root=False)
    assert "not holds" not in keys.run("audit", "verify", "--data", str(site.data))


def approve(site: Site, keys: Keys, execution: str, key: str) -> int:
    """The exit code of the approver's own command line."""
    made = keys.run("token", f"of {key}", "--role", "approver", "--json", "--data", str(site.data))
    words = ["approve", execution, "--yes", "--url", site.installed["url"], "--token", json.loads(made)["token"]]
    files = ["--key", str(keys.folder / key), "--passphrase-file", str(keys.folder / "words")]
    return subprocess.run([*SERVER, *words, *files], check=False, capture_output=True).returncode


def broker_key(site: Site) -> bytes:
    certificate = x509.load_pem_x509_certificate((site.data / "server" / "tls" / "broker.crt").read_bytes())
    return certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
