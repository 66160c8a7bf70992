"""Class 2 from beginning to end without any page: asked for, signed by two people and followed by the command line, on
a running server and a real agent. Agents of the product have no such action yet: this one has one that touches a file.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from device_agent.actions import Definition
from device_agent.bootstrap import build
from device_agent.config import load
from device_agent.software.errors import SoftwareNotOffered
from device_agent.software.keeper import SoftwareKeeper
from protocol.commands import DangerClass
from tests.integration.agent.actions import MEND_PROBED, PREPARE, _fix
from tests.integration.agent.actions import definitions_for as definitions_of_tests
from tests.integration.agent.test_kill import running_terminal
from tests.integration.server.test_enrolment import DEADLINE_S, SERVER, Site, link_of, site, wait_for
from tests.integration.server.test_key_rotation import Keys, keys

pytestmark = pytest.mark.integration
__all__ = ["keys", "site"]
NAME, CONTENT = "app/payment-4.2.bin", b"the next version"


@dataclass
class Desk:
    """Who asks, who signs, and the terminal that it is for."""

    site: Site
    keys: Keys
    bundle: Path
    software: SoftwareKeeper

    @property
    def link(self) -> str:
        return link_of(self.bundle)

    def words(self, name: str, role: str) -> list[str]:
        made = self.keys.run("token", name, "--role", role, "--json", "--data", str(self.site.data))
        return ["--url", self.site.installed["url"], "--token", json.loads(made)["token"]]

    @contextmanager
    def asking(self, file: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """``fleet-server fix`` while it waits, and the id that it says must be approved."""
        wish = ["fix", self.link, "test.install", f"folder={self.bundle}", "--artifact", NAME, "--file", str(file)]
        command = [*SERVER, *wish, "--lang", "en", "--wait", str(DEADLINE_S), *self.words(f"asks {file}", "support")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("It waits for approval: fleet-server approve "), said
        try:
            yield said.split()[-3], process
        finally:
            process.kill()
            process.wait()

    def publish(self, file: Path) -> None:
        """The tenant's repository with this file, the policy that names it, and the terminal's wish for it."""
        folder, data = str(self.keys.folder / "software"), ["--data", str(self.site.data)]
        offices = {"--root": ("root-a", "root-b"), "--targets": ("release-a", "release-b")}
        made = {name: self.keys.make(f"{name}.pem") for names in offices.values() for name in names}
        given = [f"{office}={self.keys.public(f'{name}.pem')}" for office, names in offices.items() for name in names]
        online = self.keys.run("artifacts", "online-keys", *data).split()
        self.keys.run("artifacts", "init", folder, *given, *online)
        about = ["--kind", "payment_application", "--version", "4.2", "--model", "A920"]
        self.keys.run("artifacts", "add", folder, str(file), "--path", NAME, *about)
        words = ["--passphrase-file", str(self.keys.folder / "words"), "--yes"]
        for path in made.values():
            self.keys.run("artifacts", "sign", folder, "--key", str(path), *words)
        self.keys.run("artifacts", "pin", folder, "--root-key", str(self.keys.root[0]), *data)
        self.keys.run("artifacts", "publish", folder, *data)
        wait_for(self._is_wanted, "the terminal knows of the repository")

    def _is_wanted(self) -> bool:
        try:
            self.software.want(NAME)
        except SoftwareNotOffered:
            return False
        return True

    def approve(self, execution: str, name: str) -> subprocess.CompletedProcess[str]:
        files = ["--key", str(self.keys.folder / f"{name}.pem"), "--passphrase-file", str(self.keys.folder / "words")]
        words = ["approve", execution, "--yes", *files, *self.words(f"{name} for {execution}", "approver")]
        return subprocess.run([*SERVER, *words], check=False, capture_output=True, text=True)


def definitions_for(family: str, terminal_class: str) -> tuple[Definition, ...]:
    install = _fix("test.install", PREPARE, MEND_PROBED)
    declared = msgspec.structs.replace(install.declared, danger_class=DangerClass.SOFTWARE)
    software = dataclasses.replace(install, declared=declared)
    return (*definitions_of_tests(family, terminal_class), software)


@pytest.fixture
def desk(site: Site, keys: Keys) -> Iterator[Desk]:
    """Two approvers in the policy, and the terminal online."""
    keys.make("wu.pem")
    draft, signed, data = str(keys.folder / "draft-2"), str(keys.folder / "signed-2"), ["--data", str(site.data)]
    keys.run("policy", "draft", "--draft", draft, f"--add-approver=wu={keys.public('wu.pem')}", *data)
    keys.run("policy", "sign", "--draft", draft, "--signed", signed, "--root-key", str(keys.root[0]), "--yes")
    keys.run("policy", "import", "--signed", signed, *data)
    bundle = site.enrol("ES0000401")
    socket = bundle.with_suffix(".sock")
    host = f'[host]\nkind = "terminal"\nsocket = "{socket}"\npoll_s = 0.2\n'
    toml = f'enrolment = "."\nprofile = "demo"\nsoak_limit_s = 0.1\n{host}'
    (bundle / "agent.toml").write_text(toml, "utf-8")
    with running_terminal(socket):
        agent = build(load(bundle / "agent.toml"), definitions_for)
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        try:
            wait_for(lambda: "test.install" in site.actions(link_of(bundle)), "the server knows what it can do")
            wait_for(lambda: agent.runner.core.trust.policy.version == keys.policy().version, "it knows both approvers")
            assert agent.software is not None
            yield Desk(site, keys, bundle, agent.software)
        finally:
            agent.stop()
            thread.join(20)
            assert not thread.is_alive()


def test_two_people_sign_at_the_command_line_and_the_terminal_runs_what_it_holds_and_nothing_else(
    desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "payment.bin"
    file.write_bytes(CONTENT)
    with desk.asking(file) as (execution, process):
        first = desk.approve(execution, "mei")
        assert f"{execution} is AWAITING_APPROVAL" in first.stdout
        assert NAME in first.stdout, "what is signed was shown"
        again = desk.approve(execution, "mei")
        assert (again.returncode, "already_approved" in again.stderr) == (2, True)
        assert desk.approve(execution, "wu").returncode == 0
        said, _ = process.communicate(timeout=DEADLINE_S)
    # The policy names no repository yet that it would fetch from; the terminal says so in these words.
    assert f"artifact  {NAME} of {len(CONTENT)} bytes is not in hand" in said
    assert "refused by the terminal" in said
    assert process.returncode == 2
    assert not (desk.bundle / "mended").exists()

    desk.publish(file)
    wait_for(lambda: desk.software.in_hand(NAME) is not None, "the terminal has fetched it")
    with desk.asking(file) as (execution, process):
        assert desk.approve(execution, "mei").returncode == 0
        assert desk.approve(execution, "wu").returncode == 0
        said, _ = process.communicate(timeout=DEADLINE_S)
    assert "proved fixed" in said
    assert process.returncode == 0
    assert (desk.bundle / "mended").exists()
