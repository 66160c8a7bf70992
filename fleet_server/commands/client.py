"""``fleet-server devices | distribution | check | fix | timeline``: the API from the shell.

Where the server is: ``--url`` and ``--token``, or TILLMEDIC_URL and TILLMEDIC_TOKEN, or ``--data DIR`` with the demo's
``demo.json``. Exit codes: 0 passed, 1 failed, 2 could not be asked or did not run.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption

if TYPE_CHECKING:
    from fleet_server.commands.connection import Connection

UrlOption = Annotated[str, typer.Option("--url", envvar="TILLMEDIC_URL", help="Address of the server.")]
TokenOption = Annotated[str, typer.Option("--token", envvar="TILLMEDIC_TOKEN", help="API token.")]
LangOption = Annotated[str, typer.Option("--lang", envvar="LANG", help="zh or en.")]
DeviceArgument = Annotated[str, typer.Argument(help="Id, serial number (or its last six), terminal id, or a name.")]
ActionArgument = Annotated[str, typer.Argument(help="What to run; left out: what there is.")]
ParamsArgument = Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Its parameters.")]
WaitOption = Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the end.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """``kinds``: of actions that the command is for, as a device's capabilities name them."""

    device: str
    kinds: tuple[str, ...]
    action: str
    params: list[str]
    artifact: dict[str, Any] | None = None
    is_planned: bool = False


def register(app: typer.Typer) -> None:
    app.command("devices")(devices)
    app.command("distribution")(distribution)
    app.command("check")(check)
    app.command("fix")(fix)
    app.command("timeline")(timeline)


def devices(
    query: Annotated[str, typer.Argument(help="Words of names and numbers; left out: all.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """List devices, those with the worst condition first."""
    from fleet_server.commands.client_words import words_of

    items = list(connect_to(url, token, data).pages("/api/v1/devices", {"q": query}))
    if as_json:
        print_json({"items": items})
        return
    words = words_of(lang)
    for item in items:
        typer.echo(words.device_line(item))
    if not items:
        typer.echo(words.say("no_devices"))


def distribution(
    metric: Annotated[str, typer.Argument(help="Name of a reading, such as net.rtt_ms.")],
    by: Annotated[str, typer.Option(help="firmware or agent: which version, beside the model, makes a group.")] = "",
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    site: Annotated[str, typer.Option(help="Only devices of the store with this id.")] = "",
    kind: Annotated[str, typer.Option(help="Only terminal, gateway or attached.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show how the newest values of a reading lie over models and versions, those of most devices first."""
    from fleet_server.commands.client_words import words_of

    asked = {"metric": metric, "by": by, "model": model, "site": site, "kind": kind}
    found = connect_to(url, token, data).get("/api/v1/health/distribution", asked)
    if as_json:
        print_json(found)
        return
    for line in words_of(lang).distribution_lines(found):
        typer.echo(line)


def check(
    device: DeviceArgument,
    action: ActionArgument = "",
    params: ParamsArgument = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    wait: WaitOption = 120.0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run a check or test that the device declares, and follow it to its verdict."""
    asked = _Asked(device, ("checks", "tests"), action, params or [])
    _run(connect_to(url, token, data), asked, lang, wait, as_json=as_json)


def fix(
    device: DeviceArgument,
    action: ActionArgument = "",
    params: ParamsArgument = None,
    artifact: Annotated[
        str, typer.Option(metavar="NAME", help="Of software: what the repository calls the file; needs --file.")
    ] = "",
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A copy of it: its length and SHA-256 are what people sign.")
    ] = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    wait: WaitOption = 900.0,
    *,
    planned: Annotated[
        bool, typer.Option("--planned", help="Part of something for many devices: not begun in a freeze.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a fix that the device declares, and follow it until its post-check has held."""
    from fleet_server.commands.following import given_artifact

    asked = _Asked(device, ("fixes",), action, params or [], given_artifact(artifact, file), planned)
    _run(connect_to(url, token, data), asked, lang, wait, as_json=as_json)


def timeline(
    device: DeviceArgument,
    types: Annotated[str, typer.Option(help="Types of events, separated by commas.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many entries.")] = 50,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """What happened to a device, newest first."""
    from fleet_server.commands.client_words import words_of

    connection = connect_to(url, token, data)
    path = f"/api/v1/devices/{connection.device(device)['id']}/timeline"
    items = list(connection.pages(path, {"types": types}, limit))
    if as_json:
        print_json({"items": items})
        return
    words = words_of(lang)
    for item in items:
        typer.echo(words.event_line(item))


def _run(connection: "Connection", wish: _Asked, lang: str, wait_s: float, *, as_json: bool) -> None:
    from fleet_server.commands.client_words import words_of
    from fleet_server.commands.following import follow, given_params

    words = words_of(lang)
    found, action = connection.device(wish.device), wish.action
    offered = {one["name"]: one for kind in wish.kinds for one in found["capabilities"][kind]}
    if not action:
        for one in offered.values():
            typer.echo(words.action_line(one))
        return
    if action not in offered:
        _fail(words.say("not_offered", action=action, device=found["id"], offered=", ".join(offered) or "-"))
    asked = connection.ask(
        found["id"], action, given_params(offered[action], wish.params), wish.artifact, is_planned=wish.is_planned
    )
    say = (lambda _line: None) if as_json else typer.echo
    done = follow(connection, asked, words, say, wait_s)
    if as_json:
        print_json(done)
    raise typer.Exit(exit_code(done))


def exit_code(execution: dict[str, Any]) -> int:
    """0: it passed (a warning is no failure); 1: it failed; 2: it did not run, or nobody knows."""
    match execution["result"]:
        case "ran" | "fixed":
            return {"pass": 0, "warn": 0, "fail": 1}.get(execution["verdict"] or "pass", 2)
        case "not_fixed" | "came_back" | "not_run" | "not_needed":
            return 1
        case _:
            return 2


def connect_to(url: str, token: str, data: Any) -> "Connection":
    from fleet_server.commands.connection import connect

    return connect(url, token, data)


def print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, ensure_ascii=False))


def _fail(sentence: str) -> None:
    sys.stderr.write(f"fleet-server: {sentence}\n")
    raise typer.Exit(2)
