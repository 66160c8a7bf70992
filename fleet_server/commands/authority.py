"""``fleet-server authority``: the certificates that all others lead to, and a new issuing one from the root."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleet_server.commands.options import DEFAULT_DATA, DataOption

if TYPE_CHECKING:
    from fleet_server.issuer.folder import AuthorityPlaces

FolderOption = Annotated[Path | None, typer.Option(help="The issuer's own folder, where it has a user of its own.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="The installation's certificate authority.", no_args_is_help=True)
    group.command("show")(show)
    group.command("issuing")(issuing)
    app.add_typer(group, name="authority")


def show(data: DataOption = DEFAULT_DATA, folder: FolderOption = None) -> None:
    """Say until when root and issuing certificate live, and where the root's key is."""
    from cryptography import x509

    from protocol.enrolment import fingerprint

    places = _places(data, folder)
    for certificate in x509.load_pem_x509_certificates(places.chain.read_bytes()):
        name = certificate.subject.rfc4514_string().removeprefix("CN=")
        typer.echo(f"{name}: until {certificate.not_valid_after_utc:%Y-%m-%d}")
    root = x509.load_pem_x509_certificate(places.root_certificate.read_bytes())
    from cryptography.hazmat.primitives.serialization import Encoding

    typer.echo(f"Fingerprint in codes: {fingerprint(root.public_bytes(Encoding.DER))}")
    if places.root_key.exists():
        typer.echo(f"The root's key is still here: take {places.root_key} away, to where it is needed once a year.")


def issuing(
    data: DataOption = DEFAULT_DATA,
    folder: FolderOption = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder with ca-root.key; left out: it lies where it was made.")
    ] = None,
    *,
    lost: Annotated[
        bool, typer.Option("--lost", help="The present issuing key is lost or stolen: believe nothing it has signed.")
    ] = False,
) -> None:
    """Make a new issuing key and have the root sign it."""
    from fleet_server.enrollment.authority import Root
    from fleet_server.enrollment.errors import DataFolderUnusable
    from fleet_server.issuer.folder import ROOT_KEY, new_issuing
    from fleet_server.kit.times import utc_now

    places = _places(data, folder)
    key = places.root_key if root is None else root / ROOT_KEY
    try:
        authority = Root.from_pem(places.root_certificate.read_bytes(), key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise DataFolderUnusable(f"{key}: expected the root's key: {error}") from error
    made = new_issuing(places, authority, utc_now(), is_lost=lost)
    typer.echo(
        f"A new issuing key, until {made.certificate.not_valid_after_utc:%Y-%m-%d}. Now run 'fleet-server init'."
    )


def _places(data: Path, folder: Path | None) -> "AuthorityPlaces":
    from fleet_server.issuer.folder import AuthorityPlaces
    from fleet_server.issuer.opening import places_of
    from fleet_server.settings import load_settings

    return AuthorityPlaces(folder, folder) if folder is not None else places_of(load_settings(data))
