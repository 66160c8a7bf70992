"""``fleet-server broker probe``: does a broker keep the promises that are needed? Exit codes: 0 all that is needed is
kept, 1 something is not, 2 it could not be asked.
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from fleet_server.broker.probe.client import Place
    from fleet_server.broker.probe.report import Line
    from fleet_server.broker.probe.stage import Cast

_Files = list[Path] | None
_MARKS = {
    "kept": ("守约", "kept"),
    "broken": ("违约", "BROKEN"),
    "note": ("注意", "note"),
    "not_asked": ("未问", "not asked"),
}
_ENDS = (
    ("需要的承诺都得到遵守。", "It keeps every promise that is needed."),
    ("不能使用：{broken} 项需要的承诺没有得到遵守。", "Do not use it: {broken} promises that are needed are not kept."),
    ("{missing} 项需要的承诺没有问到。", "{missing} promises that are needed could not be asked about."),
)
_FOUND = ("发现", "found")


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The broker between agents and server.", no_args_is_help=True)
    # With one command alone typer would drop its name.
    group.callback()(lambda: None)
    group.command("probe")(probe)
    app.add_typer(group, name="broker")


def probe(
    url: Annotated[str, typer.Argument(help="mqtts://HOST:PORT; left out: the broker of this installation.")] = "",
    data: DataOption = DEFAULT_DATA,
    cafile: Annotated[Path | None, typer.Option(help="Authority of the broker's certificate.")] = None,
    cert: Annotated[
        _Files, typer.Option(help="Certificate of a service; give two. Left out: --data makes them.")
    ] = None,
    key: Annotated[_Files, typer.Option(help="Its key, in the same order.")] = None,
    device_cert: Annotated[_Files, typer.Option(help="Certificate of a device; give two.")] = None,
    device_key: Annotated[_Files, typer.Option(help="Its key, in the same order.")] = None,
    patience: Annotated[
        float, typer.Option(min=0.1, max=60, help="Multiplies all waits, for a broker that is far away.")
    ] = 1.0,
    lang: Annotated[str, typer.Option("--lang", envvar="LANG", help="zh or en.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Ask a broker whether it keeps the promises that agents and server rest on. Leaves nothing behind."""
    from fleet_server.broker.probe.casting import place_of
    from fleet_server.broker.probe.report import exit_code
    from fleet_server.broker.probe.report import probe as ask

    place = place_of(url, data)
    cast = _cast(data, cafile, (cert, key), (device_cert, device_key), tls=place.tls)
    at = 0 if lang.lower().startswith("zh") else 1
    lines = []
    for line in ask(place, cast, patience):
        lines.append(line)
        if not as_json:
            typer.echo(_in_words(line, at))
    code = exit_code(lines)
    typer.echo(_document(place, lines, code, at) if as_json else _ending(lines, code, at))
    sys.exit(code)


def _document(place: "Place", lines: "list[Line]", code: int, at: int) -> str:
    promises = [_as_json(line, at) for line in lines]
    document = {"broker": f"{place.host}:{place.port}", "exit_code": code, "promises": promises}
    return json.dumps(document, ensure_ascii=False)


def _ending(lines: "list[Line]", code: int, at: int) -> str:
    verdicts = [line.verdict.value for line in lines if line.question.needed]
    return _ENDS[code][at].format(broken=verdicts.count("broken"), missing=verdicts.count("not_asked"))


def _cast(
    data: Path, cafile: Path | None, services: tuple[_Files, _Files], devices: tuple[_Files, _Files], *, tls: bool
) -> "Cast":
    from fleet_server.broker.probe.casting import given_cast, nameless_cast, own_cast
    from fleet_server.broker.probe.errors import BrokerNotAskable

    if not tls:
        return nameless_cast()
    if not services[0]:
        return own_cast(data)
    pairs = []
    for certificates, keys in (services, devices):
        if len(certificates or []) != len(keys or []):
            raise BrokerNotAskable("expected as many keys as certificates")
        pairs.append(list(zip(certificates or [], keys or [], strict=True)))
    return given_cast(cafile, pairs[0], pairs[1])


def _in_words(line: "Line", at: int) -> str:
    promise = (line.question.zh, line.question.en)[at]
    found = (line.finding.zh, line.finding.en)[at]
    return f"{_MARKS[line.verdict.value][at]:>9}  {promise}\n           {_FOUND[at]}: {_plain(found)}"


def _as_json(line: "Line", at: int) -> dict[str, object]:
    return {
        "code": line.question.code,
        "needed": line.question.needed,
        "promise": (line.question.zh, line.question.en)[at],
        "found": (line.finding.zh, line.finding.en)[at],
        "verdict": line.verdict.value,
    }


def _plain(text: str) -> str:
    """What a broker says must not command the terminal it is shown on."""
    return one_line(text)[:300]
