from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_agent.config import AgentConfig, load
from device_agent.errors import ConfigurationInvalid
from protocol.session import Profile

ENROLMENT = {
    "link": "gw-00000001",
    "tenant": "default",
    "broker": {"host": "127.0.0.1", "port": 8883},
    "root_public": "0" * 64,
    "attached": {"zvt0": "zvt-00000001"},
    "terminal_class": "kiosk",
    "serial_number": "1",
    "model": None,
}


def written(folder: Path, text: str) -> Path:
    (folder / "enrolment.json").write_text(json.dumps(ENROLMENT))
    path = folder / "agent.toml"
    path.write_text('enrolment = "."\n' + text)
    return path


def test_paths_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    config: AgentConfig = load(written(tmp_path, 'profile = "demo"\n[[lines]]\nname="zvt0"\ndriver="zvt"\nport="x"\n'))
    assert config.spool_file == tmp_path / "state" / "spool.db"
    assert config.bundled("client.crt") == tmp_path / "client.crt"
    assert (config.profile, config.who.attached) == (Profile.DEMO, {"zvt0": "zvt-00000001"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("quota_mb = 0", "quota_mb: expected `int` >= 1, came '0'"),
        ('profile = "fast"', "profile: invalid enum value 'fast'"),
        ("[host]\nkind = 'moon'", "host.kind: expected `str` matching regex"),
        ("[host]\nkind = 'terminal'", "host.socket: expected the terminal service's socket, came nothing"),
        ("[[lines]]\nname='a'\ndriver='zvt'", "lines.a: expected either port or url, came neither"),
        (
            "[[lines]]\nname='a'\ndriver='zvt'\nport='x'\n[[lines]]\nname='a'\ndriver='zvt'\nport='y'",
            "lines.name: expected each name once, came 'a' twice",
        ),
        ("[data]\nmonth_mb = -1", "data.month_mb: expected `int` >= 0, came '-1'"),
        ("[data]\nday_mb = 3", "time_zone: expected the terminal's, for its data, came nothing"),
        ("colour = 1", "unknown field `colour`"),
        ("= 1", "expected TOML"),
    ],
)
def test_wrong_file_is_one_sentence_with_file_key_expected_and_came(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationInvalid) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_missing_enrolment_name_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match=r"agent\.toml: expected a readable file"):
        load(tmp_path / "agent.toml")
    path = written(tmp_path, "")
    (tmp_path / "enrolment.json").unlink()
    with pytest.raises(ConfigurationInvalid, match=r"enrolment\.json: expected a readable enrolment"):
        load(path)


def test_state_folder_in_which_no_socket_can_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationInvalid, match="state_dir: expected a path of at most 94 bytes, came"):
        load(written(tmp_path, f'state_dir = "/{"x" * 100}"\n'))
    assert load(written(tmp_path, f'state_dir = "/{"x" * 93}"\n')).state_folder == Path("/" + "x" * 93)
