from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleet_server.__main__ import make_app
from fleet_server.approvals.keys import make_key
from fleet_server.auth.passwords import Passwords
from fleet_server.enrollment.ceremony import present_policy
from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.installation import Installation, install
from fleet_server.enrollment.settings_file import Wishes
from fleet_server.errors import FleetError
from fleet_server.executions.dispatch import Dispatcher
from fleet_server.kit.times import to_ms, utc_now
from fleet_server.signer.bootstrap import opened_signer
from fleet_server.signer.service import Signer
from fleet_server.signer.settings import load_signer_settings
from protocol import codec
from protocol.errors import Malformed
from protocol.policy import Root, open_policy
from protocol.signing import POLICY_TYPE, SigningKey, sign
from tests.fleet_server.enrollment.fleets import small_fleet
from tests.support.issuer import local_issuer

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
MEI, WU = SigningKey.from_seed(b"m" * 32), SigningKey.from_seed(b"w" * 32)
PASSPHRASE = "a passphrase of words"


@dataclass
class Safe:
    """A server, and another machine with the root's key, joined by files that somebody carries."""

    data: Path
    away: Path

    def install(self) -> Installation:
        (self.away / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
        fleet, passwords = self.away / "fleet.json", Passwords.cheap()
        return install(self.data, Wishes(), fleet, NOW, passwords, lambda made: local_issuer(made, lambda: NOW))

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(make_app(), [*arguments], catch_exceptions=True)

    def draft(self, *changes: str) -> Result:
        (self.away / "signed.json").unlink(missing_ok=True)
        return self.run("policy", "draft", "--draft", str(self.away / "draft.json"), "--data", str(self.data), *changes)

    def sign(self, key: str = "root.seed") -> Result:
        files = ["--draft", str(self.away / "draft.json"), "--signed", str(self.away / "signed.json")]
        words = ["--passphrase-file", str(self.away / "words"), "--yes"]
        return self.run("policy", "sign", *files, "--root-key", str(self.away / key), *words)

    def take(self) -> Result:
        return self.run("policy", "import", "--signed", str(self.away / "signed.json"), "--data", str(self.data))

    def names(self) -> list[str]:
        return [one.name for one in present_policy(self.install().settings).approvers]


@pytest.fixture
def safe(tmp_path: Path) -> Safe:
    """The root's key is away from the start."""
    made = Safe(tmp_path / "data", tmp_path / "away")
    made.away.mkdir()
    (made.away / "words").write_text(PASSPHRASE, "utf-8")
    made.install()
    (made.data / "server" / "keys" / "root.seed").rename(made.away / "root.seed")
    return made


def refusal(result: Result) -> str:
    assert isinstance(result.exception, FleetError), result.output
    return str(result.exception)


def test_an_approver_is_added_and_removed_with_the_root_on_another_machine(safe: Safe) -> None:
    assert safe.names() == []
    for change, names in ((f"--add-approver=mei={MEI.public_hex}", ["mei"]), ("--remove-approver=mei", [])):
        assert safe.draft(change).exit_code == 0
        assert "signed.json has 1 signatures" in safe.sign().stdout
        assert "terminals get it" in safe.take().stdout
        assert safe.names() == names
    bundle = (safe.data / "agents" / "gw1" / "policy.json").read_bytes()
    assert bundle == (safe.data / "server" / "policy.json").read_bytes()


def test_the_server_cannot_add_an_approver_by_itself(safe: Safe) -> None:
    """Whoever has taken the server holds its keys and may write every file."""
    command = (safe.data / "signer" / "command.seed").read_text()
    stranger = SigningKey.from_seed(bytes.fromhex(command.strip()))
    safe.draft(f"--add-approver=mallory={WU.public_hex}")
    draft = (safe.away / "draft.json").read_bytes()
    (safe.away / "signed.json").write_bytes(codec.to_json(sign(POLICY_TYPE, draft, [stranger])))
    assert "not signed by enough keys of the root" in refusal(safe.take())
    root = (safe.data / "server" / "keys" / "root.pub").read_text().strip()
    forged = (safe.away / "signed.json").read_bytes()
    assert isinstance(open_policy(forged, Root.of_enrolment(root)), Malformed)
    (safe.data / "signer" / "policy.json").write_bytes(forged)
    with pytest.raises(FleetError, match="signed by this installation's root"), opened(safe):
        pass


def opened(safe: Safe) -> AbstractContextManager[Signer]:
    return opened_signer(load_signer_settings(safe.data / "signer"), NOW)


def test_init_goes_on_without_the_root_and_makes_no_other(safe: Safe) -> None:
    safe.install()
    assert not (safe.data / "server" / "keys" / "root.seed").exists()
    (safe.data / "server" / "keys" / "server.seed").unlink()
    with pytest.raises(DataFolderUnusable, match="fleet-server policy draft"):
        safe.install()


def test_an_older_policy_and_a_changed_draft_are_refused(safe: Safe) -> None:
    safe.draft(f"--add-approver=mei={MEI.public_hex}")
    safe.sign()
    safe.take()
    assert "expected a version after 2, came 2" in refusal(safe.take())
    safe.draft("--remove-approver=mei")
    safe.sign()
    draft = json.loads((safe.away / "draft.json").read_text())
    (safe.away / "draft.json").write_text(json.dumps({**draft, "lift_threshold": 2}))
    assert "signatures of another draft" in refusal(safe.sign())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["--remove-approver=nobody"], "names no approver nobody"),
        ([f"--add-approver=mei={MEI.public_hex}", f"--add-approver=Mei={WU.public_hex}"], "named twice"),
        ([f"--add-approver=mei={MEI.public_hex}", "--lift-threshold=2"], "2 approvers lift a stop"),
        (["--add-approver=mei"], "expected NAME=PUBLIC"),
    ],
)
def test_a_draft_that_would_not_do_is_not_written(safe: Safe, changes: list[str], complaint: str) -> None:
    assert complaint in refusal(safe.draft(*changes))
    assert not (safe.away / "draft.json").exists()


