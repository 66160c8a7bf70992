"""``fleet-server playbooks``: which there are, whether one is well-formed, and walking one on a device, by the API.

Where the server is: as `fleet_server.commands.client` says. Exit codes of ``run``: 0 mended or nothing wrong; 1
somebody has to do something (technician, handover, undecided); 2 it could not be told, was refused, or goes on.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fleet_server.commands.client import DeviceArgument, LangOption, TokenOption, UrlOption, connect_to, print_json
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption
from fleet_server.errors import FleetError

NameArgument = Annotated[str, typer.Argument(help="Name of the playbook.")]
WalkArgument = Annotated[str, typer.Argument(metavar="WALK", help="Id of the walk.")]
_LOOK_EVERY_S = 1.0


class PlaybookUnreadable(FleetError):
    code = "playbook_unreadable"


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Steps of checks and fixes that find a fault and mend it.", no_args_is_help=True)
    for name, command in (("list", list_), ("show", show), ("validate", validate), ("run", run)):
        group.command(name)(command)
    for name, more in (("walks", walks), ("walk", walk), ("cancel", cancel)):
        group.command(name)(more)
    app.add_typer(group, name="playbooks")


def list_(
    device: Annotated[str, typer.Argument(help="Only those that fit this device, suggested ones first.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Playbooks by name; with a device those that fit it."""
    from fleet_server.commands.playbook_words import offered_line, playbook_line

    connection = connect_to(url, token, data)
    if device:
        found = connection.get(f"/api/v1/devices/{connection.device(device)['id']}/playbooks")
        _print(found, [offered_line(one, lang) for one in found["items"]], as_json=as_json)
        return
    found = connection.get("/api/v1/playbooks")
    _print(found, [playbook_line(one, lang) for one in found["items"]], as_json=as_json)


def show(playbook: NameArgument, url: UrlOption = "", token: TokenOption = "", data: DataOption = DEFAULT_DATA) -> None:
    """The whole of a playbook as JSON: steps, conditions, bounds, ends."""
    print_json(connect_to(url, token, data).get(f"/api/v1/playbooks/{playbook}"))


def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A playbook in TOML.")], lang: LangOption = ""
) -> None:
    """Say what is wrong with a file: step, key, what was expected and what came. Needs no server."""
    from fleet_server.commands.playbook_words import well_formed
    from protocol.playbooks.checking import PlaybookInvalid
    from protocol.playbooks.reading import read_playbook

    try:
        playbook = read_playbook(file.read_text("utf-8"), file.name)
    except PlaybookInvalid as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlaybookUnreadable(f"{file}: expected a file in UTF-8 that can be read, came {error}") from error
    typer.echo(well_formed(playbook.name, lang))


def run(
    device: DeviceArgument,
    playbook: NameArgument,
    variables: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its variables.")] = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to follow it; it goes on without you.")] = 3600,
    *,
    as_json: JsonOption = False,
) -> None:
    """Walk a playbook on a device and follow it, step by step, to its end."""
    from fleet_server.commands.playbook_words import end_words, step_line, walk_line

    connection = connect_to(url, token, data)
    given = _given(connection.get(f"/api/v1/playbooks/{playbook}"), variables or [])
    body = {"device": connection.device(device)["id"], "playbook": playbook, "variables": given}
    walked = connection.post("/api/v1/playbook-runs", body)
    said: set[str] = set()
    give_up_s = time.monotonic() + wait
    while True:
        for line in (step_line(one, lang) for one in walked["steps"]):
            if line not in said:
                said.add(line)
                _say(line, silently=as_json)
        if walked["state"] == "over" or time.monotonic() >= give_up_s:
            break
        time.sleep(_LOOK_EVERY_S)
        walked = connection.get(f"/api/v1/playbook-runs/{walked['id']}")
    if as_json:
        print_json(walked)
    last = end_words(walked, lang) if walked["state"] == "over" else walk_line(walked, lang)
    _say(last, silently=as_json)
    raise typer.Exit(_exit_code(walked))


def walks(
    device: Annotated[str, typer.Argument(help="Only of this device.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Walks, newest first, at most 200."""
    from fleet_server.commands.playbook_words import walk_line

    connection = connect_to(url, token, data)
    device_id = connection.device(device)["id"] if device else ""
    query = {"device": device_id, "open": "true" if open_only else "", "limit": 200}
    found = connection.get("/api/v1/playbook-runs", query)
    _print(found, [walk_line(one, lang) for one in found["items"]], as_json=as_json)


def walk(
    walk_id: WalkArgument,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Where a walk stands: its steps and its end."""
    from fleet_server.commands.playbook_words import step_line, walk_line

    found = connect_to(url, token, data).get(f"/api/v1/playbook-runs/{walk_id}")
    _print(found, [walk_line(found, lang), *(step_line(one, lang) for one in found["steps"])], as_json=as_json)


def cancel(
    walk_id: WalkArgument,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
) -> None:
    """Tell the present step to end, and the walk with it."""
    from fleet_server.commands.playbook_words import walk_line

    typer.echo(walk_line(connect_to(url, token, data).post(f"/api/v1/playbook-runs/{walk_id}/cancel", {}), lang))


def _say(line: str, *, silently: bool) -> None:
    if not silently:
        typer.echo(line)


def _given(detail: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    import msgspec

    from protocol.playbooks.checking import given_from_text
    from protocol.playbooks.language import Playbook

    playbook = msgspec.convert(detail["definition"], Playbook)
    return given_from_text(playbook, [text.partition("=")[::2] for text in texts])


def _exit_code(walked: dict[str, Any]) -> int:
    end = walked["end"]
    if end is None:
        return 2
    return 0 if end["as"] in {"fixed", "nothing_wrong"} else 1


def _print(found: Any, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for line in lines:
        typer.echo(line)
