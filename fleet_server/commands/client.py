"""``fleet-server devices | distribution | check | fix | timeline``: the API from the shell.

Where the server is: ``--url`` and ``--token``, or TILLMEDIC_URL and TILLMEDIC_TOKEN, or ``--data DIR`` with the demo's
``demo.json``. Exit codes: 0 passed, 1 failed, 2 could not be asked or did not run.
"""

import sys
from collections.abc import Callable
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
        _print_json({"items": items})
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
        _print_json(found)
        return
    for line in words_of(lang).distribution_lines(found):
        typer.echo(line)


def _following(kinds: tuple[str, ...], patience_s: float, words: str) -> Callable[..., None]:
    """The command for actions of ``kinds``; ``words`` are its help."""

    def run(
        device: DeviceArgument,
        action: ActionArgument = "",
        params: ParamsArgument = None,
        url: UrlOption = "",
        token: TokenOption = "",
        data: DataOption = DEFAULT_DATA,
        lang: LangOption = "",
        wait: WaitOption = patience_s,
        *,
        as_json: JsonOption = False,
    ) -> None:
        _run(connect_to(url, token, data), kinds, device, action, params or [], lang, wait, as_json=as_json)

    run.__doc__ = words
    return run


check = _following(
    ("checks", "tests"), 120.0, "Run a check or test that the device declares, and follow it to its verdict."
)
fix = _following(("fixes",), 900.0, "Run a fix that the device declares, and follow it until its post-check has held.")


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
        _print_json({"items": items})
        return
    words = words_of(lang)
    for item in items:
        typer.echo(words.event_line(item))


def _run(
    connection: "Connection",
    kinds: tuple[str, ...],
    device: str,
    action: str,
    params: list[str],
    lang: str,
    wait_s: float,
    *,
    as_json: bool,
) -> None:
    from fleet_server.commands.client_words import words_of
    from fleet_server.commands.following import follow, given_params

    words = words_of(lang)
    found = connection.device(device)
    offered = {one["name"]: one for kind in kinds for one in found["capabilities"][kind]}
    if not action:
        for one in offered.values():
            typer.echo(words.action_line(one))
        return
    if action not in offered:
        _fail(words.say("not_offered", action=action, device=found["id"], offered=", ".join(offered) or "-"))
    asked = connection.ask(found["id"], action, given_params(offered[action], params))
    say = (lambda _line: None) if as_json else typer.echo
    done = follow(connection, asked, words, say, wait_s)
    if as_json:
        _print_json(done)
    raise typer.Exit(exit_code(done))


def exit_code(execution: dict[str, Any]) -> int:
    """0: it passed (a warning is no failure); 1: it failed; 2: it did not run, or nobody knows yet."""
    if execution["state"] == "SUCCEEDED":
        return {"pass": 0, "warn": 0, "fail": 1}.get(execution["verdict"] or "pass", 2)
    return 1 if execution["state"] in {"FAILED", "ROLLED_BACK"} else 2


def connect_to(url: str, token: str, data: Any) -> "Connection":
    from fleet_server.commands.connection import connect

    return connect(url, token, data)


def _print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, ensure_ascii=False))


def _fail(sentence: str) -> None:
    sys.stderr.write(f"fleet-server: {sentence}\n")
    raise typer.Exit(2)
