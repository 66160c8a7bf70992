from __future__ import annotations

from pathlib import Path

from device_agent.adapters.clock import host_boot, now, system_dice


def test_boot_changes_only_with_the_hosts_own_boot_id(tmp_path: Path) -> None:
    source = tmp_path / "boot_id"
    source.write_text("8f4c1f0e-0000-4000-8000-000000000001\n")
    first = host_boot(source)
    assert first == host_boot(source)
    source.write_text("8f4c1f0e-0000-4000-8000-000000000002\n")
    assert host_boot(source) != first


def test_host_without_a_boot_id_gets_one_of_128_bits(tmp_path: Path) -> None:
    assert len(host_boot(tmp_path / "none")) == 32


def test_dice_and_clock_have_the_shapes_the_core_expects() -> None:
    dice = system_dice()
    assert 0 <= dice.uniform() < 1
    assert len(dice.hex128()) == 32
    assert now().wall.tzinfo is not None
