"""``fleet-server freezes``: declare and end freezes and see what holds, by the API.

Where the server is: as `fleet_server.commands.client` says. Exit codes: 0 done, 2 refused or not reached.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fleet_server.commands.client import LangOption, TokenOption, UrlOption, connect_to, print_json
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption

_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]
_STATES: Mapping[str, tuple[str, str]] = {
    "in_force": ("生效中", "in force"),
    "planned": ("未开始", "planned"),
    "over": ("已结束", "over"),
}
_TEXTS: Mapping[str, tuple[str, str]] = {
    "none": ("没有封网", "no freeze"),
    "all_tenants": ("全部租户", "all tenants"),
    "ended_by": ("提前结束", "ended early by"),
}


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Times in which nothing starts that is planned for many devices.", no_args_is_help=True)
    for name, command in (("list", list_), ("declare", declare), ("end", end), ("occasions", occasions)):
        group.command(name)(command)
    app.add_typer(group, name="freezes")


def list_(
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    is_all: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Freezes that have not ended, newest first: who declared them, and why."""
    asked = {"open": "" if is_all else "true"}
    items = list(connect_to(url, token, data).pages("/api/v1/freezes", asked))
    if as_json:
        print_json({"items": items})
        return
    for one in items:
        typer.echo(_line(one, lang))
    if not items:
        typer.echo(_TEXTS["none"][_place(lang)])


def declare(
    reason: Annotated[str, typer.Argument(help="Why, for everybody to read.")],
    until: Annotated[datetime, typer.Option("--until", formats=_MOMENTS, help="When it ends.")],
    begin: Annotated[
        datetime | None, typer.Option("--from", formats=_MOMENTS, help="When it begins; left out: now.")
    ] = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    all_tenants: Annotated[
        bool, typer.Option("--all-tenants", help="For every tenant: only the operator of the installation.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Declare a freeze. Moments without a zone are of this machine's clock."""
    body: dict[str, Any] = {"to": _moment(until), "reason": reason, "all_tenants": all_tenants}
    if begin is not None:
        body["from"] = _moment(begin)
    _tell(connect_to(url, token, data).post("/api/v1/freezes", body), lang, as_json=as_json)


def end(
    freeze: Annotated[str, typer.Argument(help="Id of the freeze.")],
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """End a freeze now; one that has not begun never begins."""
    _tell(connect_to(url, token, data).post(f"/api/v1/freezes/{freeze}/end", {}), lang, as_json=as_json)


def occasions(
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """When acquirers in China usually freeze, in the next twelve months."""
    from fleet_server.commands.client_words import words_of

    found = connect_to(url, token, data).get("/api/v1/freezes/occasions")
    if as_json:
        print_json(found)
        return
    words = words_of(lang)
    for one in found["items"]:
        typer.echo(f"{one['first']} – {one['last']}  {words.title(one['name'])}")


def _tell(one: dict[str, Any], lang: str, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        typer.echo(_line(one, lang))


def _line(one: Mapping[str, Any], lang: str) -> str:
    from fleet_server.commands.client_words import plain

    place = _place(lang)
    is_over = one["to"] <= max(one["from"], _moment(datetime.now(UTC)))
    state = "in_force" if one["is_in_force"] else "over" if is_over else "planned"
    parts = [
        one["id"],
        _STATES[state][place],
        f"{one['from']} – {one['to']}",
        _TEXTS["all_tenants"][place] if one["all_tenants"] else "",
        one["created_by"],
        one["reason"],
        f"({_TEXTS['ended_by'][place]} {one['ended_by']})" if one["ended_by"] else "",
    ]
    return plain("  ".join(part for part in parts if part))


def _place(lang: str) -> int:
    from fleet_server.commands.client_words import words_of

    return words_of(lang).place


def _moment(moment: datetime) -> str:
    """As the API writes moments, so that they can be compared as text."""
    from fleet_server.kit.times import text

    return text(moment.astimezone(UTC)) or ""
