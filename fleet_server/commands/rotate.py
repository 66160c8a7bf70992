"""``fleet-server rotate …``: one command for each kind of key, by which another takes its place.

With the root's keys at hand each goes through in one go; without them it leaves a draft, and goes on when it is given
again. What is meant for a theft is ``--stolen``: the former key is dropped at once.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption
from fleet_server.commands.policy import STOP_WORDS

if TYPE_CHECKING:
    from fleet_server.enrollment.rotation import Hands, OnlineKey
    from fleet_server.settings import ServerSettings

RootKeyOption = Annotated[
    list[Path], typer.Option("--root-key", metavar="FILE", help="A key of the root; as many as have to sign.")
]
PassphraseOption = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Of keys with a passphrase; else asked for.")
]
DraftOption = Annotated[
    Path | None, typer.Option("--draft", metavar="FILE", help="Where the draft goes when no key of the root is here.")
]
OverlapOption = Annotated[
    float, typer.Option("--overlap", min=0, metavar="SECONDS", help="How long both keys count while links are told.")
]
StolenOption = Annotated[bool, typer.Option("--stolen", help="The former key is in other hands: drop it at once.")]
PublicArgument = Annotated[str, typer.Argument(metavar="PUBLIC", help="Public half of the next key.")]
_NO_FILES: list[Path] = []
# Ingest looks for a new policy every 2 s and tells 200 links a turn: time for a large fleet, on a slow day.
_OVERLAP_S = 30.0


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Replace a key by another one; no terminal is visited.", no_args_is_help=True)
    group.command("command")(command_key)
    group.command("server")(server_key)
    group.command("signer")(signer)
    group.command("approver")(approver)
    group.command("break-glass")(break_glass)
    group.command("root")(root)
    group.command("issuing")(issuing)
    group.command("certificates")(certificates)
    group.command("audit")(audit)
    group.command("people")(people)
    app.add_typer(group, name="rotate")


def command_key(
    root_key: RootKeyOption = _NO_FILES,
    passphrase_file: PassphraseOption = None,
    draft: DraftOption = None,
    overlap: OverlapOption = _OVERLAP_S,
    data: DataOption = DEFAULT_DATA,
    *,
    stolen: StolenOption = False,
) -> None:
    """The key that signs commands. The signer makes the next one itself and goes over to it; it has to run."""
    from contextlib import closing

    from fleet_server.enrollment.rotation import CommandKey
    from fleet_server.signer.client import SignerClient

    settings, hands = hands_of(data, root_key, passphrase_file, draft, overlap, stolen=stolen)
    with closing(SignerClient(settings.signer_socket_path)) as signer:
        _replace(settings, CommandKey(settings, signer), hands)


def server_key(
    root_key: RootKeyOption = _NO_FILES,
    passphrase_file: PassphraseOption = None,
    draft: DraftOption = None,
    overlap: OverlapOption = _OVERLAP_S,
    data: DataOption = DEFAULT_DATA,
    *,
    stolen: StolenOption = False,
) -> None:
    """The key that signs acknowledgements, welcome and flow. Ingest begins anew with the next one by itself."""
    from fleet_server.enrollment.rotation import ServerKey

    settings, hands = hands_of(data, root_key, passphrase_file, draft, overlap, stolen=stolen)
    _replace(settings, ServerKey(settings), hands)


def signer(
    public: Annotated[
        str | None,
        typer.Argument(help="Public half of another signer's key; left out: that of DATA/signer."),
    ] = None,
    root_key: RootKeyOption = _NO_FILES,
    passphrase_file: PassphraseOption = None,
    draft: DraftOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """The signer's machine, or its folder, is lost: another one takes its place, and the lost key counts no more."""
    from fleet_server.enrollment.rotation import replace_signer
    from fleet_server.enrollment.signer_folder import ensure_command_key

    settings, hands = hands_of(data, root_key, passphrase_file, draft, 0, stolen=True)
    fresh = replace_signer(settings, public or ensure_command_key(settings), hands)
    note_rotation(settings, {"kind": "signer", "present": fresh[:16]})
    typer.echo(
        f"Only {fresh} signs commands now. Withdraw shift permits that live: what was used of them is forgotten."
    )


