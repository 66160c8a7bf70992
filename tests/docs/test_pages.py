"""Every page for a reader: its commands exist with their options, its links lead somewhere, its pictures are there."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from device_agent.__main__ import _parser as agent_parser
from device_agent.families import ALL
from device_agent.registry import SOFTWARE_MODULES, definitions_for
from fleet_server.__main__ import make_app
from simulators.__main__ import _parser as simulators_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "DECISIONS.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
READERS = ("support", "technician", "integrator", "operator", "contributor")
PROGRAMS = ("fleet-server", "device-agent", "simulators")
MAX_PICTURE_BYTES = 250_000
CALL = re.compile(r"(?:^|[\s/`;|&(])(fleet-server|device-agent|simulators|make) +([a-z][a-z_-]*)([^`;|&#)\n]*)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def code_of(path: Path) -> str:
    """Code blocks and code spans, with continued lines joined; what is not code is no command."""
    page = path.read_text("utf-8")
    blocks = re.findall(r"^ *```.*?\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    indented = [line for line in page.splitlines() if line.startswith("    ")]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE))
    # What systemctl is told are names of units, not our commands.
    lines = [line for line in "\n".join([*blocks, *indented, *spans]).splitlines() if "systemctl" not in line]
    return "\n".join(lines).replace("\\\n", " ")


@cache
def options() -> dict[tuple[str, str], set[str]]:
    """The options of each subcommand of each program."""
    found = {}
    group = typer.main.get_command(make_app())
    for name, command in group.commands.items():  # type: ignore[attr-defined]  # a group, as it has several commands
        parts = getattr(command, "commands", {name: command}).values()
        found["fleet-server", name] = {option for part in parts for one in part.params for option in one.opts}
    parsers = [("device-agent", agent_parser()), ("simulators", simulators_parser(""))]
    for program, parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, sub in action.choices.items():
                    found.setdefault((program, name), set()).update(sub._option_string_actions)
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def calls(code: str) -> Iterator[tuple[str, str, set[str]]]:
    for program, command, rest in CALL.findall(code):
        yield program, command, set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))


def not_there(code: str) -> list[str]:
    """Commands and options in this code that no program has."""
    wrong = []
    for program, command, given in calls(code):
        if program == "make":
            wrong += [] if command in make_targets() else [f"make {command}"]
        elif (program, command) not in options():
            wrong.append(f"{program} {command}")
        else:
            wrong += [f"{program} {command} {option}" for option in given - options()[program, command]]
    return wrong


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_command_on_the_page_exists_with_its_options(path: Path) -> None:
    assert not_there(code_of(path)) == []


def test_every_command_that_a_unit_starts_exists_with_its_options() -> None:
    units = "\n".join(path.read_text("utf-8") for path in (ROOT / "deploy" / "systemd").glob("*.service"))
    started = "\n".join(re.findall(r"^ExecStart=(/opt/.+)$", units, re.MULTILINE))
    assert {program for program, _, _ in calls(started)} == {"fleet-server", "device-agent"}
    assert not_there(started) == []


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_action_that_a_command_on_the_page_runs_is_one_of_the_agents(path: Path) -> None:
    known = {each.declared.name for family in ALL for each in definitions_for(family)}
    # Their definitions are made for a keeper, which has files.
    known |= {module.rpartition(".")[2].replace("_", ".", 1) for module in SOFTWARE_MODULES}
    runs = re.findall(r"(?:fleet-server|device-agent) (?:check|fix)\b([^`\n#]*)", code_of(path))
    asked = {word for rest in runs for word in re.findall(r"(?<!\S)[a-z]+\.[a-z_]+(?!\S)", rest)}
    assert asked - known == set()


def test_pages_name_commands_of_every_program() -> None:
    assert {program for path in PAGES for program, _, _ in calls(code_of(path))} == {*PROGRAMS, "make"}


def anchors(path: Path) -> set[str]:
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_every_link_on_the_page_leads_somewhere(path: Path) -> None:
    wrong = []
    for link in LINK.findall(path.read_text("utf-8")):
        if re.match(r"https?:", link):
            continue
        place, _, anchor = link.partition("#")
        target = path if not place else (path.parent / place).resolve()
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_every_kind_of_reader_has_a_page_that_the_readme_names() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in READERS if f"(docs/{name}.md)" not in readme] == []
    assert [name for name in READERS if not (ROOT / "docs" / f"{name}.md").is_file()] == []


def test_pictures_are_small_enough_for_a_repository() -> None:
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert ROOT / "docs" / "images" / "device.png" in pictures
    assert [named(one) for one in pictures if one.stat().st_size > MAX_PICTURE_BYTES] == []


def test_files_that_the_pages_name_in_code_exist() -> None:
    inside = re.compile(r"`((?:deploy|docs|tools|tests|protocol|device_agent|fleet_server|simulators)/[\w./-]+)`")
    named_files = {(named(path), one) for path in PAGES for one in inside.findall(path.read_text("utf-8"))}
    # Made by the tests, never committed; a name in capitals stands for any.
    exempt = re.compile(r"^tests/screenshots|/NAME/")
    missing = [pair for pair in named_files if not (ROOT / pair[1]).exists() and not exempt.search(pair[1])]
    assert missing == []
