from __future__ import annotations

import pytest

from tests.architecture.source_tree import ROOT, imported_modules, name_of, python_under, tracked

MAY_IMPORT = {
    "protocol": frozenset[str](),
    "device_agent": frozenset({"protocol"}),
    "fleet_server": frozenset({"protocol"}),
    "simulators": frozenset({"protocol", "device_agent"}),
}
IO_MODULES = frozenset(
    {
        "serial", "paho", "socket", "threading", "asyncio", "time", "random", "sqlite3", "subprocess", "ssl", "select",
        "secrets", "os", "multiprocessing", "psutil", "urllib", "http",
    }
)  # fmt: skip
# The catalogue reads its own data files on first use, through importlib.resources.
SANS_IO = ("protocol", "device_agent/core")


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_what_it_may(package: str) -> None:
    forbidden = MAY_IMPORT.keys() - MAY_IMPORT[package] - {package} | {"tests", "tools"}
    wrong = [
        (name_of(p), m) for p in python_under(package) for m in imported_modules(p) if m.split(".")[0] in forbidden
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", SANS_IO)
def test_sans_io_code_imports_no_io(folder: str) -> None:
    wrong = [
        (name_of(p), m) for p in python_under(folder) for m in imported_modules(p) if m.split(".")[0] in IO_MODULES
    ]
    assert wrong == []


def test_wire_modules_of_drivers_import_no_io() -> None:
    wires = [path for path in python_under("device_agent/drivers") if path.name == "wire.py"]
    assert len(wires) >= 4
    assert [(name_of(p), m) for p in wires for m in imported_modules(p) if m.split(".")[0] in IO_MODULES] == []


def test_only_the_database_module_commits() -> None:
    wrong = [
        name_of(p) for p in python_under("fleet_server") if p.name != "db.py" and ".commit()" in p.read_text("utf-8")
    ]
    assert [name for name in wrong if "migrat" not in name] == []


def test_no_module_hides_behind_a_vague_name() -> None:
    vague = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [name_of(path) for path in tracked(".py") if path.name in vague] == []


def test_endpoints_raise_no_http_exceptions() -> None:
    # While a body is read FastAPI lets only its own exception through and calls every other one a parsing error.
    beneath_the_endpoints = {"fleet_server/body_limit.py"}
    raising = {name_of(p) for p in python_under("fleet_server") if "HTTPException(" in p.read_text("utf-8")}
    assert raising <= beneath_the_endpoints


def test_every_package_has_a_docstring() -> None:
    packages = [p for package in MAY_IMPORT for p in python_under(package) if p.name == "__init__.py"]
    assert [name_of(p) for p in packages if not p.read_text("utf-8").lstrip().startswith('"""')] == []
    assert all((ROOT / package / "__init__.py").is_file() for package in MAY_IMPORT)
