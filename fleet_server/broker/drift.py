"""The broker's files as they are against those that would be written now.

Invariant: whatever lets more through than what was generated is in ``weaker``; changes that do not are in ``other``.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleet_server.broker.options import Configuration, Option, parse_configuration, weaknesses
from fleet_server.broker.rights import Right, parse_rights
from protocol.broker_rules import acl
from protocol.identifiers import is_identifier
from protocol.topics import PREFIX

_TRUSTED = ("acl_file", "cafile", "crlfile", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class Drift:
    weaker: tuple[str, ...]
    other: tuple[str, ...]


def compare(broker_dir: Path, wanted_configuration: str) -> Drift:
    """``broker_dir`` holds ``mosquitto.conf`` and ``acl``."""
    files = broker_dir / "mosquitto.conf", broker_dir / "acl"
    texts = []
    for path in files:
        try:
            texts.append(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            return Drift((f"expected {path}, found that it cannot be read: {error}",), ())
    wanted = parse_configuration(wanted_configuration)
    found = parse_configuration(texts[0])
    conf = "mosquitto.conf"
    weaker = [f"{conf}: {one}" for one in (*weaknesses(found), *_other_files(found, wanted))]
    weaker += [f"acl: {one}" for one in _wider(texts[1])]
    weaker += _writable_by_others(files)
    other = [f"{conf}: {one}" for one in _changed(found, wanted)] + [f"acl: {one}" for one in _narrower(texts[1])]
    return Drift(tuple(weaker), tuple(other))


def _values(configuration: Configuration, name: str) -> set[str]:
    return {option.value for option in _all_of(configuration) if option.name == name}


def _all_of(configuration: Configuration) -> list[Option]:
    return [*configuration.whole, *(one for _, options in configuration.listeners for one in options)]


def _other_files(found: Configuration, wanted: Configuration) -> Iterator[str]:
    """Another authority, another list of revoked ones, another access file than this installation's."""
    for name in _TRUSTED:
        expected = _values(wanted, name)
        for value in sorted(_values(found, name) - expected):
            yield f"expected '{name} {', '.join(expected)}', found '{name} {value}'"


def _wider(text: str) -> Iterator[str]:
    generated = parse_rights(acl())
    for right, line in parse_rights(text).items():
        if right.access != "deny" and right not in generated:
            yield f"line {line}: expected no right but those generated, found '{right}'"


def _narrower(text: str) -> Iterator[str]:
    found, generated = parse_rights(text), parse_rights(acl())
    for right in generated:
        if right not in found:
            yield f"expected '{right}', found no such line"
    for right, line in found.items():
        if right.access == "deny" and not _is_of_retired(right):
            yield f"line {line}: found '{right}'"


def _is_of_retired(right: Right) -> bool:
    """As `fleet_server.enrollment.enforcing` writes it for a link that was taken out of service."""
    return is_identifier(right.who) and right.topic == f"{PREFIX}/{right.who}/#"


def _changed(found: Configuration, wanted: Configuration) -> Iterator[str]:
    names = {option.name for option in (*_all_of(found), *_all_of(wanted))}
    for name in sorted(names):
        before, now = _values(wanted, name), _values(found, name)
        if before != now:
            yield f"expected '{name} {', '.join(sorted(before)) or '(none)'}', found {', '.join(sorted(now)) or 'none'}"
    openings = [{str(opening) for opening, _ in one.listeners} for one in (wanted, found)]
    if openings[0] != openings[1]:
        yield f"expected {', '.join(sorted(openings[0]))}, found {', '.join(sorted(openings[1])) or 'none'}"


def _writable_by_others(files: tuple[Path, ...]) -> Iterator[str]:
    for path in files:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield f"{path.name}: expected a file that only its owner may write, found mode {mode:04o}"
