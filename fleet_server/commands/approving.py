"""``fleet-server approver-key | approvals | approve | refuse | permit | consent | signing``: what people sign and stop.

A key never leaves this process: what goes to the server is a signature over what was shown here.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from fleet_server.commands.client import TokenOption, UrlOption, connect_to
from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption
from protocol.shown_text import one_line

if TYPE_CHECKING:
    from fleet_server.commands.connection import Connection
    from protocol.authorisations import Authorisation
    from protocol.signing import SigningKey

KeyOption = Annotated[Path, typer.Option("--key", metavar="FILE", help="The approver's key.")]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Else it is asked for at the terminal.")
]
ExecutionArgument = Annotated[str, typer.Argument(metavar="EXECUTION", help="Id of the execution.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask again.")]


def register(app: typer.Typer) -> None:
    app.command("approver-key")(approver_key)
    app.command("approvals")(approvals)
    app.command("approve")(approve)
    app.command("refuse")(refuse)
    app.command("break-glass")(break_glass)
    app.command("permit")(permit)
    app.command("permit-walk")(permit_walk)
    app.command("permits")(permits)
    app.command("consent")(consent)
    signing = typer.Typer(help="The emergency stop.", no_args_is_help=True)
    signing.command("show")(show_signing)
    signing.command("stop")(stop_signing)
    signing.command("lift")(lift_stop)
    app.add_typer(signing, name="signing")


def approver_key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where the key is, or is to be.")],
    passphrase_file: PassphraseOption = None,
    *,
    new: Annotated[bool, typer.Option("--new", help="Make it.")] = False,
) -> None:
    """Make an approver's key, or say its public half, which a policy has to name."""
    from fleet_server.approvals.keys import make_key, read_key

    passphrase = _passphrase(path, passphrase_file, twice=new)
    key = make_key(path, passphrase) if new else read_key(path, passphrase)
    typer.echo(key.public_hex)


def approvals(
    url: UrlOption = "", token: TokenOption = "", data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False
) -> None:
    """List what waits for approvers, oldest first."""
    items = connect_to(url, token, data).get("/api/v1/approvals")["items"]
    if as_json:
        _print({"items": items})
        return
    for one in items:
        signed = ", ".join(one["approved_by"]) or "-"
        typer.echo(
            f"{one['execution']}  {one['device']}  {one['action']}  asked by {one['requester']}, signed: {signed}"
        )


def approve(
    execution: ExecutionArgument,
    key: KeyOption,
    passphrase_file: PassphraseOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    *,
    yes: YesOption = False,
) -> None:
    """Show exactly what is signed, then sign it with the approver's key."""
    import base64

    from protocol.commands import AUTHORISATION_TYPE
    from protocol.signing import pae

    connection = connect_to(url, token, data)
    payload, _ = _agreed(connection, execution, "Sign exactly this?", yes=yes)
    opened = _open(key, passphrase_file)
    signature = base64.b64encode(opened.private.sign(pae(AUTHORISATION_TYPE, payload))).decode()
    body = {"key_id": opened.id, "signature_base64": signature}
    done = connection.post(f"/api/v1/approvals/{execution}/signatures", body)
    typer.echo(f"{done['id']} is {done['state']}")


def break_glass(
    execution: ExecutionArgument,
    reason: Annotated[str, typer.Argument(help="Why nobody could be asked; shown to everybody.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The break-glass key, from where it lies.")],
    passphrase_file: PassphraseOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    *,
    yes: YesOption = False,
) -> None:
    """An emergency: let out what waits on the word of the offline key. Everybody will see it."""
    from fleet_server.approvals.permit_making import signed_break_glass

    connection = connect_to(url, token, data)
    _, asked = _agreed(connection, execution, "Break the glass for exactly this?", yes=yes)
    envelope = signed_break_glass(asked, reason, _open(key, passphrase_file))
    done = connection.post(f"/api/v1/approvals/{execution}/break-glass", {"envelope": envelope})
    typer.echo(f"{done['id']} is {done['state']}")


