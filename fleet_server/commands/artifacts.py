"""``fleet-server artifacts``: the repository of software, from keys that lie offline to what devices are given.

``init``, ``add``, ``remove``, ``renew``, ``sign`` and ``pending`` need a folder and no server: it is carried to where
the keys are. ``pin``, ``publish``, ``list`` and ``verify`` run where the server is.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption, JsonOption, TenantOption

if TYPE_CHECKING:
    from fleet_server.artifacts.ceremony import Ceremony
    from fleet_server.artifacts.verifying import Verified
    from fleet_server.settings import ServerSettings

FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the ceremony; it may be anywhere.")]
RootsOption = Annotated[list[str], typer.Option("--root", help="Public key of the root; all of them.")]
TargetsOption = Annotated[list[str], typer.Option("--targets", help="Public key of who releases; all of them.")]
RootThreshold = Annotated[int, typer.Option(min=2, max=8, help="How many of the root's keys sign.")]
TargetsThreshold = Annotated[int, typer.Option(min=2, max=8, help="How many of those who release sign.")]
SnapshotOption = Annotated[str, typer.Option("--snapshot", help="The signer's, from 'artifacts online-keys'.")]
TimestampOption = Annotated[str, typer.Option("--timestamp", help="The signer's, from 'artifacts online-keys'.")]
_NO_KEYS: list[str] = []


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Software for terminals: its repository and the ceremonies.", no_args_is_help=True)
    for name, command in (
        ("online-keys", online_keys),
        ("init", init),
        ("add", add),
        ("remove", remove),
        ("renew", renew),
        ("pending", pending),
        ("sign", sign),
        ("pin", pin),
        ("publish", publish),
        ("list", list_targets),
        ("verify", verify),
        ("rehearse", rehearse),
    ):
        group.command(name)(command)
    app.add_typer(group, name="artifacts")


def online_keys(
    data: DataOption = DEFAULT_DATA,
    *,
    following: Annotated[bool, typer.Option("--next", help="Of the keys that are to follow the present ones.")] = False,
) -> None:
    """Say which keys of the signer a root is to name. The signer has to run."""
    from contextlib import closing

    from fleet_server.settings import load_settings
    from fleet_server.signer.client import SignerClient

    with closing(SignerClient(load_settings(data).signer_socket_path)) as signer:
        keys = signer.release_keys(following=following)
    typer.echo(f"--snapshot {keys.snapshot} --timestamp {keys.timestamp}")


def init(
    folder: FolderArgument,
    root: RootsOption,
    targets: TargetsOption,
    snapshot: SnapshotOption,
    timestamp: TimestampOption,
    root_threshold: RootThreshold = 2,
    targets_threshold: TargetsThreshold = 2,
) -> None:
    """Draft the first root and an empty list of targets. Keys are made by 'approver-key FILE --new'."""
    from fleet_server.artifacts.metadata import Offices
    from fleet_server.kit.times import utc_now

    offices = Offices(root, targets, snapshot, timestamp, root_threshold, targets_threshold)
    ceremony = _ceremony(folder)
    ceremony.begin(offices, utc_now())
    _say_pending(ceremony)


def add(
    folder: FolderArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    path: Annotated[str, typer.Option(help="As devices ask for it: 'apps/tm-e30/payment-5.5.0.bin'.")],
    kind: Annotated[str, typer.Option(help="agent, payment_application, configuration, data or firmware.")],
    version: Annotated[str, typer.Option(help="Numbers and dots.")],
    model: Annotated[list[str], typer.Option(help="Model of device that it fits; as often as needed.")],
    from_version: Annotated[str, typer.Option(help="The lowest version that it may follow.")] = "",
) -> None:
    """Add a file to the list of targets, or put it in another's place."""
    import msgspec

    from fleet_server.artifacts.errors import ArtifactsRefused
    from fleet_server.kit.times import utc_now
    from protocol.artifacts import TargetFacts

    said = {"kind": kind, "version": version, "models": model, "from_version": from_version}
    try:
        facts = msgspec.convert(said, TargetFacts)
    except msgspec.ValidationError as error:
        raise ArtifactsRefused(str(error)) from error
    ceremony = _ceremony(folder)
    target = ceremony.add(file, path, facts, utc_now())
    typer.echo(f"{path}: {target.length} bytes, SHA-256 {target.hashes['sha256']}")
    _say_pending(ceremony)


