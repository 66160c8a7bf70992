"""The signer's key as a file: one that takes its place is noticed, one that is only away is not."""

from __future__ import annotations

import threading
from pathlib import Path

from fleet_server.signer.keys import KeyFiles, load_key, until_replaced

PATIENCE_S = 20.0


def test_another_key_in_its_place_ends_the_signer(tmp_path: Path) -> None:
    key, other, stop = tmp_path / "command.seed", tmp_path / "other", threading.Event()
    for path, digits in ((key, "00"), (other, "11")):
        path.write_text(digits * 32, "ascii")
    in_use = load_key(key).public_hex
    with until_replaced(key, stop, lambda: in_use):
        other.replace(key)
        assert stop.wait(PATIENCE_S)


def test_a_key_that_is_away_for_a_while_ends_nothing(tmp_path: Path) -> None:
    key, away, stop = tmp_path / "command.seed", tmp_path / "away", threading.Event()
    key.write_text("00" * 32, "ascii")
    in_use = load_key(key).public_hex
    with until_replaced(key, stop, lambda: in_use):
        key.rename(away)
        assert not stop.wait(0.8)
        away.rename(key)
        assert not stop.wait(0.8)


def test_the_next_key_is_one_until_it_is_taken_and_ends_nobody_who_went_over_to_it(tmp_path: Path) -> None:
    files, stop = KeyFiles(tmp_path / "command.seed"), threading.Event()
    files.present.write_text("00" * 32, "ascii")
    fresh, in_use = files.prepared(), [load_key(files.present).public_hex]
    assert files.prepared().public_hex == fresh.public_hex
    assert fresh.public_hex != load_key(files.present).public_hex
    with until_replaced(files.present, stop, lambda: in_use[-1]):
        assert not stop.wait(0.8)
        in_use.append(fresh.public_hex)
        files.take()
        assert not stop.wait(1.2)
    assert load_key(files.present).public_hex == fresh.public_hex
    assert not files.next.exists()