def test_a_root_is_rotated_to_two_keys_and_the_signer_follows_through_restarts(safe: Safe) -> None:
    first, second = (make_key(safe.away / f"{name}.pem", PASSPHRASE) for name in ("one", "two"))
    roots = [f"--root={first.public_hex}", f"--root={second.public_hex}", "--root-threshold=2"]
    safe.draft(*roots)
    safe.sign()
    safe.sign("one.pem")
    assert "not signed by enough keys" in refusal(safe.take())
    assert "3 signatures" in safe.sign("two.pem").stdout
    assert safe.take().exit_code == 0
    give_to_signer(safe)
    safe.draft(f"--add-approver=mei={MEI.public_hex}")
    safe.sign()
    assert "not signed by enough keys" in refusal(safe.take())
    (safe.away / "signed.json").unlink()
    safe.sign("one.pem")
    safe.sign("two.pem")
    assert safe.take().exit_code == 0
    give_to_signer(safe)
    assert safe.names() == ["mei"]
    with opened(safe) as signer:
        assert signer.standing(NOW).approvers == ["mei"]


def give_to_signer(safe: Safe) -> None:
    """As the scheduler does."""
    settings = safe.install().settings
    with opened(safe) as signer:
        Dispatcher(signer).give_policy(settings.policy_file, NOW)


def test_what_time_it_is_is_said_once_and_stays_said(safe: Safe) -> None:
    settings = safe.install().settings
    assert present_policy(settings).clock_ms == 0
    before = to_ms(utc_now())
    assert safe.draft("--clock-is-right").exit_code == safe.sign().exit_code == safe.take().exit_code == 0
    said = present_policy(settings).clock_ms
    assert before <= said <= to_ms(utc_now())
    assert safe.draft("--merchant-consent").exit_code == safe.sign().exit_code == safe.take().exit_code == 0
    assert (present_policy(settings).clock_ms, present_policy(settings).version) == (said, 3)


def test_a_time_that_has_not_come_yet_is_refused(safe: Safe) -> None:
    settings = safe.install().settings
    safe.draft("--clock-is-right")
    draft = safe.away / "draft.json"
    wrong = json.loads(draft.read_text("utf-8"))
    draft.write_text(json.dumps(wrong | {"clock_ms": wrong["clock_ms"] + 120_000}), "utf-8")
    assert safe.sign().exit_code == 0
    assert "by the clock here it is not yet" in str(safe.take().exception)
    assert present_policy(settings).clock_ms == 0


def test_a_lost_key_of_an_approver_is_replaced_by_another(safe: Safe) -> None:
    for key in (MEI, WU):
        safe.draft(f"--add-approver=mei={key.public_hex}")
        safe.sign()
        safe.take()
    [mei] = present_policy(safe.install().settings).approvers
    assert mei.public == WU.public_hex
