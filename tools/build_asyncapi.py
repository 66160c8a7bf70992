"""Writes docs/asyncapi.json from the protocol's types; with --check says whether it is up to date (exit code 1: no)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from protocol.asyncapi import document

TARGET = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.json"


def main() -> int:
    text = json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, "utf-8")
        return 0
    if TARGET.is_file() and TARGET.read_text("utf-8") == text:
        return 0
    print(f"{TARGET.name} does not match the types: run 'make generate'")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