def approver(
    name: Annotated[str, typer.Argument(help="The person's account.")],
    public: PublicArgument,
    root_key: RootKeyOption = _NO_FILES,
    passphrase_file: PassphraseOption = None,
    draft: DraftOption = None,
    data: DataOption = DEFAULT_DATA,
    *,
    stolen: StolenOption = False,
) -> None:
    """An approver's key. Both count until the same command is given again; with --stolen only the next one, at once."""
    from fleet_server.enrollment.rotation import replace_approver

    settings, hands = hands_of(data, root_key, passphrase_file, draft, 0, stolen=stolen)
    is_gone = replace_approver(settings, name, public, hands)
    note_rotation(settings, {"kind": "approver", "former_is_gone": is_gone}, personal={"person": name})
    _tell_stops(settings)
    if is_gone:
        typer.echo(f"Only this key of {name} counts now.")
    else:
        typer.echo(f"Both keys of {name} count now. Give the same command again when nothing waits for the former one.")


def break_glass(
    public: PublicArgument,
    root_key: RootKeyOption = _NO_FILES,
    passphrase_file: PassphraseOption = None,
    draft: DraftOption = None,
    data: DataOption = DEFAULT_DATA,
    *,
    stolen: StolenOption = False,
) -> None:
    """The break-glass key. Both count until the same command is given again."""
    from fleet_server.enrollment.rotation import replace_break_glass

    settings, hands = hands_of(data, root_key, passphrase_file, draft, 0, stolen=stolen)
    is_gone = replace_break_glass(settings, public, hands)
    note_rotation(settings, {"kind": "break-glass", "former_is_gone": is_gone})
    word = "Only this" if is_gone else "This beside the former one; give the same command again to drop that:"
    typer.echo(f"{word} break-glass key counts now.")


