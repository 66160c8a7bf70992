"""Playbooks from text, and those that come with the product."""

from __future__ import annotations

from functools import cache
from importlib import resources

from protocol.playbooks.checking import PlaybookInvalid, check
from protocol.playbooks.language import MAX_TEXT_BYTES, Playbook
from protocol.toml_text import TomlWrong, read_toml

_SUFFIX = ".toml"


def read_playbook(text: str, place: str) -> Playbook:
    """``place``: the file's name, for what is wrong with it. Raises `PlaybookInvalid`."""
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise PlaybookInvalid(place, [f"expected at most {MAX_TEXT_BYTES} bytes, came more"])
    try:
        playbook = read_toml(text, Playbook)
    except TomlWrong as error:
        raise PlaybookInvalid(place, [str(error)]) from error
    return check(playbook, place)


@cache
def shipped() -> dict[str, Playbook]:
    """By name."""
    found = {}
    for file in sorted(resources.files(__package__).joinpath("shipped").iterdir(), key=lambda one: one.name):
        if file.name.endswith(_SUFFIX):
            playbook = read_playbook(file.read_text("utf-8"), file.name)
            if file.name != f"{playbook.name}{_SUFFIX}":
                raise PlaybookInvalid(file.name, [f"name: expected the file's own, came {playbook.name!r}"])
            found[playbook.name] = playbook
    return found