def refuse(
    execution: ExecutionArgument,
    reason: Annotated[str, typer.Argument(help="Why; shown to whoever asked.")],
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """End an execution that waits: it will not be allowed."""
    done = connect_to(url, token, data).post(f"/api/v1/approvals/{execution}/refuse", {"reason": reason})
    typer.echo(f"{done['id']} is {done['state']}")


def permit(
    key: KeyOption,
    actions: Annotated[list[str], typer.Option("--action", help="A test or fix that may be run; several.")],
    asked_by: Annotated[str, typer.Option("--asked-by", help="Whose shift it is: a name that does not sign.")],
    devices: Annotated[
        list[str] | None, typer.Option("--device", help="A device that it may be run on; several.")
    ] = None,
    group: Annotated[
        str, typer.Option(help="All devices of a filter of the list instead: site=ID, model=M-1, kind=terminal.")
    ] = "",
    hours: Annotated[float, typer.Option(min=0.1, max=24, help="Until the end of the shift.")] = 8.0,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many runs in all.")] = 20,
    per_device: Annotated[int, typer.Option(min=1, max=1000, help="At most so many on each device.")] = 3,
    reason: Annotated[str, typer.Option(help="For the list of permits.")] = "",
    passphrase_file: PassphraseOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Sign a shift permit in advance: named tests and fixes, on named devices, so many times, until the shift ends."""
    from fleet_server.approvals.permit_making import PermitWish, signed_permit

    connection = connect_to(url, token, data)
    ids = list(dict.fromkeys(connection.device(name)["id"] for name in devices or []))
    ids += [one for one in _group(connection, group) if one not in set(ids)]
    if not ids:
        _fail("expected --device or a --group with devices in it")
    tenant = connection.get("/api/v1/signing")["tenant"]
    wish = PermitWish(tenant, asked_by, actions, ids, hours, count, per_device, reason)
    body = {"envelope": signed_permit(wish, _open(key, passphrase_file)), "devices": ids if len(ids) > 1 else []}
    made = connection.post("/api/v1/permits", body)
    typer.echo(f"permit {made['id']} for {len(ids)} devices until {made['not_after']}")


def permit_walk(
    walk: Annotated[str, typer.Argument(metavar="WALK", help="Id of the walk of a playbook.")],
    key: KeyOption,
    passphrase_file: PassphraseOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
    *,
    yes: YesOption = False,
) -> None:
    """Allow a whole walk at once: a shift permit of just its changes, with just their parameters, on its device."""
    from datetime import datetime

    from fleet_server.approvals.permit_making import PermitWish, signed_permit
    from fleet_server.kit.times import utc_now
    from protocol.authorisations import Grant

    connection = connect_to(url, token, data)
    asked = connection.get(f"/api/v1/playbook-runs/{walk}")
    if not asked["grants"]:
        _fail("expected a walk with a step that changes something: this one needs no permit")
    for one in asked["grants"]:
        typer.echo(one_line(f"{asked['device']}  {one['action']}  {one['params'] or ''}"))
    if not yes:
        typer.confirm(f"Allow exactly these, {asked['uses']} times at most?", abort=True)
    grants = [Grant(one["action"], one["params"]) for one in asked["grants"]]
    hours = max((datetime.fromisoformat(asked["ends_by"]) - utc_now()).total_seconds() / 3600, 0.1)
    tenant, reason = connection.get("/api/v1/signing")["tenant"], f"playbook {asked['playbook']} {walk}"
    uses, device = asked["uses"], asked["device"]
    # Whoever started it asks for its steps; the permit itself is asked for by the playbook, and by no account.
    wish = PermitWish(tenant, f"playbook {asked['playbook']}", [], [device], hours, uses, uses, reason, grants)
    body = {"envelope": signed_permit(wish, _open(key, passphrase_file)), "devices": []}
    made = connection.post("/api/v1/permits", body)
    typer.echo(f"permit {made['id']} until {made['not_after']}")


def _group(connection: "Connection", text: str) -> list[str]:
    """In the order of their ids, all pages."""
    name, _, value = text.partition("=")
    found: list[str] = []
    query: dict[str, Any] = {name: value, "limit": 200}
    while text:
        page = connection.get("/api/v1/devices", query)
        found += [str(one["id"]) for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    return sorted(found)


def permits(
    url: UrlOption = "", token: TokenOption = "", data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False
) -> None:
    """List shift permits with how often each was used."""
    items = connect_to(url, token, data).get("/api/v1/permits")["items"]
    if as_json:
        _print({"items": items})
        return
    for one in items:
        state = "withdrawn" if one["withdrawn_at"] else f"until {one['not_after']}"
        said = f"{one['id']}  {state}  used {one['used']}/{one['max_count']}  {', '.join(one['actions'])}"
        typer.echo(one_line(said))


def consent(
    execution: ExecutionArgument,
    code: Annotated[str, typer.Argument(help="The six digits that the merchant reads out.")],
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Bring the merchant's digits to the terminal that waits for them."""
    done = connect_to(url, token, data).post(f"/api/v1/executions/{execution}/consent", {"code": code})
    typer.echo(f"{done['id']} is {done['state']}")


def show_signing(url: UrlOption = "", token: TokenOption = "", data: DataOption = DEFAULT_DATA) -> None:
    """Say whether commands are signed, and who may allow changes."""
    _print(connect_to(url, token, data).get("/api/v1/signing"))


def stop_signing(
    reason: Annotated[str, typer.Argument(help="Why; shown to everybody.")],
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """End all signing at once and cancel all that waits."""
    _print(connect_to(url, token, data).post("/api/v1/signing/stop", {"reason": reason}))


def lift_stop(
    keys: Annotated[list[Path], typer.Option("--key", metavar="FILE", help="An approver's key; as many as needed.")],
    passphrase_file: PassphraseOption = None,
    url: UrlOption = "",
    token: TokenOption = "",
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Lift the stop that holds, with the keys of as many approvers as the policy says."""
    from fleet_server.approvals.permit_making import signed_lift

    connection = connect_to(url, token, data)
    standing = connection.get("/api/v1/signing")
    opened = [_open(key, passphrase_file) for key in keys]
    envelope = signed_lift(standing["tenant"], standing["epoch"], opened)
    _print(connection.post("/api/v1/signing/lift", {"envelope": envelope}))


def _asked(connection: "Connection", execution: str) -> "tuple[bytes, Authorisation]":
    """The bytes that are to be signed, and what they say: nothing that the server says about them."""
    import base64

    from protocol import codec
    from protocol.authorisations import Authorisation
    from protocol.errors import Malformed

    payload = base64.b64decode(connection.get(f"/api/v1/approvals/{execution}")["document_base64"])
    document = codec.from_json(payload, Authorisation)
    if isinstance(document, Malformed):
        _fail(f"what is to be signed is not understood: {document.detail}")
    if document.execution != execution:
        _fail(f"the server gave the document of execution {document.execution}, expected {execution}")
    return payload, document


def _agreed(connection: "Connection", execution: str, question: str, *, yes: bool) -> "tuple[bytes, Authorisation]":
    """As `_asked`, once the person has seen it and said yes."""
    payload, document = _asked(connection, execution)
    _print(_shown(document))
    if not yes and not typer.confirm(question):
        raise typer.Exit(1)
    return payload, document


def _shown(document: "Authorisation") -> dict[str, Any]:
    import msgspec

    shown: dict[str, Any] = msgspec.to_builtins(document)
    return shown


def _open(path: Path, passphrase_file: Path | None) -> "SigningKey":
    from fleet_server.approvals.keys import read_key

    return read_key(path, _passphrase(path, passphrase_file, twice=False))


def _passphrase(path: Path, file: Path | None, *, twice: bool) -> str:
    if file is not None:
        return file.read_text("utf-8").rstrip("\n")
    said: str = typer.prompt(f"Passphrase of {path}", hide_input=True, confirmation_prompt=twice)
    return said


def _print(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(document, ensure_ascii=False, indent=1))


def _fail(sentence: str) -> NoReturn:
    sys.stderr.write(f"fleet-server: {sentence}\n")
    raise typer.Exit(2)
