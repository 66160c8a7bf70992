"""Where the authority's keys lie.

    server/keys/ca.crt            the root's certificate: what everybody trusts
    server/keys/ca-root.key       its key: to be taken away, needed only to make an issuing one
    server/issuer/issuing.crt     the issuing certificate and the root's behind it
    server/issuer/issuing.key     the issuing key, for the issuer's process alone
    server/issuer/previous/       issuing ones of before, which still sign their lists of revoked certificates
    server/issuer/ledger.db       names, keys, certificates

Rule: the key is written before its certificate, so that a certificate without a key means that somebody took it away.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from fleet_server.enrollment.authority import Authority, Root
from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.enrollment.private_files import make_private_dir, write_private

ROOT_KEY = "ca-root.key"


@dataclass(frozen=True, slots=True)
class AuthorityPlaces:
    keys_dir: Path
    issuer_dir: Path

    @property
    def root_certificate(self) -> Path:
        return self.keys_dir / "ca.crt"

    @property
    def root_key(self) -> Path:
        return self.keys_dir / ROOT_KEY

    @property
    def chain(self) -> Path:
        return self.issuer_dir / "issuing.crt"

    @property
    def key(self) -> Path:
        return self.issuer_dir / "issuing.key"

    @property
    def previous_dir(self) -> Path:
        return self.issuer_dir / "previous"

    @property
    def socket(self) -> Path:
        return self.issuer_dir / "issuer.sock"

    @property
    def ledger(self) -> Path:
        return self.issuer_dir / "ledger.db"


def ensure_authority(places: AuthorityPlaces, now: datetime) -> None:
    """Makes root and issuing authority where there is none."""
    if places.root_certificate.exists() or places.chain.exists() or places.key.exists():
        return
    root = Root.make(now)
    issuing = root.make_issuing(now)
    make_private_dir(places.issuer_dir)
    write_private(places.root_key, root.key_pem)
    write_private(places.key, issuing.key_pem)
    write_private(places.chain, issuing.chain_pem)
    write_private(places.root_certificate, root.certificate_pem)


def load_authority(places: AuthorityPlaces) -> Authority:
    """Raises ``DataFolderUnusable``."""
    try:
        return Authority.from_pem(places.chain.read_bytes(), places.key.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise DataFolderUnusable(
            f"{places.issuer_dir} holds no usable issuing.crt and issuing.key: {error}; "
            "make a new one from the root with 'fleet-server authority issuing'"
        ) from error


def load_previous(places: AuthorityPlaces) -> list[Authority]:
    found = []
    for chain in sorted(places.previous_dir.glob("*.crt")):
        try:
            found.append(Authority.from_pem(chain.read_bytes(), chain.with_suffix(".key").read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise DataFolderUnusable(f"{chain} and its key cannot be used: {error}") from error
    return found


def new_issuing(places: AuthorityPlaces, root: Root, now: datetime, *, is_lost: bool) -> Authority:
    """Another issuing authority below ``root``. ``is_lost``: of the present one nothing is believed any more; its list
    of revoked certificates goes with it, so the broker refuses all that it signed. Otherwise it goes on signing that.
    """
    if places.root_certificate.read_bytes() != root.certificate_pem:
        raise DataFolderUnusable(f"expected the key of {places.root_certificate}, came another authority's")
    make_private_dir(places.previous_dir)
    if is_lost:
        for old in places.previous_dir.iterdir():
            old.unlink()
    elif places.key.exists() and places.chain.exists():
        name = f"{x509.load_pem_x509_certificate(places.chain.read_bytes()).serial_number:x}"
        write_private(places.previous_dir / f"{name}.key", places.key.read_bytes())
        write_private(places.previous_dir / f"{name}.crt", places.chain.read_bytes())
    made = root.make_issuing(now)
    write_private(places.key, made.key_pem)
    write_private(places.chain, made.chain_pem)
    return made


def renew_root(places: AuthorityPlaces, root: Root, now: datetime) -> Authority:
    """Another certificate of the same root, and an issuing authority below it. Terminals notice nothing: the name and
    the key that they trust are the same.
    """
    if places.root_certificate.read_bytes() != root.certificate_pem:
        raise DataFolderUnusable(f"expected the key of {places.root_certificate}, came another authority's")
    fresh = root.renewed(now)
    write_private(places.root_certificate, fresh.certificate_pem)
    return new_issuing(places, fresh, now, is_lost=False)
