"""Follows one execution from the shell: live lines in words until it ends, or the patience does."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httpx2

from fleet_server.commands.client_words import ClientWords
from fleet_server.commands.connection import Connection
from fleet_server.errors import FleetError

_RETRY_S = 1.0
_TRUE, _FALSE = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


class ParamUnreadable(FleetError):
    code: ClassVar[str] = "param_unreadable"


def given_params(action: dict[str, Any], given: list[str]) -> dict[str, Any]:
    """``name=value`` texts as values of the declared types."""
    declared = {one["name"]: one["type"] for one in action["params"]}
    values: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or name not in declared:
            raise ParamUnreadable(f"expected NAME=VALUE with one of {', '.join(declared) or 'no'} names, came {text!r}")
        values[name] = _value(name, declared[name], value)
    return values


def given_artifact(name: str, file: Path | None) -> dict[str, Any] | None:
    """``name``: as the repository of software names it; ``file``: a copy of it, whose length and sum people sign."""
    if not name and file is None:
        return None
    if not name or file is None:
        raise ParamUnreadable("--artifact and --file: expected both, or neither; came one of them")
    try:
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            return {"path": name, "length": os.fstat(opened.fileno()).st_size, "sha256": sha256}
    except OSError as error:
        raise ParamUnreadable(f"{file}: expected a file that can be read, came {error.strerror}") from error


def _value(name: str, kind: str, text: str) -> bool | int | float | str:
    try:
        if kind == "integer":
            return int(text)
        if kind == "number":
            return float(text)
    except ValueError as error:
        raise ParamUnreadable(f"{name}: expected a {kind}, came {text!r}") from error
    if kind == "switch":
        if text.lower() not in _TRUE | _FALSE:
            raise ParamUnreadable(f"{name}: expected true or false, came {text!r}")
        return text.lower() in _TRUE
    return text


def follow(
    connection: Connection, asked: dict[str, Any], words: ClientWords, say: Callable[[str], object], wait_s: float
) -> dict[str, Any]:
    """The execution as it is at the end. A stream that is cut is taken up again where it stopped."""
    path = f"/api/v1/executions/{asked['id']}"
    give_up_s, last = time.monotonic() + wait_s, 0
    if asked["state"] == "QUEUED":
        say(words.say("queued", until=asked["queued_until"]))
    if asked["state"] == "AWAITING_APPROVAL":
        say(words.say("to_approve", id=asked["id"]))
    while time.monotonic() < give_up_s:
        try:
            for event in connection.events(f"{path}/events", last):
                last = event["id"]
                line = words.progress_line(event)
                if line:
                    say(line)
                if time.monotonic() >= give_up_s:
                    break
        except httpx2.HTTPError:
            time.sleep(_RETRY_S)
        done: dict[str, Any] = connection.get(path)
        if done["is_final"]:
            say(words.end_line(done))
            return done
    say(words.say("patience"))
    unfinished: dict[str, Any] = connection.get(path)
    return unfinished
