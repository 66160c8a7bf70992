"""Copies the page library from node_modules to where the console serves it. Run after ``npm ci --ignore-scripts``.

Nothing third-party is kept in the repository: the lock file's hashes say what is copied. The library and its extension
become one file: the library sets the page up as soon as it has run, and an extension that arrives later is never asked.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "node_modules" / "htmx.org" / "dist"
TARGET = ROOT / "fleet_server" / "console" / "static" / "vendor"
FILES = ("htmx.min.js", "ext/hx-sse.min.js")
NAME = "htmx-with-sse.min.js"


def main() -> int:
    missing = [name for name in FILES if not (SOURCE / name).is_file()]
    if missing:
        print(f"{SOURCE / missing[0]} is missing: run 'npm ci --ignore-scripts' first", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for before in TARGET.iterdir():
        before.unlink()
    (TARGET / NAME).write_text("".join(without_map(SOURCE / name) for name in FILES), "utf-8")
    return 0


def without_map(path: Path) -> str:
    """The map that the last line names is not served, and browsers' tools would ask for it."""
    kept = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("//# sourceMappingURL=")]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.exit(main())
