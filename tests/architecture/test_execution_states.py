"""One table of an execution's states: nobody but `protocol.executions` groups or orders them, or says what follows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from protocol.executions import ExecutionState
from tests.architecture.source_tree import name_of, parsed, python_under

TABLE = "protocol/executions.py"
PACKAGES = ("protocol", "device_agent", "fleet_server", "simulators")
NAMES = {state.value for state in ExecutionState}
SOURCES = [path for package in PACKAGES for path in python_under(package) if name_of(path) != TABLE]


def states_in(node: ast.AST | None) -> set[str]:
    """States that an expression names, as members or as texts of their own."""
    match node:
        case ast.Attribute(value=ast.Name(id="ExecutionState" | "_S" | "S"), attr=name) if name in NAMES:
            return {name}
        case ast.Attribute(value=inner, attr="value"):
            return states_in(inner)
        case ast.Constant(value=str(text)) if text in NAMES:
            return {text}
    return set()


def groups(tree: ast.AST) -> list[tuple[int, set[str]]]:
    """Collections of some states, and keys of a mapping that has some of them. All of them are a translation."""
    found: list[tuple[int, set[str]]] = []
    for node in ast.walk(tree):
        members: set[str] = set()
        match node:
            case ast.Set(elts=elements) | ast.List(elts=elements) | ast.Tuple(elts=elements):
                members = {name for element in elements for name in states_in(element)}
            case ast.Dict(keys=keys):
                members = {name for key in keys for name in states_in(key)}
            case ast.MatchOr(patterns=patterns):
                values = [pattern.value for pattern in patterns if isinstance(pattern, ast.MatchValue)]
                members = {name for value in values for name in states_in(value)}
        if 1 < len(members) < len(NAMES):
            found.append((getattr(node, "lineno", 0), members))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_second_table_of_states(path: Path) -> None:
    assert groups(parsed(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "OPEN = {ExecutionState.QUEUED, ExecutionState.PUBLISHED}",
        "NEXT = {_S.QUEUED: _S.PUBLISHED, _S.PUBLISHED: _S.STORED}",
        "match s:\n    case S.QUEUED | S.DRAFT:\n        pass",
        "x in ('QUEUED', 'PUBLISHED')",
        "x in [ExecutionState.QUEUED.value, ExecutionState.STORED.value]",
    ],
)
def test_the_rule_sees_each_way_to_write_one(source: str) -> None:
    assert groups(ast.parse(source))
