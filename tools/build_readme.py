"""Writes the code map of README.md from the packages' own docstrings; with --check says whether it is up to date."""

from __future__ import annotations

import ast
from pathlib import Path

from tools.generated import write_or_check

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BEGIN, END = "<!-- code map: made by tools/build_readme.py -->", "<!-- end of code map -->"
PACKAGES = ("protocol", "device_agent", "fleet_server", "simulators")


def first_sentence(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    return paragraph.split(". ")[0].rstrip(".").replace("|", "\\|")


def rows(package: str) -> list[str]:
    """One row a module of the first level, one a folder below it."""
    found = [f"| `{package}/` | {first_sentence(ROOT / package / '__init__.py')} |"]
    for path in sorted((ROOT / package).iterdir()):
        if path.is_dir() and (path / "__init__.py").is_file() and path.name != "__pycache__":
            found.append(f"| &nbsp;&nbsp;`{path.name}/` | {first_sentence(path / '__init__.py')} |")
        elif path.suffix == ".py" and path.name != "__init__.py":
            found.append(f"| &nbsp;&nbsp;`{path.name}` | {first_sentence(path)} |")
    return found


def code_map() -> str:
    lines = [BEGIN, "| where | what |", "|---|---|"]
    for package in PACKAGES:
        lines += rows(package)
    return "\n".join([*lines, END])


def main() -> int:
    before, rest = README.read_text("utf-8").split(BEGIN, 1)
    return write_or_check(README, before + code_map() + rest.split(END, 1)[1])


if __name__ == "__main__":
    raise SystemExit(main())
