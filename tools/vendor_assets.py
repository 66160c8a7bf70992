"""Copies the page library from node_modules to where the console serves it. Run after ``npm ci --ignore-scripts``.

Nothing third-party is kept in the repository: the lock file's hashes say what is copied.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "node_modules" / "htmx.org" / "dist"
TARGET = ROOT / "fleet_server" / "console" / "static" / "vendor"
FILES = ("htmx.min.js", "ext/hx-sse.min.js")


def main() -> int:
    missing = [name for name in FILES if not (SOURCE / name).is_file()]
    if missing:
        print(f"{SOURCE / missing[0]} is missing: run 'npm ci --ignore-scripts' first", file=sys.stderr)
        return 1
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        # The map that the last line names is not served, and browsers' tools would ask for it.
        text = (SOURCE / name).read_text("utf-8")
        kept = [line for line in text.splitlines() if not line.startswith("//# sourceMappingURL=")]
        (TARGET / Path(name).name).write_text("\n".join(kept) + "\n", "utf-8")
    shutil.copymode(SOURCE / FILES[0], TARGET / Path(FILES[0]).name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
