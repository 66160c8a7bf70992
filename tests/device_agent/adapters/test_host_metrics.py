"""The host's own figures: catalogue names, sane values, nothing invented."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from device_agent.adapters.certificate_file import not_after_ms
from device_agent.adapters.host_metrics import HostMetrics
from device_agent.drivers.host.device import HostDevice
from device_agent.errors import ActionFailed
from device_agent.registry import definitions_for
from protocol.catalogue import metrics
from protocol.records import Outcome
from tests.support.action_rig import Context

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def host() -> HostDevice:
    return HostDevice(wall=NOW.timestamp)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gw-0123abcd")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=10))
        .sign(key, None)
    )
    path = tmp_path / "client.crt"
    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def test_readings_are_metrics_of_the_catalogue_in_their_ranges(host: HostDevice) -> None:
    readings = host.poll(NOW).readings
    assert {"sys.mem_avail_pct", "sys.storage_free_pct", "sys.uptime_s", "sys.cpu_pct"} <= set(readings)
    assert all(metrics.get(name) is not None for name in readings)
    for name, value in readings.items():
        if name.endswith("_pct"):
            assert isinstance(value, int | float)
            assert 0 <= value <= 100, name


def test_the_boot_is_stable_and_says_nothing_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "boot_id"
    path.write_text("0f1e2d3c-0000-4000-8000-123456789abc\n", encoding="ascii")
    first = HostMetrics(boot_id_path=path).boot()
    assert re.fullmatch(r"[0-9a-f]{32}", first)
    assert HostMetrics(boot_id_path=path).boot() == first
    assert "0f1e2d3c" not in first
    path.write_text("another\n", encoding="ascii")
    assert HostMetrics(boot_id_path=path).boot() != first
    assert re.fullmatch(r"[0-9a-f]{32}", HostMetrics(boot_id_path=tmp_path / "none").boot())


def test_every_check_of_a_host_runs(host: HostDevice, certificate: Path) -> None:
    device = HostDevice(certificate=certificate, wall=NOW.timestamp)
    context = Context(device, "kiosk", trusted_ms=int(NOW.timestamp() * 1000))
    for definition in definitions_for("host"):
        if definition.declared.name in {"net.path", "device.full_check"}:
            continue
        assert definition.run is not None
        assert all(each.outcome is not Outcome.ERROR for each in definition.run(context)), definition.declared.name


def test_the_full_check_goes_on_where_something_is_not_configured(host: HostDevice) -> None:
    context = Context(host, "kiosk", trusted_ms=int(NOW.timestamp() * 1000))
    full = next(each for each in definitions_for("host") if each.declared.name == "device.full_check")
    assert full.run is not None
    findings = {each.item: each.outcome for each in full.run(context)}
    assert findings["net.path"] is Outcome.UNSUPPORTED
    assert findings["cert.expiry"] is Outcome.UNSUPPORTED
    assert findings["clock.read sys.clock_drift_s"] is Outcome.PASS


def test_a_certificate_tells_its_end(certificate: Path) -> None:
    assert not_after_ms(certificate) == int((NOW + timedelta(days=10)).timestamp() * 1000)


def test_what_is_no_certificate_is_told_without_its_content(tmp_path: Path) -> None:
    path = tmp_path / "client.crt"
    path.write_text("-----BEGIN PRIVATE KEY-----", encoding="ascii")
    with pytest.raises(ActionFailed, match="expected a PEM certificate"):
        not_after_ms(path)
    with pytest.raises(ActionFailed, match="No such file"):
        not_after_ms(tmp_path / "missing.crt")
