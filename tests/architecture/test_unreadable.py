"""What msgspec raises for bytes that are not what is expected is more than its own errors: no UTF-8, and too deep."""

from __future__ import annotations

import ast

from tests.architecture.source_tree import name_of, parsed, python_under

ITS_OWN, THE_REST = {"DecodeError", "MsgspecError"}, {"UnicodeDecodeError", "RecursionError"}


def test_whoever_catches_what_cannot_be_read_catches_all_of_it() -> None:
    """By ``protocol.codec.UNREADABLE``. Where the rest is caught beside it, that is one handler more."""
    wrong = []
    for folder in ("protocol", "device_agent", "fleet_server", "simulators"):
        for path in python_under(folder):
            for node in (one for one in ast.walk(parsed(path)) if isinstance(one, ast.Try)):
                caught = _catches(node)
                if caught & ITS_OWN and not caught >= THE_REST:
                    wrong.append(f"{name_of(path)}:{node.lineno}")
    assert wrong == []


def _catches(node: ast.Try) -> set[str]:
    found: set[str] = set()
    for handler in node.handlers:
        for part in ast.walk(handler.type) if handler.type is not None else ():
            found |= {part.attr} if isinstance(part, ast.Attribute) else set()
            found |= {part.id} if isinstance(part, ast.Name) else set()
    return found
