"""What the operator's page says is what the programs do: keys of ``agent.toml``, roles, settings, the way back."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from device_agent.config import (
    AgentFile,
    AppConfig,
    DataConfig,
    HostConfig,
    LineConfig,
    NetworkConfig,
    SoftwareConfig,
    ValueConfig,
    load,
)
from fleet_server.__main__ import make_app
from fleet_server.auth.roles import Role
from fleet_server.ingest.installation import COUNTER_STEP
from fleet_server.settings import ServerSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "operator.md").read_text("utf-8")
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "": AgentFile,
    "host.": HostConfig,
    "lines.": LineConfig,
    "data.": DataConfig,
    "app.": AppConfig,
    "network.": NetworkConfig,
    "software.": SoftwareConfig,
    "values.": ValueConfig,
}
# What None means, in words.
ABSENT = {"lines.class": "the link's own", "soak_limit_s": "none"}


def declared() -> dict[str, str]:
    """Each key with its default as the page must give it."""
    found = {}
    for prefix, kind in SECTIONS.items():
        for field in msgspec.structs.fields(kind):
            if prefix == "" and f"{field.encode_name}." in SECTIONS:
                continue
            name = f"{prefix}{field.encode_name}"
            found[name] = _default(name, field.default)
    return found


def _default(name: str, value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return "required"
    if value is None:
        return ABSENT[name]
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def table_after(heading: str) -> dict[str, str]:
    """The first two columns of the next table."""
    body = PAGE.split(heading, 1)[1].split("\n\n", 2)[0:2]
    rows = [line.split("|") for line in "\n".join(body).splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): row[2].strip() for row in rows}


def test_every_key_of_agent_toml_is_explained_with_its_default() -> None:
    assert table_after("<!-- agent.toml:") == declared()


def test_the_example_of_an_agent_toml_is_taken_by_the_agent(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    lines = [line.removeprefix("   ") for line in example[1].splitlines()]
    (tmp_path / "agent.toml").write_text("\n".join(lines), "utf-8")
    bundle = {"link": "d-example0000000", "broker": {"host": "broker.example", "port": 8883}, "root_public": "0" * 64}
    (tmp_path / "enrolment.json").write_bytes(msgspec.json.encode(bundle))
    config = load(tmp_path / "agent.toml")
    assert config.lines[0].driver == "escpos"
    assert config.bundled("client.key") == tmp_path / "client.key"


def test_every_role_is_explained() -> None:
    assert list(table_after("`fleet_server/auth/roles.py`:")) == [role.value for role in Role]


@pytest.mark.parametrize("command", ["backup", "restore", "dead-letters"])
def test_the_commands_of_backup_and_restore_are_there(command: str) -> None:
    assert f"fleet-server {command} " in PAGE
    names = {one.name or one.callback.__name__ for one in make_app().registered_commands if one.callback}
    assert command in names | {one.name for one in make_app().registered_groups}


def test_how_far_a_restore_moves_command_counters_is_what_it_does() -> None:
    assert f"command counters of all devices by {COUNTER_STEP:,}" in PAGE


def test_how_long_things_are_kept_is_what_the_settings_say() -> None:
    kept = {field.name: f"`{field.default}`" for field in fields(ServerSettings) if field.name.endswith("_kept_days")}
    assert table_after("### How long things are kept\n\nWhat comes") == kept
