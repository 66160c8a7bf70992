"""The online half: what the signer vouches for, how it stays fresh, and what a taken-over web process gets from it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from fleet_server.artifacts.publishing import keep_fresh, renew
from fleet_server.artifacts.store import Store
from fleet_server.artifacts.verifying import verify
from fleet_server.kit.times import utc_now
from fleet_server.signer.errors import ReleaseRefused, SignerUnreachable
from fleet_server.signer.messages import SignedRelease, SignRelease
from tests.fleet_server.factories import settings
from tests.support.software import RELEASE_1, RELEASE_2, ROOT_1, ROOT_2, TENANT, Software


@pytest.fixture
def software(tmp_path: Path) -> Software:
    return Software(tmp_path, utc_now())


def asked(software: Software, tenant: str = TENANT) -> SignRelease:
    roots = [one.decode() for one in software.ceremony.roots()]
    return SignRelease(tenant, roots, software.ceremony.targets_document().decode())


def signed(software: Software, order: SignRelease | None = None) -> SignedRelease:
    return software.signer.sign_release(order or asked(software), software.now)


def test_only_what_offline_keys_signed_is_vouched_for(software: Software) -> None:
    software.add(b"new software")
    with pytest.raises(ReleaseRefused, match="0/2"):
        signed(software)
    software.ceremony.sign(RELEASE_1)
    with pytest.raises(ReleaseRefused, match="1/2"):
        signed(software)
    software.ceremony.sign(RELEASE_2)
    assert Metadata[Snapshot].from_bytes(signed(software).snapshot.encode()).signed.meta["targets.json"].version == 2


def test_only_the_repository_that_the_policy_names(software: Software, tmp_path: Path) -> None:
    order = asked(software)
    with pytest.raises(ReleaseRefused, match="names no repository"):
        signed(software, msgspec.structs.replace(order, tenant="north"))
    other = Software(tmp_path / "other", software.now)
    with pytest.raises(ReleaseRefused, match="not the one that the policy names"):
        signed(software, asked(other))


def test_no_list_and_no_root_is_gone_back_to(software: Software) -> None:
    before = asked(software)
    software.release(b"one")
    with pytest.raises(ReleaseRefused, match="targets 2 or later"):
        signed(software, before)
    present = asked(software)
    software.ceremony.renew(None, software.now)
    software.sign()
    software.publish()
    with pytest.raises(ReleaseRefused, match="root 2"):
        signed(software, present)
    # Neither does a signer that was started again.
    software.signer = software.signer_for({TENANT: software.pin})
    with pytest.raises(ReleaseRefused, match="root 2"):
        signed(software, present)


def test_lists_are_not_mixed_with_roots_of_others(software: Software, tmp_path: Path) -> None:
    other = Software(tmp_path / "other", software.now, state=software.state)
    mixed = msgspec.structs.replace(asked(software), roots=[*asked(software).roots, *asked(other).roots])
    with pytest.raises(ReleaseRefused, match="expected root 2"):
        signed(software, mixed)


def test_versions_rise_though_the_clock_stands_or_goes_back(software: Software) -> None:
    versions = [signed(software).version, signed(software).version]
    software.now -= timedelta(days=3)
    versions.append(signed(software).version)
    assert versions == sorted(set(versions))


def test_a_restored_server_goes_on_above_what_devices_have_seen(software: Software, tmp_path: Path) -> None:
    seen = software.publish().version
    software.now += timedelta(hours=1)
    restored = Software(tmp_path / "restored", software.now)
    assert restored.publish().version > seen


def test_terminals_that_sleep_for_days_are_not_frozen(software: Software) -> None:
    made = signed(software)
    ends = [
        Metadata[Timestamp].from_bytes(made.timestamp.encode()).signed.expires,
        Metadata[Snapshot].from_bytes(made.snapshot.encode()).signed.expires,
    ]
    assert [(one - software.now).days for one in ends] in ([6, 29], [7, 30])


def test_the_scheduler_keeps_it_fresh_long_before_it_lapses(software: Software, tmp_path: Path) -> None:
    made = replace(settings(tmp_path), data=tmp_path)
    software.store = Store.of(made, TENANT)
    first = software.release(b"one").version
    assert not renew(made, TENANT, software.signer, software.now + timedelta(hours=23))
    later = software.now + timedelta(hours=25)
    assert renew(made, TENANT, software.signer, later)
    timestamp = Metadata[Timestamp].from_bytes(software.store.metadata_file("timestamp.json").read_bytes()).signed
    assert timestamp.version > first
    assert timestamp.expires > later + timedelta(days=6)
    assert [one.path for one in verify(software.store, software.pin).targets] == ["apps/payment.bin"]
    assert not renew(made, "north", software.signer, later)


def test_a_signer_that_is_away_is_no_accident_of_the_scheduler(
    software: Software, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(settings(tmp_path), data=tmp_path)
    software.store = Store.of(made, TENANT)
    software.release(b"one")

    class Away:
        def sign_release(self, asked: SignRelease, now: object) -> SignedRelease:
            raise SignerUnreachable("away")

    keep_fresh(made, TENANT, Away(), software.now + timedelta(days=2))
    assert verify(software.store, software.pin).targets


def test_the_online_keys_are_replaced_by_a_root_that_names_the_next(software: Software) -> None:
    software.release(b"one")
    before = software.signer.release_keys()
    software.ceremony.renew(software.offices(following=True), software.now)
    software.sign((ROOT_1, ROOT_2, RELEASE_1, RELEASE_2))
    software.publish()
    after = software.signer.release_keys()
    assert {before.snapshot, before.timestamp}.isdisjoint({after.snapshot, after.timestamp})
    assert verify(software.store, software.pin).ends["root"][0] == 2


def test_a_root_that_names_keys_of_another_signer_is_not_served(software: Software) -> None:
    for name in ("snapshot.seed", "timestamp.seed"):
        (software.folder / name).write_text("42" * 32 + "\n", "ascii")
    with pytest.raises(ReleaseRefused, match="another snapshot key"):
        signed(software)


def test_each_release_is_in_the_signers_journal(software: Software) -> None:
    software.release(b"one")
    (entry,) = software.signer.journal(0).entries
    assert (entry.event, entry.data["tenant"], entry.data["targets"]) == ("release", TENANT, 2)
