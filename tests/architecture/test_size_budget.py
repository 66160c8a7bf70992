"""Files of at most 400 lines, functions of at most 40. Migrations and pure data files are exempt by name."""

from __future__ import annotations

import ast

from tests.architecture.source_tree import name_of, parsed, tracked

FILE_LINES = 400
FUNCTION_LINES = 40


def is_data(name: str) -> bool:
    return "/migrations/versions/" in name or "/catalogue/sources/" in name or "/catalogue/data/" in name


def test_no_file_is_too_long_to_be_read_at_once() -> None:
    sizes = {name_of(path): len(path.read_text("utf-8").splitlines()) for path in tracked(".py", ".js", ".mjs")}
    assert {name: lines for name, lines in sizes.items() if lines > FILE_LINES and not is_data(name)} == {}


def test_no_function_is_too_long_to_be_held_in_mind() -> None:
    wrong = []
    for path in tracked(".py"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_data(name_of(path)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    wrong.append(f"{name_of(path)}:{node.lineno} {node.name} ({lines})")
    assert wrong == []
