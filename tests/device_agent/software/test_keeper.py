"""What is fetched comes whole or goes on where it stopped, once for all devices, within its bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_agent.software.errors import BudgetSpent, SoftwareNotOffered, SoftwareUnreachable
from device_agent.software.keeper import DAY_MS, MAX_WISHES, Bounds
from device_agent.software.parts import SYNC_BYTES
from protocol.artifacts import TARGETS_PATH, ArtifactKind, TargetFacts
from protocol.authorisations import Artifact
from tests.device_agent.software.rig import CONTENT, Rig, rig_with
from tests.support.software import APP, FACTS


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return rig_with(tmp_path)


def asked_targets(rig: Rig) -> list[int]:
    return [offset for path, offset in rig.source.asked if path.startswith(TARGETS_PATH)]


def artifact(rig: Rig) -> Artifact:
    target = rig.software.ceremony.targets().signed.targets[APP]
    return Artifact(APP, target.length, target.hashes["sha256"])


def test_what_is_wanted_is_in_hand_as_the_gate_asks(rig: Rig) -> None:
    assert rig.keeper.held(artifact(rig)) is None
    rig.keeper.look()
    held = rig.keeper.in_hand(APP)
    assert held is not None
    assert (held.length, held.facts) == (len(CONTENT), FACTS)
    assert rig.keeper.held(artifact(rig)) == artifact(rig)
    assert rig.keeper.file(APP).read_bytes() == CONTENT
    assert [one["state"] for one in rig.keeper.standing()] == ["in_hand"]


def test_two_devices_of_a_gateway_share_one_download(rig: Rig) -> None:
    rig.fetch()
    rig.fetch()
    assert len(asked_targets(rig)) == 1


@pytest.mark.parametrize("cut_after", [1000, 3000, 5000])
def test_a_download_that_was_cut_off_and_killed_goes_on_where_it_stopped(rig: Rig, cut_after: int) -> None:
    rig.source.cut_after = cut_after
    with pytest.raises(SoftwareUnreachable):
        rig.fetch()
    assert rig.keeper.in_hand(APP) is None
    rig.source.cut_after = None
    rig.start_again()
    rig.keeper.look()
    assert asked_targets(rig) == [0, cut_after]
    assert rig.keeper.file(APP).read_bytes() == CONTENT


def test_a_server_without_ranges_is_begun_anew(rig: Rig) -> None:
    rig.source.cut_after, rig.source.knows_ranges = 2000, False
    with pytest.raises(SoftwareUnreachable):
        rig.fetch()
    rig.source.cut_after = None
    rig.keeper.look()
    assert rig.keeper.file(APP).read_bytes() == CONTENT


def test_a_part_that_was_damaged_on_disk_is_thrown_away_and_fetched_anew(rig: Rig) -> None:
    from device_agent.software.errors import SoftwareRefused

    rig.source.cut_after = 3000
    with pytest.raises(SoftwareUnreachable):
        rig.fetch()
    (part,) = (rig.folder / "software" / "parts").glob("*.part")
    part.write_bytes(b"\0" * 3000)
    rig.source.cut_after = None
    with pytest.raises(SoftwareRefused):
        rig.keeper.look()
    assert rig.keeper.in_hand(APP) is None
    rig.keeper.look()
    assert rig.keeper.file(APP).read_bytes() == CONTENT


def test_what_the_repository_does_not_offer_is_said_and_not_asked_for_again(rig: Rig) -> None:
    rig.fetch("data/none.bin")
    assert "offers no such file" in rig.keeper.progress("data/none.bin").words
    assert rig.keeper.standing() == []
    with pytest.raises(SoftwareNotOffered):
        rig.keeper.want("../../etc/passwd")
    for number in range(MAX_WISHES):
        rig.keeper.want(f"data/{number}.bin")
    with pytest.raises(SoftwareNotOffered, match="wanted already"):
        rig.keeper.want("data/last.bin")


def test_a_policy_without_a_repository_offers_nothing(rig: Rig) -> None:
    rig.pin = None
    with pytest.raises(SoftwareNotOffered, match="policy"):
        rig.fetch()


def test_what_is_called_back_is_forgotten(rig: Rig) -> None:
    rig.fetch()
    rig.software.ceremony.remove(APP, rig.software.now)
    rig.software.release(b"other", "data/other.bin", TargetFacts(ArtifactKind.DATA, "1", ["TM-E30"]))
    wanted = artifact_of(CONTENT)
    rig.fetch("data/other.bin")
    assert rig.keeper.in_hand(APP) is None
    assert rig.keeper.held(wanted) is None
    assert not rig.keeper.file(APP).exists()


def artifact_of(content: bytes) -> Artifact:
    import hashlib

    return Artifact(APP, len(content), hashlib.sha256(content).hexdigest())


def test_a_next_version_under_the_same_path_takes_the_place_of_the_former(rig: Rig) -> None:
    rig.fetch()
    rig.software.release(b"5.6.0 " * 50, APP, TargetFacts(ArtifactKind.PAYMENT_APPLICATION, "5.6.0", ["TM-E30"]))
    rig.fetch()
    held = rig.keeper.in_hand(APP)
    assert held is not None
    assert held.facts.version == "5.6.0"
    assert rig.keeper.held(artifact_of(CONTENT)) != artifact_of(CONTENT)


def test_room_is_bounded_and_the_oldest_goes_first(tmp_path: Path) -> None:
    rig = rig_with(tmp_path)
    rig.bounds = Bounds(len(CONTENT) + 100, 0)
    rig.start_again()
    rig.software.release(b"x" * 200, "data/other.bin", TargetFacts(ArtifactKind.DATA, "1", ["TM-E30"]))
    rig.fetch()
    rig.fetch("data/other.bin")
    assert rig.keeper.in_hand("data/other.bin") is not None
    assert rig.keeper.in_hand(APP) is None
    rig.software.release(b"x" * 20_000, "data/large.bin", TargetFacts(ArtifactKind.DATA, "1", ["TM-E30"]))
    with pytest.raises(BudgetSpent, match="room"):
        rig.fetch("data/large.bin")


def test_the_data_of_a_day_is_bounded_over_restarts(tmp_path: Path) -> None:
    content = b"x" * (3 * SYNC_BYTES)
    rig = rig_with(tmp_path, content)
    rig.bounds = Bounds(10 * SYNC_BYTES, 2 * SYNC_BYTES)
    rig.start_again()
    with pytest.raises(BudgetSpent, match="within a day"):
        rig.fetch()
    given = rig.source.given_bytes
    rig.start_again()
    with pytest.raises(BudgetSpent):
        rig.keeper.look()
    assert rig.source.given_bytes - given < SYNC_BYTES + 100_000
    rig.ahead_ms = DAY_MS + 1
    rig.keeper.look()
    assert rig.keeper.file(APP).read_bytes() == content


def test_the_thread_fetches_by_itself(tmp_path: Path) -> None:
    from tests.support.wire_agent import until

    rig = rig_with(tmp_path)
    rig.start_again()
    del rig.keeper._begin
    rig.keeper.want(APP)
    until(lambda: rig.keeper.in_hand(APP) is not None, "the file to be in hand")
    rig.keeper.stop()
