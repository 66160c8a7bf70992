"""What a program loads before it does anything: the agent must stay light, command lines quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = "import sys, json; import {module}; print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"


def loaded_by(module: str) -> set[str]:
    script = SHOW.format(module=module)
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(answer.stdout.replace('"', "").strip("[]\n").split(", "))


@pytest.mark.parametrize("module", ["device_agent.bootstrap", "device_agent.runner", "device_agent.registry"])
def test_agent_never_loads_the_servers_libraries(module: str) -> None:
    heavy = {"fastapi", "sqlmodel", "sqlalchemy", "pydantic", "numpy", "starlette", "uvicorn", "tuf", "fleet_server"}
    assert loaded_by(module) & heavy == set()


def test_command_line_of_the_server_loads_no_framework_before_it_knows_the_command() -> None:
    assert loaded_by("fleet_server.__main__") & {"fastapi", "sqlmodel", "sqlalchemy", "paho", "httpx2"} == set()


def test_command_line_of_the_simulators_loads_no_server_library() -> None:
    assert loaded_by("simulators.__main__") & {"fastapi", "sqlmodel", "sqlalchemy", "pydantic", "paho"} == set()


def test_protocol_loads_no_catalogue_data() -> None:
    script = "import sys, protocol.records, protocol.commands; print(any('catalogue' in m for m in sys.modules))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_processes_without_http_load_no_http_framework() -> None:
    assert loaded_by("fleet_server.ingest.bootstrap") & {"fastapi", "starlette", "alembic", "uvicorn"} == set()
    assert loaded_by("fleet_server.scheduler") & {"fastapi", "starlette", "alembic", "uvicorn"} == set()


def test_supervisor_of_the_server_loads_neither_framework_nor_database() -> None:
    needed = "fleet_server.preflight, fleet_server.supervisor, fleet_server.enrollment.tls_files"
    assert loaded_by(needed) & {"fastapi", "sqlmodel", "sqlalchemy", "alembic", "pydantic", "paho"} == set()
