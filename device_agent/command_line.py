"""What `device-agent check`, `fixes`, `status` and `doctor` print: words for people, or JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from device_agent.adapters.control_socket import Answer, ask
from device_agent.config import AgentConfig
from device_agent.errors import AgentError, BundleNotWritten, ConfigurationInvalid
from device_agent.spool_words import data_lines, spool_lines
from protocol.shown_text import one_line

EXIT_OK = 0
# The question was answered, and the answer is that something is wrong.
EXIT_NOT_WELL = 1
# What the word before a name says: a test occupies the device and may print or scan, a fix changes it.
_KINDS = {"check": "check", "test": "test", "fix": "fix "}
_WELL = frozenset({"pass", "warn", "unsupported"})


def status(config: AgentConfig, *, as_json: bool) -> int:
    answer = _last(config, {"ask": "status"})
    if as_json:
        return _print_json(answer)
    _say(f"{answer['link']}: {answer['connection']}, profile {answer['profile']}, version {answer['agent_version']}")
    for line in (*spool_lines(answer), *data_lines(answer)):
        _say(f"  {line}")
    for device in answer["devices"]:
        alive = {True: "answers", False: "does not answer", None: "not asked yet"}[device["alive"]]
        faults = ", ".join(device["faults"]) or "no fault"
        _say(f"  {device['device']} ({device['family']}{_on(device['line'])}): {alive}, {faults}")
    for one in answer["software"]:
        _say(f"  software {one['path']}: {_software_words(one)}")
    return EXIT_OK


def check(config: AgentConfig, action: str | None, device: str, given: Sequence[str], *, as_json: bool) -> int:
    if action is None:
        return _list(config, ("check",), as_json=as_json)
    request = {"ask": "check", "action": action, "device": device, "params": dict(_pair(text) for text in given)}
    answers = list(ask(config.control_socket, request))
    last = answers[-1] if answers else {"error": "no_answer", "detail": "the agent closed the connection"}
    if as_json:
        _print_json({"findings": answers[:-1], **last})
    else:
        for finding in answers[:-1]:
            _say(_finding_line(finding))
        _say(f"{action}: {last.get('outcome') or last.get('detail')}")
    return EXIT_OK if last.get("outcome") in _WELL else EXIT_NOT_WELL


def fixes(config: AgentConfig, *, as_json: bool) -> int:
    return _list(config, ("test", "fix"), as_json=as_json)


def bundle(config: AgentConfig, out: Path, log_kib: int) -> int:
    """A bundle as a file; of an agent that does not run there is less in it."""
    from device_agent.adapters.bundle_file import Patience
    from device_agent.bundling import COLLECT_S, collect

    def asked(question: str) -> Answer | None:
        try:
            return _last(config, {"ask": question})
        except (AgentError, OSError):
            return None

    new = out.with_name(f"{out.name}.new")
    try:
        with new.open("wb") as target:
            new.chmod(0o600)
            made = collect(config, asked, target, int(time.time() * 1000), Patience(COLLECT_S), log_kib)
        new.replace(out)
    except OSError as error:
        with suppress(OSError):
            new.unlink(missing_ok=True)
        raise BundleNotWritten(f"{out}: expected room for a file, came {error.strerror}") from error
    _say(f"{out}: {made.size} bytes, SHA-256 {made.sha256}")
    for file in made.manifest.files:
        cut = f", not all of it: {file.cut.value}" if file.cut else ""
        _say(f"  {file.name}: {file.size} bytes, {file.masked} masked{cut}")
    for missing in made.manifest.left_out:
        _say(f"  {missing.name}: left out, {missing.reason.value}")
    return EXIT_OK


def doctor(config: AgentConfig, *, as_json: bool) -> int:
    from device_agent.doctor import examine

    remarks = examine(config)
    if as_json:
        _print_json({"remarks": [{"subject": one.subject, "ok": one.ok, "words": one.words} for one in remarks]})
    else:
        for one in remarks:
            _say(f"{'ok  ' if one.ok else 'BAD '} {one.subject}: {one.words}")
    return EXIT_OK if all(one.ok for one in remarks) else EXIT_NOT_WELL


def _list(config: AgentConfig, kinds: Sequence[str], *, as_json: bool) -> int:
    rows = [row for row in _last(config, {"ask": "actions"})["actions"] if row["kind"] in kinds]
    if as_json:
        return _print_json({"actions": rows})
    for row in rows:
        params = f" [{', '.join(row['params'])}]" if row["params"] else ""
        kind = f"{_KINDS[row['kind']]}  " if len(kinds) > 1 else ""
        _say(f"{row['device']}  {kind}{row['action']}{params}  {row['zh']} / {row['en']}")
    return EXIT_OK


def _last(config: AgentConfig, request: Answer) -> Answer:
    answers = list(ask(config.control_socket, request))
    if not answers:
        raise ConfigurationInvalid(f"{config.control_socket}: expected an answer of the agent, came nothing")
    return answers[-1]


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigurationInvalid(f"parameter: expected NAME=VALUE, came {text[:60]!r}")
    try:
        # Numbers and true/false as JSON has them; everything else is text.
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return name, value
    return name, parsed if isinstance(parsed, bool | int | float) else value


def _finding_line(finding: Answer) -> str:
    value = "" if finding["value"] is None else f" {finding['value']} {finding['unit']}".rstrip()
    codes = f" [{', '.join(finding['codes'])}]" if finding["codes"] else ""
    return f"  {finding['outcome']:5} {finding['item']}{value}{codes} {finding['evidence']}".rstrip()


def _software_words(one: Answer) -> str:
    if one["state"] == "in_hand":
        return f"version {one['version']} in hand, {one['bytes']} bytes"
    in_the_way = f"; {one['words']}" if one["words"] else ""
    return f"wanted, {one['bytes']} of {one['of'] or '?'} bytes here{in_the_way}"


def _on(line: str) -> str:
    return f" on {line}" if line else ""


def _print_json(answer: Answer) -> int:
    _say(json.dumps(answer, ensure_ascii=False))
    return EXIT_OK


def _say(line: str) -> None:
    sys.stdout.write(one_line(line) + "\n")
