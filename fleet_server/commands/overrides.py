"""``fleet-server overrides``: which rules people set aside to begin a fix, and how often, by the API.

Where the server is: as `fleet_server.commands.client` says. Exit codes: 0 no rule is wrong, 1 one is, 2 not reached.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from fleet_server.commands.client import LangOption, TokenOption, UrlOption, connect_to, print_json
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption


def register(app: typer.Typer) -> None:
    app.command("overrides")(overrides)


def overrides(
    days: Annotated[int, typer.Option(min=1, max=400, help="Of fixes asked for in so many days until now.")] = 30,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    lang: LangOption = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Show which rules were set aside to begin a fix, and whether one of them is wrong."""
    found = connect_to(url, token, data).get("/api/v1/overrides", {"days": days})
    if as_json:
        print_json(found)
    else:
        for line in lines(found, lang):
            typer.echo(line)
    raise typer.Exit(1 if any(one["is_wrong"] for one in found["rules"]) else 0)


def lines(found: Mapping[str, Any], lang: str) -> list[str]:
    from fleet_server.commands.client_words import words_of

    words = words_of(lang)
    shares = {
        "overridden": str(found["overridden"]),
        "fixes": str(found["fixes"]),
        "share": f"{found['share_pct']:.1f}",
    }
    told = [words.say("overridden", **shares)]
    if not found["is_judged"]:
        told.append(words.say("not_judged"))
    for one in found["rules"]:
        rule = words.rule(one["rule"])
        told.append(f"{one['count']}\t{one['share_pct']:.1f} %\t{rule}")
        if one["is_wrong"]:
            told.append(words.say("rule_is_wrong", rule=rule))
    return told
