"""Reads the generated JSON that ships inside this package. The only place of the catalogue that touches files.

The files are made from `sources/` by `tools/build_catalogue.py`; nothing here reads YAML.
"""

from __future__ import annotations

from pathlib import Path

# Not importlib.resources: it brings zip and template files into an agent that has memory for neither.
_DATA = Path(__file__).parent / "data"


def read_data(name: str) -> bytes | None:
    """The bytes of `data/{name}.json`, or None when there is no such file."""
    path = _DATA / f"{name}.json"
    return path.read_bytes() if path.is_file() else None
