"""The signer's key as a file: one that takes its place is noticed, one that is only away is not."""

from __future__ import annotations

import threading
from pathlib import Path

from fleet_server.signer.keys import until_replaced

PATIENCE_S = 20.0


def test_another_key_in_its_place_ends_the_signer(tmp_path: Path) -> None:
    key, other, stop = tmp_path / "command.seed", tmp_path / "other", threading.Event()
    for path in (key, other):
        path.write_text("00" * 32, "ascii")
    with until_replaced(key, stop):
        other.replace(key)
        assert stop.wait(PATIENCE_S)


def test_a_key_that_is_away_for_a_while_ends_nothing(tmp_path: Path) -> None:
    key, away, stop = tmp_path / "command.seed", tmp_path / "away", threading.Event()
    key.write_text("00" * 32, "ascii")
    with until_replaced(key, stop):
        key.rename(away)
        assert not stop.wait(0.8)
        away.rename(key)
        assert not stop.wait(0.8)
