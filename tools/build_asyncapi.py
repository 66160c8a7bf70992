"""Writes docs/asyncapi.json from the protocol's types; with --check says whether it is up to date (exit code 1: no)."""

from __future__ import annotations

import json
from pathlib import Path

from protocol.asyncapi import document
from tools.generated import write_or_check

TARGET = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.json"


def main() -> int:
    return write_or_check(TARGET, json.dumps(document(), indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