def root(
    fresh: Annotated[
        list[Path], typer.Option("--new-key", metavar="FILE", help="A key of the next root; all of them.")
    ],
    root_key: RootKeyOption = _NO_FILES,
    threshold: Annotated[int, typer.Option(min=1, max=8, help="How many of the next root's keys sign.")] = 1,
    passphrase_file: PassphraseOption = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """The root of the policy, with all keys at hand. Where they are in several places, use 'policy draft --root'."""
    from fleet_server.enrollment.ceremony import root_key as opened
    from fleet_server.enrollment.rotation import replace_root

    settings, hands = hands_of(data, [*root_key, *fresh], passphrase_file, None, 0, stolen=False)
    publics = [opened(path, _words(path, passphrase_file)).public_hex for path in fresh]
    policy = replace_root(settings, publics, threshold, hands)
    note_rotation(settings, {"kind": "root", "version": policy.version})
    typer.echo(f"Policy {policy.version} names the next root: {threshold} of {len(publics)} keys sign from now on.")
    typer.echo("Destroy the former root's key: a terminal that sleeps believes it until it wakes.")


def issuing(
    root: Annotated[
        Path | None, typer.Option(help="Folder with ca-root.key; left out: it lies where it was made.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="The issuer's own folder, where it has a user of its own.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    *,
    lost: Annotated[bool, typer.Option("--lost", help="Lost or stolen: believe nothing it has signed.")] = False,
) -> None:
    """The issuing key, and with it the certificates of broker, console and services. Agents renew by themselves."""
    from fleet_server.commands.authority import issuing as make_issuing

    make_issuing(data, folder, root, lost=lost)
    if folder is None:
        certificates(data=data)


def certificates(
    names: Annotated[list[str] | None, typer.Argument(help="broker, http, services; left out: all.")] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """Keys and certificates of broker, console and services. The broker reads its new one at once."""
    from fleet_server.enrollment.tls_files import OF_BROKER, forget_certificates, hang_up, renew_certificates
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    forget_certificates(settings.tls_dir, names or [])
    renewed = renew_certificates(settings, utc_now())
    note_rotation(settings, {"kind": "certificates", "names": list(renewed)})
    typer.echo(f"New: {', '.join(renewed)}.")
    if OF_BROKER.intersection(renewed) and not hang_up(settings.data / "broker"):
        typer.echo("The broker is not here: send SIGHUP to mosquitto.")
    if set(renewed) - OF_BROKER:
        typer.echo("Restart fleet-server, so that its processes show the new ones.")


def audit(
    public: Annotated[
        str | None, typer.Option("--public", help="Public half of the next key, where it is kept on another machine.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
) -> None:
    """The key that signs heads of the audit. What the former one signed until now stays good, later words do not."""
    from fleet_server.audit.anchors import replace_anchor_key
    from fleet_server.kit.times import utc_now
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    former, fresh = replace_anchor_key(settings.keys_dir, utc_now(), public)
    note_rotation(settings, {"kind": "audit", "former": former[:16], "present": fresh[:16]})
    typer.echo(f"{fresh} signs the audit now. Give audit-anchor.pub to whoever verifies it.")


def people(data: DataOption = DEFAULT_DATA) -> None:
    """The key that seals second factors; sessions have none, they are kept in the database."""
    from fleet_server.commands.people import change_key

    change_key(data)


def hands_of(
    data: Path, keys: list[Path], passphrase_file: Path | None, draft: Path | None, overlap_s: float, *, stolen: bool
) -> "tuple[ServerSettings, Hands]":
    import time

    from fleet_server.enrollment.ceremony import root_key
    from fleet_server.enrollment.private_files import make_private_dir
    from fleet_server.enrollment.rotation import Hands
    from fleet_server.settings import load_settings

    settings = load_settings(data)
    opened = [root_key(path, _words(path, passphrase_file)) for path in keys]
    place = draft or make_private_dir(settings.server_dir / "rotating") / "policy-draft.json"
    return settings, Hands(opened, place, lambda: time.sleep(overlap_s), at_once=stolen)


def _words(path: Path, passphrase_file: Path | None) -> str | None:
    if path.suffix == ".seed":
        return None
    if passphrase_file is not None:
        return passphrase_file.read_text("utf-8").rstrip("\n")
    said: str = typer.prompt(f"Passphrase of {path}", hide_input=True)
    return said


def _replace(settings: "ServerSettings", key: "OnlineKey", hands: "Hands") -> None:
    from fleet_server.enrollment.rotation import replace_online_key

    former, fresh = replace_online_key(settings, key, hands)
    note_rotation(settings, {"kind": key.name, "former": former[:16], "present": fresh[:16]})
    typer.echo(f"The {key.name} key is {fresh} now; no terminal that knows the policy takes {former[:16]}… any more.")


def _tell_stops(settings: "ServerSettings") -> None:
    from fleet_server.enrollment.ceremony import present_policy, stops_to_sign_anew

    for tenant in stops_to_sign_anew(settings, present_policy(settings)):
        typer.echo(STOP_WORDS.format(tenant))


def note_rotation(
    settings: "ServerSettings", said: "dict[str, object]", personal: "dict[str, object] | None" = None
) -> None:
    from fleet_server.audit.service import SYSTEM, record
    from fleet_server.auth.roles import Actor, ActorKind, Role
    from fleet_server.db import reachable_database, transaction

    actor = Actor("", SYSTEM, Role.OPERATOR, settings.tenant, ActorKind.PERSON)
    with reachable_database(settings.database_url) as engine, transaction(engine) as session:
        record(session, actor, "key_rotated", str(said["kind"]), said, personal=personal)
