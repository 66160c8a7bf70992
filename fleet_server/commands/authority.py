"""``fleet-server authority``: the certificates that all others lead to, and a new issuing one from the root."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    from fleet_server.enrollment.authority import Root
    from fleet_server.issuer.folder import AuthorityPlaces
    from fleet_server.settings import ServerSettings

RootOption = Annotated[Path | None, typer.Option(help="Folder with ca-root.key; left out: it lies where it was made.")]
FolderOption = Annotated[Path | None, typer.Option(help="The issuer's own folder, where it has a user of its own.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The installation's certificate authority.", no_args_is_help=True)
    group.command("show")(show)
    group.command("issuing")(issuing)
    group.command("root")(renew_root)
    app.add_typer(group, name="authority")


def show(data: DataOption = DEFAULT_DATA, folder: FolderOption = None) -> None:
    """Say until when root and issuing certificate live, and where the root's key is."""
    from cryptography import x509

    from fleet_server.settings import load_settings
    from protocol.enrolment import fingerprint

    places = _places(data, folder)
    for certificate in x509.load_pem_x509_certificates(places.chain.read_bytes()):
        name = certificate.subject.rfc4514_string().removeprefix("CN=")
        typer.echo(f"{name}: until {certificate.not_valid_after_utc:%Y-%m-%d}")
    root = x509.load_pem_x509_certificate(places.root_certificate.read_bytes())
    from cryptography.hazmat.primitives.serialization import Encoding

    typer.echo(f"Fingerprint in codes: {fingerprint(root.public_bytes(Encoding.DER))}")
    if folder is None:
        _show_own(load_settings(data))
    if places.root_key.exists():
        typer.echo(f"The root's key is still here: take {places.root_key} away, to where it is needed once a year.")


def issuing(
    data: DataOption = DEFAULT_DATA,
    folder: FolderOption = None,
    root: RootOption = None,
    *,
    lost: Annotated[
        bool, typer.Option("--lost", help="The present issuing key is lost or stolen: believe nothing it has signed.")
    ] = False,
) -> None:
    """Make a new issuing key and have the root sign it."""
    from fleet_server.issuer.folder import new_issuing
    from fleet_server.kit.times import utc_now

    places = _places(data, folder)
    made = new_issuing(places, _root(places, root), utc_now(), is_lost=lost)
    typer.echo(
        f"A new issuing key, until {made.certificate.not_valid_after_utc:%Y-%m-%d}. Now run 'fleet-server init'."
    )


def renew_root(data: DataOption = DEFAULT_DATA, folder: FolderOption = None, root: RootOption = None) -> None:
    """Renew the root's certificate with the same key, and make a new issuing key. No terminal is visited."""
    from fleet_server.issuer.folder import renew_root as renew
    from fleet_server.kit.times import utc_now

    places = _places(data, folder)
    made = renew(places, _root(places, root), utc_now())
    typer.echo(
        f"The root's certificate lives until {made.root.not_valid_after_utc:%Y-%m-%d}. Now run 'fleet-server init' and "
        "restart the broker. Codes of enrolment that are open have to be made anew."
    )


def _show_own(settings: "ServerSettings") -> None:
    from fleet_server.enrollment.ends import ends
    from fleet_server.kit.times import utc_now

    now = utc_now()
    for one in ends(settings):
        word = "ended" if one.at <= now else "ends soon" if one.is_soon(now) else "good"
        typer.echo(f"{one.what.replace('_', ' ')}: {word}, until {one.at:%Y-%m-%d}")


def _root(places: "AuthorityPlaces", folder: Path | None) -> "Root":
    from fleet_server.enrollment.authority import Root
    from fleet_server.enrollment.errors import DataFolderUnusable
    from fleet_server.issuer.folder import ROOT_KEY

    key = places.root_key if folder is None else folder / ROOT_KEY
    try:
        return Root.from_pem(places.root_certificate.read_bytes(), key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise DataFolderUnusable(f"{key}: expected the root's key: {error}") from error


def _places(data: Path, folder: Path | None) -> "AuthorityPlaces":
    from fleet_server.issuer.folder import AuthorityPlaces
    from fleet_server.issuer.opening import places_of
    from fleet_server.settings import load_settings

    return AuthorityPlaces(folder, folder) if folder is not None else places_of(load_settings(data))
