from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.signer.errors import SignerFolderUnusable
from fleet_server.signer.settings import SignerSettings, load_signer_settings


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    written = SignerSettings(tmp_path, "/run/x.sock", clients="a,b", socket_group="g", changes_per_hour=7)
    (tmp_path / "signer.toml").write_text(written.text(), "utf-8")
    assert load_signer_settings(tmp_path) == written


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "socket is missing"),
        ('socket = "x"\nchanges_per_hour = "many"', "changes_per_hour: expected int, came 'many'"),
        ('socket = "x"\nchanges_per_hour = true', "expected int, came True"),
        ('socket = "x"\nchanges_per_hour = -1', "expected 0"),
        ('socket = "x"\nchanges_per_day = 1', "changes_per_day is not a setting"),
        ("socket = ", "cannot be read"),
    ],
)
def test_a_broken_file_stops_the_start_and_names_what_is_wrong(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "signer.toml").write_text(content, "utf-8")
    with pytest.raises(SignerFolderUnusable, match=complaint):
        load_signer_settings(tmp_path)


def test_a_missing_file_says_who_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SignerFolderUnusable, match="fleet-server init"):
        load_signer_settings(tmp_path)
