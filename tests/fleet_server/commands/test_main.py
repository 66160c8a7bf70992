"""The command line as people and programs meet it: its words and its exit code."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_server.__main__ import main
from tests.fleet_server.enrollment.fleets import small_fleet

HEAVY = ("fastapi", "sqlmodel", "sqlalchemy", "alembic", "uvicorn", "paho", "argon2", "cryptography", "pydantic")


@dataclass(frozen=True, slots=True)
class Answer:
    returncode: int
    stdout: str
    stderr: str


def fleet_server(*words: str) -> Answer:
    """The program's own entry, in this process: starting Python for every sentence would take most of the time."""
    said, complained = io.StringIO(), io.StringIO()
    argv, mask = sys.argv, os.umask(0o077)
    sys.argv = ["fleet-server", *words]
    try:
        with redirect_stdout(said), redirect_stderr(complained):
            main()
        code: object = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = argv
        os.umask(mask)
    return Answer(code if isinstance(code, int) else 0, said.getvalue(), complained.getvalue())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("installed")
    (folder / "fleet.json").write_text(json.dumps(small_fleet()), "utf-8")
    data = folder / "data"
    answer = fleet_server("init", "--data", str(data), "--fleet", str(folder / "fleet.json"), "--demo", "--json")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return data, json.loads(answer.stdout)


def test_help_names_the_commands_without_loading_anything_heavy() -> None:
    code = (
        "import sys\nfrom fleet_server.__main__ import main\nsys.argv = ['fleet-server', '--help']\ntry:\n    main()\n"
    )
    code += "except SystemExit:\n    print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))\n"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    words, loaded = said.split("LOADED")
    assert all(command in words for command in ("init", "run", "api", "ingest", "scheduler", "migrate"))
    assert set(loaded.split()) & set(HEAVY) == set()


def test_init_prints_one_json_object_for_programs(installed: tuple[Path, dict[str, object]]) -> None:
    data, printed = installed
    assert set(printed) == {"broker_config", "users", "api_token", "url", "mqtt_port", "devices"}
    assert printed["broker_config"] == str(data / "broker" / "mosquitto.conf")
    assert printed["url"] == "http://127.0.0.1:8080"


def test_init_prints_words_for_people(installed: tuple[Path, dict[str, object]]) -> None:
    answer = fleet_server("init", "--data", str(installed[0]))
    assert answer.returncode == 0
    assert "3 devices enrolled, console at http://127.0.0.1:8080" in answer.stdout
    assert "mosquitto -c" in answer.stdout


def test_everything_written_is_its_owners_alone(installed: tuple[Path, dict[str, object]]) -> None:
    assert [path for path in installed[0].rglob("*") if path.stat().st_mode & 0o077] == []


def test_migrating_again_says_that_nothing_was_to_do(installed: tuple[Path, dict[str, object]]) -> None:
    answer = fleet_server("migrate", "--data", str(installed[0]), "--json")
    revisions = json.loads(answer.stdout)
    assert revisions["from"] == revisions["to"]


def test_a_password_is_renewed_and_a_person_made_from_the_machine(installed: tuple[Path, dict[str, object]]) -> None:
    data = str(installed[0])
    renewed = json.loads(fleet_server("passwd", "viewer", "--data", data, "--json").stdout)
    made = json.loads(fleet_server("passwd", "li.wei", "--role", "support", "--data", data, "--json").stdout)
    again = json.loads(fleet_server("passwd", "li.wei", "--role", "technician", "--data", data, "--json").stdout)
    assert (renewed["new"], made["new"], again["new"]) == (False, True, False)
    assert len(made["password"]) >= 12
    assert "nobody named lo.wei: give --role" in refused(fleet_server("passwd", "lo.wei", "--data", data))


def test_a_token_is_issued_and_ended_from_the_machine(installed: tuple[Path, dict[str, object]]) -> None:
    data = str(installed[0])
    issued = json.loads(fleet_server("token", "ci", "--role", "support", "--data", data, "--json").stdout)
    assert issued["token"].startswith("tm_")
    assert json.loads(fleet_server("token", "ci", "--revoke", "--data", data, "--json").stdout)["revoked"]
    assert "no token named ci" in fleet_server("token", "ci", "--revoke", "--data", data).stdout


def broken_toml(folder: Path) -> Path:
    (folder / "server").mkdir(parents=True)
    (folder / "server" / "fleet.toml").write_text("mqtt_port = ")
    return folder


def refused(answer: Answer) -> str:
    """The one sentence of a refusal."""
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("fleet-server: ")
    assert answer.stderr.count("\n") == 1
    return answer.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["init", "--data", "a_file"], "a_file cannot be made: a file is in the way"),
        (["init", "--data", "a_file/below"], "a file is in the way"),
        (["init", "--data", "broken"], "fleet.toml cannot be read"),
        (["init", "--data", "new", "--fleet", "nowhere.json"], "nowhere.json cannot be read"),
        (["init", "--data", "new", "--database-url", "postgresql+psycopg://u:pw@127.0.0.1:1/x"], "cannot be opened"),
        (["run", "--data", "empty"], "run 'fleet-server init --data empty' first"),
        (["migrate", "--data", "empty"], "run 'fleet-server init --data empty' first"),
    ],
)
def test_what_a_person_can_put_right_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    broken_toml(tmp_path / "broken")
    said = refused(fleet_server(*words))
    assert sentence in said
    assert "pw" not in said


def test_a_database_of_a_later_version_stops_the_start(tmp_path: Path) -> None:
    assert fleet_server("init", "--data", str(tmp_path / "data")).returncode == 0
    with sqlite3.connect(tmp_path / "data" / "server" / "fleet.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    for command in ("init", "run", "migrate"):
        assert "revision 9999, which this version does not know" in refused(
            fleet_server(command, "--data", str(tmp_path / "data"))
        )
