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

STOP_WORDS = (
    "The last stop of {} was ended by keys that count no more: sign its lift anew with 'fleet-server signing lift', or "
    "links that sleep stay stopped."
)
DraftOption = Annotated[Path, typer.Option("--draft", metavar="FILE", help="The policy as plain JSON.")]
ArtifactRootOption = Annotated[
    list[str], typer.Option(help="TENANT=SHA256 of the first root of its software; TENANT= for none.")
]
AddApproverOption = Annotated[
    list[str], typer.Option(help="NAME=PUBLIC or NAME@TENANT=PUBLIC; a name that is there gets this key.")
]
ClockOption = Annotated[
    bool, typer.Option("--clock-is-right", help="Terminals whose time is ahead of this machine's go back to it.")
]
SignedOption = Annotated[Path, typer.Option("--signed", metavar="FILE", help="The policy with its signatures.")]


def register(app: typer.Typer) -> None:
    policy = typer.Typer(help="Who may command, acknowledge and approve.", no_args_is_help=True)
    policy.command("show")(show)
    policy.command("draft")(draft)
    policy.command("sign")(sign_draft)
    policy.command("import")(import_signed)
    policy.command("another-root")(another_root)
    app.add_typer(policy, name="policy")


def show(data: DataOption = DEFAULT_DATA) -> None:
    """Print the policy that terminals are given."""
    from fleet_server.enrollment.ceremony import present_policy
    from fleet_server.settings import load_settings

    _print(present_policy(load_settings(data)))


def draft(
    path: DraftOption,
    add_approver: AddApproverOption = [],  # noqa: B006 - typer copies it
    remove_approver: Annotated[list[str], typer.Option(help="Account name.")] = [],  # noqa: B006 - as above
    add_command_key: Annotated[list[str], typer.Option(help="Public key of a signer.")] = [],  # noqa: B006 - as above
    add_server_key: Annotated[list[str], typer.Option(help="Public key of ingest.")] = [],  # noqa: B006 - as above
    add_break_glass_key: Annotated[list[str], typer.Option(help="Public key that lies offline.")] = [],  # noqa: B006 - as above
    remove_key: Annotated[list[str], typer.Option(help="Public key of a signer, ingest or break-glass.")] = [],  # noqa: B006 - as above
    root: Annotated[list[str], typer.Option(help="Public keys of whoever signs after this one; all of them.")] = [],  # noqa: B006 - as above
    root_threshold: Annotated[int | None, typer.Option(min=1, help="How many of the root's keys sign.")] = None,
    lift_threshold: Annotated[int | None, typer.Option(min=1, help="How many approvers lift a stop.")] = None,
    artifact_root: ArtifactRootOption = [],  # noqa: B006 - as above
    merchant_consent: Annotated[bool | None, typer.Option("--merchant-consent/--no-merchant-consent")] = None,
    data: DataOption = DEFAULT_DATA,
    *,
    clock_is_right: ClockOption = False,
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
        artifact_roots=dict(_artifact_root(text) for text in artifact_root),
        clock=utc_now() if clock_is_right else None,
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
    from fleet_server.enrollment.ceremony import import_policy, stops_to_sign_anew
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    policy = import_policy(settings, signed)
    actor = Actor("", SYSTEM, Role.OPERATOR, settings.tenant, ActorKind.PERSON)
    with reachable_database(settings.database_url) as engine, transaction(engine) as session:
        names = {"approvers": [one.name for one in policy.approvers]}
        version = {"version": policy.version}
        record(session, actor, "policy_imported", str(policy.version), version, personal=names)
    typer.echo(f"policy {policy.version}: terminals get it as they connect, the signer within seconds while it runs")
    for tenant in stops_to_sign_anew(settings, policy):
        typer.echo(STOP_WORDS.format(tenant))


def another_root(
    key: Annotated[Path, typer.Option("--new-key", metavar="FILE", help="The next root's key, from approver-key.")],
    passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Else it is asked for.")] = None,
    data: DataOption = DEFAULT_DATA,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """All keys of the root are lost: begin with another one. Every link needs its bundle anew, or to enrol again."""
    from fleet_server.enrollment.ceremony import begin_with_another_root, root_key
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings

    if not yes and not typer.confirm("No terminal believes the next root before its bundle was carried there. Go on?"):
        raise typer.Exit(1)
    words = (
        passphrase_file.read_text("utf-8").rstrip("\n")
        if passphrase_file is not None
        else typer.prompt(f"Passphrase of {key}", hide_input=True)
    )
    policy = begin_with_another_root(load_settings(data), root_key(key, words), utc_now())
    typer.echo(f"Policy {policy.version} is signed by the next root. Run 'fleet-server init', then restart the server.")


def _approver(text: str) -> "Approver":
    from protocol.signing import Approver

    name, _, public = text.rpartition("=")
    name, _, tenant = name.partition("@")
    if not name or len(public) != 64:
        raise ApproverUnclear(f"{text!r}: expected NAME=PUBLIC, a public key of 64 hexadecimal digits")
    return Approver(name, public, tenant)


def _artifact_root(text: str) -> tuple[str, str]:
    tenant, sign, sha256 = text.partition("=")
    if not tenant or not sign or (sha256 and len(sha256) != 64):
        raise ArtifactRootUnclear(f"{text[:100]!r}: expected TENANT=SHA256, 64 hexadecimal digits")
    return tenant, sha256


class ArtifactRootUnclear(FleetError):
    code = "artifact_root_unclear"


class ApproverUnclear(FleetError):
    code = "approver_unclear"


def _print(policy: "Policy") -> None:
    import json

    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(policy)
    typer.echo(json.dumps(document, ensure_ascii=False, indent=1))
