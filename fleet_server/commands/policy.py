"""``fleet-server policy show | draft | sign | import``: the ceremony that changes who may do what.

``sign`` needs two files and no server: it runs where the root's keys are.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption
from fleet_server.errors import FleetError

if TYPE_CHECKING:
    from protocol.signing import Approver, Policy

DraftOption = Annotated[Path, typer.Option("--draft", metavar="FILE", help="The policy as plain JSON.")]
SignedOption = Annotated[Path, typer.Option("--signed", metavar="FILE", help="The policy with its signatures.")]


def register(app: typer.Typer) -> None:
    policy = typer.Typer(help="Who may command, acknowledge and approve.", no_args_is_help=True)
    policy.command("show")(show)
    policy.command("draft")(draft)
    policy.command("sign")(sign_draft)
    policy.command("import")(import_signed)
    app.add_typer(policy, name="policy")


def show(data: DataOption = DEFAULT_DATA) -> None:
    """Print the policy that terminals are given."""
    from fleet_server.enrollment.ceremony import present_policy
    from fleet_server.settings import load_settings

    _print(present_policy(load_settings(data)))


def draft(
    path: DraftOption,
    add_approver: Annotated[
        list[str], typer.Option(help="NAME=PUBLIC or NAME@TENANT=PUBLIC; a name that is there gets this key.")
    ] = [],  # noqa: B006 - typer copies it
    remove_approver: Annotated[list[str], typer.Option(help="Account name.")] = [],  # noqa: B006 - as above
    add_command_key: Annotated[list[str], typer.Option(help="Public key of a signer.")] = [],  # noqa: B006 - as above
    add_server_key: Annotated[list[str], typer.Option(help="Public key of ingest.")] = [],  # noqa: B006 - as above
    add_break_glass_key: Annotated[list[str], typer.Option(help="Public key that lies offline.")] = [],  # noqa: B006 - as above
    remove_key: Annotated[list[str], typer.Option(help="Public key of a signer, ingest or break-glass.")] = [],  # noqa: B006 - as above
    root: Annotated[list[str], typer.Option(help="Public keys of whoever signs after this one; all of them.")] = [],  # noqa: B006 - as above
    root_threshold: Annotated[int | None, typer.Option(min=1, help="How many of the root's keys sign.")] = None,
    lift_threshold: Annotated[int | None, typer.Option(min=1, help="How many approvers lift a stop.")] = None,
    merchant_consent: Annotated[bool | None, typer.Option("--merchant-consent/--no-merchant-consent")] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Write the next policy as plain JSON, to be read and signed by whoever holds the root's keys."""
    from fleet_server.enrollment.ceremony import Changes, drafted, present_policy
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings
    from protocol import codec

    changes = Changes(
        approvers=[_approver(text) for text in add_approver],
        without_approvers=remove_approver,
        command_keys=add_command_key,
        without_keys=remove_key,
        server_keys=add_server_key,
        break_glass_keys=add_break_glass_key,
        roots=root,
        root_threshold=root_threshold,
        lift_threshold=lift_threshold,
        merchant_consent=merchant_consent,
    )
    wanted = drafted(present_policy(load_settings(data)), changes, utc_now())
    path.write_bytes(codec.to_json(wanted))
    _print(wanted)


def sign_draft(
    path: DraftOption,
    signed: SignedOption,
    key: Annotated[Path, typer.Option("--root-key", metavar="FILE", help="root.seed, or a key with a passphrase.")],
    passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Else it is asked for.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Show what the draft says, and add the signature of one of the root's keys."""
    from fleet_server.enrollment.ceremony import add_signature, read_draft, root_key

    policy = read_draft(path)
    _print(policy)
    if not yes and not typer.confirm("Sign exactly this?"):
        raise typer.Exit(1)
    passphrase = None
    if key.suffix != ".seed":
        passphrase = (
            passphrase_file.read_text("utf-8").rstrip("\n")
            if passphrase_file is not None
            else typer.prompt(f"Passphrase of {key}", hide_input=True)
        )
    count = add_signature(policy, signed, root_key(key, passphrase))
    typer.echo(f"{signed} has {count} signatures")


def import_signed(signed: SignedOption, data: DataOption = DEFAULT_DATA) -> None:
    """Take a signed policy: terminals are given it from now on, and the signer goes by it."""
    from fleet_server.audit.service import SYSTEM, record
    from fleet_server.auth.roles import Actor, ActorKind, Role
    from fleet_server.db import reachable_database, transaction
    from fleet_server.enrollment.ceremony import import_policy
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    policy = import_policy(settings, signed)
    actor = Actor("", SYSTEM, Role.OPERATOR, settings.tenant, ActorKind.PERSON)
    with reachable_database(settings.database_url) as engine, transaction(engine) as session:
        names = [one.name for one in policy.approvers]
        record(session, actor, "policy_imported", str(policy.version), {"version": policy.version, "approvers": names})
    typer.echo(f"policy {policy.version}: terminals get it as they connect, the signer within seconds while it runs")


def _approver(text: str) -> "Approver":
    from protocol.signing import Approver

    name, _, public = text.rpartition("=")
    name, _, tenant = name.partition("@")
    if not name or len(public) != 64:
        raise ApproverUnclear(f"{text!r}: expected NAME=PUBLIC, a public key of 64 hexadecimal digits")
    return Approver(name, public, tenant)


class ApproverUnclear(FleetError):
    code = "approver_unclear"


def _print(policy: "Policy") -> None:
    import json

    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(policy)
    typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
