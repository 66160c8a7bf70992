"""``fleet-server inspections``: arrange inspections and read what came of them, by the API.

Where the server is: as `fleet_server.commands.client` says. Exit codes: 0 done, 2 refused or not reached.
"""

import re
from typing import Annotated, Any

import typer

from fleet_server.commands.client import LangOption, TokenOption, UrlOption, connect_to, print_json
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption

IdArgument = Annotated[str, typer.Argument(help="Id of the inspection.")]
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Checks that devices are asked for by themselves.", no_args_is_help=True)
    for name, command in (("list", list_), ("add", add), ("rounds", rounds), ("results", results)):
        group.command(name)(command)
    for deed in ("pause", "resume", "end"):
        group.command(deed)(_moving(deed))
    app.add_typer(group, name="inspections")


def list_(
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    ended: Annotated[bool, typer.Option("--ended", help="Those that ended instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Inspections, newest first."""
    from fleet_server.commands.inspection_words import plan_line

    found = connect_to(url, token, data).get("/api/v1/inspections", {"ended": "true" if ended else ""})
    _print(found, [plan_line(one, lang) for one in found["items"]], as_json=as_json)


def add(
    name: Annotated[str, typer.Argument(help="What people call it.")],
    checks: Annotated[list[str], typer.Argument(metavar="CHECK...", help="Names of checks, such as net.path.")],
    at: Annotated[str, typer.Option(help="HH:MM on the clocks where the devices stand.")] = "02:00",
    window_min: Annotated[int, typer.Option("--window", help="Over how many minutes devices are spread.")] = 120,
    days: Annotated[str, typer.Option(help="Such as mon,thu; left out: every day.")] = "",
    query: Annotated[str, typer.Option("--devices", help="Words that find the devices; left out: all.")] = "",
    model: Annotated[str, typer.Option(help="Only this model.")] = "",
    site: Annotated[str, typer.Option(help="Only devices of the store with this id.")] = "",
    kind: Annotated[str, typer.Option(help="Only terminal, gateway or attached.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say whom it would reach.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Arrange an inspection, or see whom it would reach."""
    from fleet_server.commands.inspection_words import plan_line, preview_lines

    devices = {"q": query, "model": model or None, "site": site or None, "kind": kind or None}
    body = {
        "name": name,
        "checks": checks,
        "days": _days(days),
        "at": at,
        "window_min": window_min,
        "devices": devices,
    }
    connection = connect_to(url, token, data)
    if dry_run:
        found = connection.post("/api/v1/inspections/preview", body)
        _print(found, preview_lines(found, lang), as_json=as_json)
        return
    made = connection.post("/api/v1/inspections", body)
    _print(made, [plan_line(made, lang)], as_json=as_json)


def rounds(
    inspection: IdArgument,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """How each round went, newest first; missed ones too, and why."""
    from fleet_server.commands.inspection_words import round_line

    found = connect_to(url, token, data).get(f"/api/v1/inspections/{inspection}/rounds")
    _print(found, [round_line(one, lang) for one in found["items"]], as_json=as_json)


def results(
    inspection: IdArgument,
    date: Annotated[str, typer.Argument(help="Local date of the round, YYYY-MM-DD.")],
    result: Annotated[str, typer.Option(help="Only pass, warn, fail, error, unsupported or missed.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """What came of one round on each device."""
    from fleet_server.commands.inspection_words import turn_line

    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", date) is None:
        raise typer.BadParameter(f"expected a date such as 2026-03-02, came {date!r}")
    path = f"/api/v1/inspections/{inspection}/rounds/{date}"
    items = list(connect_to(url, token, data).pages(path, {"result": result}, 1_000_000))
    _print({"items": items}, [turn_line(one, lang) for one in items], as_json=as_json)


def _moving(deed: str) -> Any:
    words = {
        "pause": "Ask no devices until it is resumed.",
        "resume": "Go on with the next window that opens.",
        "end": "End it for good; its results stay.",
    }

    def run(
        inspection: IdArgument,
        url: UrlOption = "",
        token: TokenOption = "",
        data: DataOption = DEFAULT_DATA,
        lang: LangOption = "",
        *,
        as_json: JsonOption = False,
    ) -> None:
        from fleet_server.commands.inspection_words import plan_line

        moved = connect_to(url, token, data).post(f"/api/v1/inspections/{inspection}/{deed}", {})
        _print(moved, [plan_line(moved, lang)], as_json=as_json)

    run.__doc__ = words[deed]
    return run


def _days(text: str) -> list[int]:
    if not text:
        return [1, 2, 3, 4, 5, 6, 7]
    names = [one.strip().lower() for one in text.split(",")]
    unknown = [name for name in names if name not in _DAYS]
    if unknown:
        raise typer.BadParameter(f"expected days such as {','.join(_DAYS)}, came {unknown[0]!r}")
    return sorted({_DAYS.index(name) + 1 for name in names})


def _print(found: Any, lines: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for line in lines:
        typer.echo(line)