def remove(folder: FolderArgument, path: Annotated[str, typer.Argument(help="As devices ask for it.")]) -> None:
    """Take a file off the list: no device is given it any more."""
    from fleet_server.kit.times import utc_now

    ceremony = _ceremony(folder)
    ceremony.remove(path, utc_now())
    _say_pending(ceremony)


def renew(
    folder: FolderArgument,
    root: RootsOption = _NO_KEYS,
    targets: TargetsOption = _NO_KEYS,
    snapshot: SnapshotOption = "",
    timestamp: TimestampOption = "",
    root_threshold: RootThreshold = 2,
    targets_threshold: TargetsThreshold = 2,
) -> None:
    """Draft root and list for another year. With keys: all that count from then on, the former ones sign it too."""
    from fleet_server.artifacts.errors import ArtifactsRefused
    from fleet_server.artifacts.metadata import Offices
    from fleet_server.kit.times import utc_now

    given = [bool(root), bool(targets), bool(snapshot), bool(timestamp)]
    offices: Offices | None = None
    if all(given):
        offices = Offices(root, targets, snapshot, timestamp, root_threshold, targets_threshold)
    elif any(given):
        raise ArtifactsRefused("expected all of --root, --targets, --snapshot and --timestamp, or none of them")
    ceremony = _ceremony(folder)
    ceremony.renew(offices, utc_now())
    _say_pending(ceremony)


def pending(folder: FolderArgument) -> None:
    """Say what lacks signatures."""
    _say_pending(_ceremony(folder))


def sign(
    folder: FolderArgument,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="A key with a passphrase.")],
    passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Else it is asked for.")] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Show what is to be signed, and add the signature of one key."""
    from fleet_server.approvals.keys import read_key

    ceremony = _ceremony(folder)
    _say_pending(ceremony)
    _say_list(ceremony)
    if not yes and not typer.confirm("Sign exactly this?"):
        raise typer.Exit(1)
    words = (
        passphrase_file.read_text("utf-8").rstrip("\n")
        if passphrase_file is not None
        else typer.prompt(f"Passphrase of {key}", hide_input=True)
    )
    for path in ceremony.sign(read_key(key, words)):
        typer.echo(f"signed {path}")
    _say_pending(ceremony)


