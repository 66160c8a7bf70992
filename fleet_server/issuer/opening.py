"""The issuer of an installation, as each process of it reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial

from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.issuer.client import IssuerClient, OnOccasion, SocketChannel, connect_to
from fleet_server.issuer.folder import AuthorityPlaces, ensure_authority
from fleet_server.settings import ServerSettings


def places_of(settings: ServerSettings) -> AuthorityPlaces:
    return AuthorityPlaces(settings.keys_dir, settings.issuer_dir)


def issuer_of(settings: ServerSettings) -> IssuerClient:
    """Nothing is connected before it is asked."""
    if settings.issuer_socket:
        channel = SocketChannel(partial(connect_to, settings.issuer_socket_path))
    else:
        occasion = OnOccasion(settings.issuer_socket_path, settings.data)
        channel = SocketChannel(occasion.connect, occasion.wait)
    return IssuerClient(channel, settings.issuing_chain_file.read_bytes)


def prepare(settings: ServerSettings, now: datetime) -> None:
    """Makes the authority where it is ours to make, else asks its process for the certificates that peers are shown."""
    if not settings.issuer_socket:
        ensure_authority(places_of(settings), now)
        return
    with opened_issuer(settings) as issuer:
        make_private_dir(settings.tls_dir)
        write_private(settings.issuing_chain_file, issuer.describe())
    write_private(settings.keys_dir / "ca.crt", issuer.certificate_pem)


@contextmanager
def opened_issuer(settings: ServerSettings) -> Iterator[IssuerClient]:
    client = issuer_of(settings)
    try:
        yield client
    finally:
        client.close()
