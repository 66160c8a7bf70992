"""Who is let in by the broker's TLS: bad certificates and old versions are not."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fleet_server.enrollment.authority import CRL_LIFE, Authority
from fleet_server.enrollment.private_files import make_private_dir, write_private
from fleet_server.enrollment.tls_files import REVOCATION_LIST, renew_revocation_list
from fleet_server.kit.times import utc_now
from protocol import mqtt_packets as packets
from protocol import topics
from protocol.identifiers import LinkId
from tests.integration.broker.tls_cases import CASES, LINK, POWERLESS, Recipe, Shown, make
from tests.support.broker import Broker, running_broker
from tests.support.raw_mqtt import DEADLINE_S, REFUSED, raw_client

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("tls")) as running:
        yield running


def context_with(broker: Broker, shown: Shown | None, folder: Path) -> ssl.SSLContext:
    # The client is as lenient as it can be made: whoever attacks does not check itself.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(broker.tls_dir / "ca.crt")
    context.set_ciphers("ALL:@SECLEVEL=0")
    if shown is not None:
        make_private_dir(folder)
        write_private(folder / "chain.crt", shown.chain)
        write_private(folder / "client.key", shown.key)
        context.load_cert_chain(folder / "chain.crt", folder / "client.key")
    return context


def enter(broker: Broker, context: ssl.SSLContext) -> str:
    """Raises one of ``REFUSED``; the version that was agreed on."""
    with raw_client((broker.host, broker.port), context) as client:
        assert isinstance(client.link, ssl.SSLSocket)
        return client.link.version() or ""


def good(broker: Broker, folder: Path) -> ssl.SSLContext:
    return context_with(broker, make(broker.authority, Recipe(), utc_now()), folder)


def test_a_good_certificate_made_the_same_way_is_let_in(broker: Broker, tmp_path: Path) -> None:
    assert enter(broker, good(broker, tmp_path)) == "TLSv1.3"


def test_there_are_at_least_twelve_bad_ones() -> None:
    assert len(CASES) >= 12


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_bad_certificate_is_refused(
    broker: Broker, tmp_path: Path, case: Callable[[Authority, object], Shown]
) -> None:
    address, context = (broker.host, broker.port), context_with(broker, case(broker.authority, utc_now()), tmp_path)
    # Nothing is sent, so that the broker's own alert is what ends it, and not this side's write on a closed socket.
    with (
        socket.create_connection(address, DEADLINE_S) as raw,
        pytest.raises(ssl.SSLError, match="alert"),
        context.wrap_socket(raw, server_hostname=broker.host) as link,
    ):
        link.recv(1)


def test_no_certificate_is_refused(broker: Broker, tmp_path: Path) -> None:
    with pytest.raises(REFUSED):
        enter(broker, context_with(broker, None, tmp_path))


@pytest.mark.parametrize("name", ["broker", "http"])
def test_a_servers_certificate_is_no_clients(broker: Broker, tmp_path: Path, name: str) -> None:
    shown = Shown((broker.tls_dir / f"{name}.crt").read_bytes(), (broker.tls_dir / f"{name}.key").read_bytes(), 0)
    with pytest.raises(REFUSED):
        enter(broker, context_with(broker, shown, tmp_path))


VERSIONS = {
    "TLS 1.0": ssl.TLSVersion.TLSv1,
    "TLS 1.1": ssl.TLSVersion.TLSv1_1,
    "TLS 1.2": ssl.TLSVersion.TLSv1_2,
}


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_an_old_version_is_refused(broker: Broker, tmp_path: Path, version: ssl.TLSVersion) -> None:
    context = good(broker, tmp_path)
    context.minimum_version = context.maximum_version = version
    with pytest.raises(REFUSED):
        enter(broker, context)


def test_a_session_without_encryption_or_without_tls_is_refused(broker: Broker, tmp_path: Path) -> None:
    context = good(broker, tmp_path)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("NULL:@SECLEVEL=0")
    with pytest.raises(REFUSED):
        enter(broker, context)


@pytest.mark.parametrize("name", POWERLESS, ids=repr)
def test_a_malformed_name_may_do_nothing(broker: Broker, tmp_path: Path, name: str) -> None:
    address = broker.host, broker.port
    context = context_with(broker, POWERLESS[name](broker.authority, utc_now()), tmp_path)
    down = topics.down(LinkId(LINK), topics.Down.COMMAND)
    with (
        raw_client(address, context) as odd,
        raw_client(address, broker.service("svc-fleet-1").context()) as fleet,
    ):
        odd.subscribe("#", "fleet/v1/+/down/#", f"fleet/v1/{name}/down/#" if name not in {"+", "#"} else down)
        odd.send(packets.publish(topics.up(LinkId(LINK), topics.Up.URGENT), b"forged", 1, 1, None))
        fleet.send(packets.publish(down, b"private", 1, 1, None))
        fleet.drain()
        assert odd.drain() == []
        assert odd.pubacks.get(1, 0x87) >= 0x80


def test_a_revoked_certificate_is_refused_after_the_broker_has_read_the_list(broker: Broker, tmp_path: Path) -> None:
    shown = make(broker.authority, Recipe(), utc_now())
    context = context_with(broker, shown, tmp_path)
    enter(broker, context)
    renew_revocation_list(broker.authority, broker.tls_dir, [shown.serial], utc_now())
    broker.restart()
    with pytest.raises(REFUSED):
        enter(broker, context)
    assert enter(broker, good(broker, tmp_path / "other")) == "TLSv1.3", "only the revoked one is refused"


def test_with_a_list_that_has_lapsed_or_is_anothers_nobody_is_let_in(broker: Broker, tmp_path: Path) -> None:
    path = broker.tls_dir / REVOCATION_LIST
    lapsed = broker.authority.revocation_list((), utc_now() - CRL_LIFE - timedelta(days=1))
    foreign = Authority.make(utc_now()).revocation_list((), utc_now())
    context = good(broker, tmp_path)
    for stale in (lapsed, foreign):
        write_private(path, stale)
        broker.restart()
        with pytest.raises(REFUSED):
            enter(broker, context)
    assert renew_revocation_list(broker.authority, broker.tls_dir, (), utc_now())
    broker.restart()
    assert enter(broker, context) == "TLSv1.3"


def test_a_signature_by_sha1_is_refused(broker: Broker, tmp_path: Path) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed, and the library here does not sign by SHA-1 any more")
    files = broker.tls_dir.parent / "issuer"
    request = [program, "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = ["-keyout", str(tmp_path / "c.key"), "-out", str(tmp_path / "c.csr"), "-subj", f"/CN={LINK}"]
    subprocess.run([*request, *made], check=True, capture_output=True)
    sign = [program, "x509", "-req", "-in", str(tmp_path / "c.csr"), "-sha1", "-days", "9", "-set_serial", "77"]
    by = ["-CA", str(files / "issuing.crt"), "-CAkey", str(files / "issuing.key"), "-out", str(tmp_path / "c.crt")]
    subprocess.run([*sign, *by], check=True, capture_output=True)
    shown = Shown(
        (tmp_path / "c.crt").read_bytes() + broker.authority.issuing_pem, (tmp_path / "c.key").read_bytes(), 77
    )
    with pytest.raises(REFUSED):
        enter(broker, context_with(broker, shown, tmp_path / "sha1"))
