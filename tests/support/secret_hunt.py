"""Looks for secrets where somebody else could read them: process lists, logs, files with loose modes, answers.

A secret is one of an installation: its text, and what it looks like as hex, in base64 or in an address.
"""

from __future__ import annotations

import base64
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

_PEM_LINE_CHARS = 40  # of a private key; shorter ones are shared by many
_KEY_SUFFIXES = {".key", ".seed"}

Secrets = Mapping[str, str]


def of_files(folder: Path) -> dict[str, str]:
    """The keys that lie in an installation's folder, by file."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _KEY_SUFFIXES and path.is_file():
            lines = [line for line in path.read_text("utf-8").split() if len(line) >= _PEM_LINE_CHARS]
            name = str(path.relative_to(folder))
            found |= {f"{name} {number}": line for number, line in enumerate(lines)}
    return found


def found_in(secrets: Secrets, data: bytes) -> set[str]:
    return {name for name, secret in secrets.items() if any(form in data for form in _forms(secret))}


def in_processes(secrets: Secrets, pids: Iterable[int]) -> dict[str, set[str]]:
    """By process and what of it: what anybody may list, and what its user's programs may."""
    found = {}
    for pid in pids:
        for part in ("cmdline", "environ"):
            try:
                data = Path(f"/proc/{pid}/{part}").read_bytes()
            except OSError:
                continue  # it ended while we looked
            found[f"{pid} {part} {data[:60]!r}"] = found_in(secrets, data)
    return _some(found)


def in_files(secrets: Secrets, files: Iterable[Path]) -> dict[str, set[str]]:
    return _some({str(path): found_in(secrets, path.read_bytes()) for path in files})


def loose_files(folder: Path) -> Iterator[Path]:
    """Those that others than their owner may read."""
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            yield path


def _forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    shifted = (base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1] for shift in range(3))
    return {raw, raw.hex().encode(), quote(secret, safe="").encode(), *shifted}


def _some(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    return {place: names for place, names in found.items() if names}
