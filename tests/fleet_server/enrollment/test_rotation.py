"""Keys that are followed by others: nothing is taken into use before the policy names it, nothing dropped before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from device_agent.config import AgentConfig, Enrolment
from device_agent.core.trust import Held
from device_agent.policy_files import enrolled_root, newest
from fleet_server.approvals.keys import make_key
from fleet_server.approvals.permit_making import signed_lift
from fleet_server.audit.anchors import (
    PUBLIC,
    SEED,
    anchor_public_keys,
    ensure_anchor_key,
    open_anchor,
    replace_anchor_key,
    sign_head,
)
from fleet_server.audit.checking import Check
from fleet_server.audit.errors import AnchorKeyMissing
from fleet_server.enrollment.ceremony import CeremonyRefused, present_policy, stops_to_sign_anew
from fleet_server.enrollment.rotation import (
    CommandKey,
    Hands,
    ServerKey,
    SignatureAwaited,
    replace_approver,
    replace_break_glass,
    replace_online_key,
    replace_root,
    replace_signer,
)
from fleet_server.enrollment.signer_folder import ensure_command_key
from fleet_server.kit.times import utc_now
from fleet_server.settings import ServerSettings, load_settings
from fleet_server.signer.client import SignerClient
from fleet_server.signer.errors import KeyNotReady
from fleet_server.signer.keys import load_key
from fleet_server.signer.messages import NewPolicy, Resume, Stop
from fleet_server.signer.stopping import epoch_shown, publish_stops
from protocol.errors import Malformed
from protocol.policy import Root, open_policy
from protocol.signing import Policy, SigningKey
from protocol.stops import MAX_EPOCHS_AHEAD, StopOrder, StopState, open_stop
from tests.fleet_server.enrollment.test_ceremony import MEI, NOW, WU, Safe, give_to_signer, opened, safe
from tests.support.signing import running_signer

__all__ = ["safe"]


@pytest.fixture
def settings(safe: Safe) -> ServerSettings:
    return load_settings(safe.data)


@pytest.fixture
def signer(safe: Safe) -> Iterator[SignerClient]:
    with running_signer(safe.data / "signer") as running:
        client = SignerClient(Path(running.socket))
        yield client
        client.close()


def hands(safe: Safe, *, at_once: bool = False) -> Hands:
    return Hands([load_key(safe.away / "root.seed")], safe.away / "draft.json", lambda: None, at_once=at_once)


def test_with_the_root_elsewhere_each_step_leaves_a_draft_and_goes_on_when_it_came_back_signed(
    safe: Safe, settings: ServerSettings
) -> None:
    key, empty = ServerKey(settings), Hands([], safe.away / "draft.json", lambda: None)
    old = key.public()
    for expected in (old, None):
        with pytest.raises(SignatureAwaited, match=r"draft\.json is to be signed by the root"):
            replace_online_key(settings, key, empty)
        assert expected in (key.public(), None)
        safe.sign()
        assert safe.take().exit_code == 0
        (safe.away / "signed.json").unlink()
    assert old in (replace_online_key(settings, key, empty)[0], None)
    assert present_policy(settings).server_keys == [key.public()] != [old]


def test_both_keys_count_between_the_two_policies(safe: Safe, settings: ServerSettings, signer: SignerClient) -> None:
    key, seen = CommandKey(settings, signer), list[tuple[Policy, str]]()
    given = Hands(hands(safe).keys, safe.away / "d", lambda: seen.append((present_policy(settings), key.public())))
    old, new = replace_online_key(settings, key, given)
    assert [(sorted(policy.command_keys), in_use) for policy, in_use in seen] == [
        (sorted([old, new]), old),
        (sorted([old, new]), new),
    ]
    assert present_policy(settings).command_keys == [new]
    assert (settings.keys_dir / "command.pub").read_text().strip() == new
    assert load_key(safe.data / "signer" / "command.seed").public_hex == new


def test_a_stolen_key_is_dropped_with_the_policy_that_names_the_next_one(
    safe: Safe, settings: ServerSettings, signer: SignerClient
) -> None:
    before = present_policy(settings).version
    old, new = replace_online_key(settings, CommandKey(settings, signer), hands(safe, at_once=True))
    policy = present_policy(settings)
    assert (policy.version, policy.command_keys) == (before + 1, [new])
    assert old != new


def test_the_signer_goes_over_to_no_key_that_the_policy_does_not_name(safe: Safe, signer: SignerClient) -> None:
    with pytest.raises(KeyNotReady, match="no next key"):
        signer.take_key(NOW)
    fresh = signer.prepare_key()
    assert signer.prepare_key() == fresh
    with pytest.raises(KeyNotReady, match="does not name the next key"):
        signer.take_key(NOW)
    assert signer.standing(NOW).command_key != fresh


def test_a_stop_that_holds_is_believed_by_links_that_slept_until_the_former_key_was_gone(
    safe: Safe, settings: ServerSettings, signer: SignerClient
) -> None:
    signer.stop(Stop("default", "li.wei", "fixes that nobody asked for"), NOW)
    publish_stops(settings.server_dir, signer.standing(NOW))
    replace_online_key(settings, CommandKey(settings, signer), hands(safe))
    document = (settings.server_dir / "stops" / "default.json").read_bytes()
    order = open_stop(document, present_policy(settings), "default")
    assert isinstance(order, StopOrder)
    assert (order.epoch, order.lifts, order.reason) == (1, False, "fixes that nobody asked for")
    events = [one.event for one in signer.journal(0).entries]
    assert events.count("stopped") == 1
    assert "key" in events


def test_a_lift_is_signed_anew_when_its_approver_has_left(
    safe: Safe, settings: ServerSettings, signer: SignerClient
) -> None:
    safe.draft(f"--add-approver=mei={MEI.public_hex}", f"--add-approver=wu={WU.public_hex}")
    safe.sign()
    safe.take()
    give(settings, signer)
    signer.stop(Stop("default", "li.wei", "a drill"), NOW)
    signer.resume(Resume("default", signed_lift("default", 1, [MEI])), NOW)
    publish_stops(settings.server_dir, signer.standing(NOW))
    safe.draft("--remove-approver=mei")
    safe.sign()
    assert "sign its lift anew" in safe.take().stdout
    give(settings, signer)
    assert stops_to_sign_anew(settings, present_policy(settings)) == ["default"]
    signer.resume(Resume("default", signed_lift("default", 1, [WU])), NOW)
    publish_stops(settings.server_dir, signer.standing(NOW))
    assert stops_to_sign_anew(settings, present_policy(settings)) == []
    assert not signer.standing(NOW).stops[0].holds


def give(settings: ServerSettings, signer: SignerClient) -> None:
    signer.take_policy(NewPolicy(settings.policy_file.read_text("utf-8")), NOW)


def test_an_approver_has_two_keys_until_the_command_is_given_again(safe: Safe, settings: ServerSettings) -> None:
    with pytest.raises(CeremonyRefused, match="names no approver mei"):
        replace_approver(settings, "mei", MEI.public_hex, hands(safe))
    safe.draft(f"--add-approver=mei@default={MEI.public_hex}")
    safe.sign()
    safe.take()
    assert not replace_approver(settings, "Mei", WU.public_hex, hands(safe))
    assert [(one.name, one.tenant, one.public) for one in present_policy(settings).approvers] == [
        ("mei", "default", MEI.public_hex),
        ("mei", "default", WU.public_hex),
    ]
    with pytest.raises(CeremonyRefused, match="more than 2 keys"):
        replace_approver(settings, "mei", SigningKey.from_seed(b"3" * 32).public_hex, hands(safe))
    assert replace_approver(settings, "mei", WU.public_hex, hands(safe))
    assert [one.public for one in present_policy(settings).approvers] == [WU.public_hex]
    with pytest.raises(CeremonyRefused, match="already, and no other"):
        replace_approver(settings, "mei", WU.public_hex, hands(safe))
    assert replace_approver(settings, "mei", MEI.public_hex, hands(safe, at_once=True))
    assert [one.public for one in present_policy(settings).approvers] == [MEI.public_hex]


def test_a_break_glass_key_is_followed_by_another(safe: Safe, settings: ServerSettings) -> None:
    assert replace_break_glass(settings, MEI.public_hex, hands(safe))
    assert not replace_break_glass(settings, WU.public_hex, hands(safe))
    assert present_policy(settings).break_glass_keys == [MEI.public_hex, WU.public_hex]
    assert replace_break_glass(settings, WU.public_hex, hands(safe))
    assert present_policy(settings).break_glass_keys == [WU.public_hex]


@pytest.fixture
def next_root(safe: Safe, settings: ServerSettings) -> list[SigningKey]:
    """Two of three, in the place of the first one."""
    keys = [make_key(safe.away / f"{name}.pem", "a passphrase of words") for name in ("one", "two", "three")]
    both = Hands([*hands(safe).keys, *keys[:2]], safe.away / "d", lambda: None)
    # As in an installation that never took the key away.
    (settings.keys_dir / "root.seed").write_bytes((safe.away / "root.seed").read_bytes())
    replace_root(settings, [key.public_hex for key in keys], 2, both)
    return keys


def test_the_former_root_signs_nothing_any_more_and_is_gone_from_here(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    assert not (settings.keys_dir / "root.seed").exists()
    with pytest.raises(CeremonyRefused, match="not signed by enough keys of the root"):
        replace_break_glass(settings, WU.public_hex, hands(safe))
    # Nor when somebody brings it back, and something has to be signed.
    (settings.keys_dir / "root.seed").write_bytes((safe.away / "root.seed").read_bytes())
    before = settings.policy_file.read_bytes()
    (settings.keys_dir / "server.seed").unlink()
    with pytest.raises(Exception, match="fleet-server policy draft"):
        safe.install()
    assert settings.policy_file.read_bytes() == before


def test_a_threshold_that_changes_alone_is_held_from_then_on(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    all_three = Hands(next_root, safe.away / "d", lambda: None)
    replace_root(settings, [key.public_hex for key in next_root], 3, all_three)
    two = Hands(next_root[:2], safe.away / "d", lambda: None)
    with pytest.raises(CeremonyRefused, match="3 root keys must sign, 2 did"):
        replace_break_glass(settings, WU.public_hex, two)
    assert replace_break_glass(settings, WU.public_hex, all_three)


def test_bundles_begin_with_the_root_of_today(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    two = Hands(next_root[1:], safe.away / "d", lambda: None)
    replace_break_glass(settings, WU.public_hex, two)
    for _ in ("as they were changed", "as init writes them"):
        bundle = safe.data / "agents" / "gw1"
        said = json.loads((bundle / "enrolment.json").read_text("utf-8"))
        assert said["root_threshold"] == 2
        who = msgspec.json.decode((bundle / "enrolment.json").read_bytes(), type=Enrolment)
        config = AgentConfig(enrolment=".", path=bundle / "agent.toml", who=who)
        held = newest([], (bundle / "policy.json").read_text("utf-8"), enrolled_root(config))
        assert isinstance(held, Held), held
        assert held.policy == present_policy(settings)
        safe.install()


def test_a_signer_that_lost_its_file_follows_from_the_first_root_again(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    give_to_signer(safe)
    two = Hands(next_root[:2], safe.away / "d", lambda: None)
    replace_break_glass(settings, WU.public_hex, two)
    safe.install()
    for file in (safe.data / "signer").glob("signer.db*"):
        file.unlink()
    with opened(safe) as signer:
        assert signer.standing(NOW).policy_version == present_policy(settings).version


def test_no_policy_of_the_former_root_is_taken_by_whoever_begins_with_the_next(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    root = Root(tuple(key.public_hex for key in next_root), 2)
    assert isinstance(open_policy(settings.policy_file.read_bytes(), root), Policy)
    first = Root.of_enrolment(load_key(safe.away / "root.seed").public_hex)
    two = Hands(next_root[:2], safe.away / "d", lambda: None)
    replace_break_glass(settings, WU.public_hex, two)
    assert isinstance(open_policy(settings.policy_file.read_bytes(), first), Malformed)


def test_drill_the_signers_machine_is_lost(safe: Safe, settings: ServerSettings) -> None:
    """What terminals have seen of stops is above what the next signer knows: it numbers on from there."""
    old = load_key(safe.data / "signer" / "command.seed")
    with opened(safe) as signer:
        for epoch in (1, 2):
            signer.stop(Stop("default", "li.wei", "a drill"), NOW)
            note = signer.standing(NOW).stops[0]
            assert note.stopped == epoch
            signer.state.set_stops([replace(note, lifted=epoch)], "resumed", {}, 0)
        publish_stops(settings.server_dir, signer.standing(NOW))
    shutil.rmtree(safe.data / "signer")
    fresh = replace_signer(settings, ensure_command_key(settings), hands(safe))
    safe.install()
    policy = present_policy(settings)
    assert policy.command_keys == [fresh] != [old.public_hex]
    with opened(safe) as signer:
        assert signer.standing(NOW).command_key == fresh
        signer.stop(Stop("default", "li.wei", "a drill", above=epoch_shown(settings.server_dir, "default")), NOW)
        order = open_stop(signer.standing(NOW).stops[0].document.encode(), policy, "default")
    assert isinstance(order, StopOrder)
    terminal = StopState(stopped=2, lifted=2).after(order)
    assert isinstance(terminal, StopState)
    assert terminal.is_stopped


def test_a_server_that_lies_about_epochs_cannot_use_them_up(safe: Safe) -> None:
    with opened(safe) as signer:
        signer.stop(Stop("default", "mallory", "", above=2**50), NOW)
        assert signer.standing(NOW).stops[0].stopped <= MAX_EPOCHS_AHEAD // 2 + 1


def test_drill_all_keys_of_the_root_are_lost(safe: Safe, settings: ServerSettings, next_root: list[SigningKey]) -> None:
    """Links stay with what they have until somebody carries a bundle; then they follow the next root alone."""
    before = settings.policy_file.read_text("utf-8")
    former = Root(tuple(key.public_hex for key in next_root), 2)
    fresh = make_key(safe.away / "fresh.pem", "a passphrase of words")
    words = ["--passphrase-file", str(safe.away / "words"), "--yes"]
    made = safe.run(
        "policy", "another-root", "--new-key", str(safe.away / "fresh.pem"), "--data", str(safe.data), *words
    )
    assert made.exit_code == 0, made.output
    after = settings.policy_file.read_text("utf-8")
    assert isinstance(open_policy(after.encode(), former), Malformed)
    carried = newest([before], after, Root.of_enrolment(fresh.public_hex))
    assert isinstance(carried, Held)
    assert carried.policy == present_policy(settings)
    safe.install()
    with opened(safe) as signer:
        assert signer.standing(NOW).policy_version == carried.policy.version
    by_the_fresh = Hands([fresh], safe.away / "d", lambda: None)
    assert replace_break_glass(settings, WU.public_hex, by_the_fresh)


def test_drill_one_of_three_keys_of_the_root_is_lost(
    safe: Safe, settings: ServerSettings, next_root: list[SigningKey]
) -> None:
    others = [make_key(safe.away / f"{name}.pem", "a passphrase of words") for name in ("four", "five", "six")]
    both = Hands([*next_root[1:], *others[:2]], safe.away / "d", lambda: None)
    replace_root(settings, [key.public_hex for key in others], 2, both)
    with pytest.raises(CeremonyRefused, match="not signed by enough keys of the root"):
        replace_break_glass(settings, WU.public_hex, Hands(next_root, safe.away / "d", lambda: None))
    assert replace_break_glass(settings, WU.public_hex, Hands(others[1:], safe.away / "d", lambda: None))


def test_words_of_a_former_audit_key_count_until_another_took_its_place(tmp_path: Path) -> None:
    ensure_anchor_key(tmp_path)
    now = utc_now()
    old = load_key(tmp_path / SEED)
    check = Check("default")
    check.seq, check.row_hash = 1, "ab" * 32
    early = sign_head(check, None, old, now - timedelta(days=1))
    former, present = replace_anchor_key(tmp_path, now)
    assert (former, present) == (old.public_hex, load_key(tmp_path / SEED).public_hex)
    keys = anchor_public_keys(tmp_path / PUBLIC)
    assert not isinstance(open_anchor(early.envelope, keys), Malformed)
    late = sign_head(check, early, old, now + timedelta(minutes=2))
    refused = open_anchor(late.envelope, keys)
    assert isinstance(refused, Malformed)
    assert "former key" in refused.detail
    fresh = sign_head(check, early, load_key(tmp_path / SEED), now + timedelta(minutes=2))
    assert not isinstance(open_anchor(fresh.envelope, keys), Malformed)
    # And a third one: the first keeps its own end.
    replace_anchor_key(tmp_path, now + timedelta(days=30))
    assert isinstance(open_anchor(late.envelope, anchor_public_keys(tmp_path / PUBLIC)), Malformed)
    assert not isinstance(open_anchor(fresh.envelope, anchor_public_keys(tmp_path / PUBLIC)), Malformed)


def test_an_audit_key_on_another_machine_is_followed_by_its_public_half(tmp_path: Path) -> None:
    ensure_anchor_key(tmp_path)
    (tmp_path / SEED).unlink()
    with pytest.raises(AnchorKeyMissing, match="on another machine"):
        replace_anchor_key(tmp_path, NOW)
    replace_anchor_key(tmp_path, NOW, MEI.public_hex)
    assert not (tmp_path / SEED).exists()
    assert (tmp_path / PUBLIC).read_text("ascii").startswith(MEI.public_hex + "\n")
