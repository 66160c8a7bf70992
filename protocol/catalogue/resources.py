"""Reads the generated JSON that ships inside this package. The only place of the catalogue that touches files.

The files are made from `sources/` by `tools/build_catalogue.py`; nothing here reads YAML.
"""

from __future__ import annotations

from importlib.resources import files


def read_data(name: str) -> bytes | None:
    """The bytes of `data/{name}.json`, or None when there is no such file."""
    resource = files(__package__).joinpath("data", f"{name}.json")
    return resource.read_bytes() if resource.is_file() else None