def pin(
    folder: FolderArgument,
    root_key: Annotated[
        list[Path], typer.Option("--root-key", metavar="FILE", help="Key of the policy's root, as often as needed.")
    ] = [],  # noqa: B006 - typer copies it
    passphrase_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Else it is asked for.")] = None,
    draft: Annotated[Path | None, typer.Option(metavar="FILE", help="Of the policy, where no key is at hand.")] = None,
    tenant: TenantOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Have the policy name the first root, so that devices believe this repository. They hear of it as they connect."""
    from fleet_server.artifacts.metadata import follow_roots, sha256_of
    from fleet_server.commands.rotate import hands_of, note_rotation
    from fleet_server.enrollment.ceremony import Changes
    from fleet_server.enrollment.rotation import change_policy

    settings, hands = hands_of(data, root_key, passphrase_file, draft, 0, stolen=False)
    whose = _tenant(settings, tenant)
    roots = _ceremony(folder).roots()
    sha256 = sha256_of(roots[0])
    follow_roots(roots, sha256)
    policy = change_policy(settings, Changes(artifact_roots={whose: sha256}), hands)
    note_rotation(settings, {"kind": "software root", "version": policy.version, "present": sha256[:16]})
    typer.echo(f"Policy {policy.version} names {sha256} as the first root of {whose}'s software.")


def publish(folder: FolderArgument, tenant: TenantOption = None, data: DataOption = DEFAULT_DATA) -> None:
    """Give devices what is signed. The signer has to run."""
    from contextlib import closing

    from fleet_server.artifacts.publishing import publish as bring
    from fleet_server.artifacts.store import Store
    from fleet_server.audit.service import record
    from fleet_server.commands.options import as_system
    from fleet_server.db import reachable_database, transaction
    from fleet_server.enrollment.ceremony import present_policy
    from fleet_server.executions.dispatch import Dispatcher
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings
    from fleet_server.signer.client import SignerClient

    settings, now = load_settings(data), utc_now()
    whose = _tenant(settings, tenant)
    pinned = _pin(present_policy(settings).artifact_roots, whose)
    with closing(Dispatcher(SignerClient(settings.signer_socket_path))) as signer:
        signer.give_policy(settings.policy_file, now)
        done = bring(Store.of(settings, whose), _ceremony(folder), whose, pinned, signer, now)
    with reachable_database(settings.database_url) as engine, transaction(engine) as session:
        data_of = {"root": done.root, "targets": done.targets, "version": done.version}
        record(session, as_system(session, settings, tenant), "software_published", str(done.targets), data_of)
    typer.echo(
        f"Published root {done.root}, targets {done.targets}: {done.files_taken} new files, {done.files_gone} removed."
    )


def list_targets(tenant: TenantOption = None, data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False) -> None:
    """What devices are offered, and until when it holds."""
    _show(_verified(data, tenant, files=False), as_json=as_json)


def verify(tenant: TenantOption = None, data: DataOption = DEFAULT_DATA, *, as_json: JsonOption = False) -> None:
    """Judge everything that is published as a device does, each file's hash too."""
    _show(_verified(data, tenant, files=True), as_json=as_json)


def rehearse(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new one; it is worth nothing afterwards.")],
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="To be published for practice.")] = None,
) -> None:
    """The whole ceremony with keys of a rehearsal, which no device believes. Needs no server."""
    from fleet_server.artifacts.errors import ArtifactsRefused
    from fleet_server.artifacts.rehearsal import rehearse as go_through
    from fleet_server.enrollment.private_files import make_private_dir
    from fleet_server.kit.times import utc_now

    if folder.exists():
        raise ArtifactsRefused(f"{folder} is there already: name a new folder")
    go_through(make_private_dir(folder), file, utc_now(), typer.echo)


def _ceremony(folder: Path) -> "Ceremony":
    from fleet_server.artifacts.ceremony import Ceremony

    return Ceremony(folder)


def _say_pending(ceremony: "Ceremony") -> None:
    waiting = ceremony.pending()
    for one in waiting:
        typer.echo(f"{one.path}: {one.missing} signatures of the {one.role} keys are missing")
    if not waiting:
        typer.echo("Everything is signed: 'artifacts publish' brings it to devices.")


def _say_list(ceremony: "Ceremony") -> None:
    """What somebody puts his name to."""
    for path, target in sorted(ceremony.targets().signed.targets.items()):
        typer.echo(f"  {path}  {target.length} bytes  SHA-256 {target.hashes.get('sha256')}  {target.custom}")


def _tenant(settings: "ServerSettings", tenant: str | None) -> str:
    from fleet_server.commands.options import as_system
    from fleet_server.db import reachable_database, reading

    with reachable_database(settings.database_url) as engine, reading(engine) as session:
        return as_system(session, settings, tenant).tenant_id


def _pin(roots: dict[str, str], tenant: str) -> str:
    from fleet_server.artifacts.errors import ArtifactsRefused

    if tenant not in roots:
        raise ArtifactsRefused(
            f"the policy names no software of {tenant}: 'fleet-server artifacts pin' has it name the first root"
        )
    return roots[tenant]


def _verified(data: Path, tenant: str | None, *, files: bool) -> "Verified":
    from fleet_server.artifacts.store import Store
    from fleet_server.artifacts.verifying import verify as judge
    from fleet_server.enrollment.ceremony import present_policy
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    whose = _tenant(settings, tenant)
    return judge(Store.of(settings, whose), _pin(present_policy(settings).artifact_roots, whose), files=files)


def _show(found: "Verified", *, as_json: bool) -> None:
    if as_json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
        return
    for one in found.targets:
        facts = one.facts
        since = f", after {facts.from_version}" if facts.from_version else ""
        typer.echo(f"{one.path}  {facts.kind.value} {facts.version}{since}, for {', '.join(facts.models)}")
        typer.echo(f"    {one.length} bytes, SHA-256 {one.sha256}")
    for role, (version, ends) in found.ends.items():
        typer.echo(f"{role} {version}: until {ends:%Y-%m-%d %H:%M} UTC")
