"""``fleet-server assignments``: which technician sees which devices, and how long, by the API.

Where the server is: as `fleet_server.commands.client` says. Exit codes: 0 done, 2 refused or not reached.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from fleet_server.commands.client import LangOption, TokenOption, UrlOption, connect_to, print_json
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption

if TYPE_CHECKING:
    from fleet_server.commands.connection import Connection

DeviceOption = Annotated[str, typer.Option("--device", help="Id, serial number, terminal id, or a name.")]
SiteOption = Annotated[str, typer.Option("--site", help="Id of a site: all that stands there, also what comes to it.")]
_SPAN = re.compile(r"([1-9]\d{0,3})([hd])")
_MOST = 1_000_000


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="What technicians may see, and how long.", no_args_is_help=True)
    for name, command in (("list", list_), ("add", add), ("end", end)):
        group.command(name)(command)
    app.add_typer(group, name="assignments")


def list_(
    device: DeviceOption = "",
    site: SiteOption = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Assignments, newest first."""
    connection = connect_to(url, token, data)
    asked = {"device": _id_of(connection, device), "site": site, "open": "true" if is_open else ""}
    items = list(connection.pages("/api/v1/assignments", asked, _MOST))
    if as_json:
        print_json({"items": items})
        return
    for one in items:
        typer.echo(_line(one, lang))


def add(
    technician: Annotated[str, typer.Argument(help="Name of a technician, or of a technician's token.")],
    device: DeviceOption = "",
    site: SiteOption = "",
    begins: Annotated[str, typer.Option("--from", help="Such as 2026-03-02T08:00:00+08:00; left out: now.")] = "",
    ends: Annotated[str, typer.Option("--to", help="When it ends, written like --from; instead of --for.")] = "",
    span: Annotated[str, typer.Option("--for", help="How long, such as 12h or 5d. By default a day.")] = "",
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Let a technician see a device, or all that stands at a site."""
    if bool(device) == bool(site):
        raise typer.BadParameter("expected either --device or --site")
    if ends and span:
        raise typer.BadParameter("expected --to or --for, came both")
    begin = _moment("--from", begins) if begins else None
    end = _moment("--to", ends) if ends else (begin or datetime.now(UTC)) + _length(span or "1d")
    connection = connect_to(url, token, data)
    body = {"assignee": technician, "site": site or None, "device": _id_of(connection, device) or None}
    spans = {"from": begin.isoformat()} if begin else {}
    _tell(connection.post("/api/v1/assignments", {**body, **spans, "to": end.isoformat()}), lang, as_json=as_json)


def end(
    assignment: Annotated[str, typer.Argument(help="Id of the assignment.")],
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """End an assignment at once; ending it again changes nothing."""
    path = f"/api/v1/assignments/{quote(assignment, safe='')}/end"
    _tell(connect_to(url, token, data).post(path, {}), lang, as_json=as_json)


def _id_of(connection: "Connection", device: str) -> str:
    return str(connection.device(device)["id"]) if device else ""


def _moment(option: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter(f"{option}: expected a moment such as 2026-03-02T08:00:00+08:00, came {text!r}")
    return moment


def _length(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"--for: expected a length such as 12h or 5d, came {text!r}")
    return timedelta(**{{"h": "hours", "d": "days"}[found[2]]: int(found[1])})


def _tell(one: dict[str, Any], lang: str, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
    else:
        typer.echo(_line(one, lang))


def _line(one: Mapping[str, Any], lang: str) -> str:
    from fleet_server.commands.client_words import plain, words_of

    words = words_of(lang)
    who = plain(one["assignee"]) or words.say("erased")
    place = words.say("of_device", id=one["device"]) if one["device"] else words.say("of_site", id=one["site"])
    return "  ".join((one["id"], who, place, words.say("span", begins=one["from"], ends=one["to"])))
