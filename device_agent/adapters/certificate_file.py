"""When a certificate in a PEM file ends. Loaded only by the check that asks."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from device_agent.errors import ActionFailed


def not_after_ms(path: Path) -> int:
    """Unix milliseconds. Raises ActionFailed when there is no readable certificate."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ActionFailed("unreadable", f"{path.name}: {error.strerror}") from error
    except (ValueError, x509.InvalidVersion) as error:
        raise ActionFailed("not_a_certificate", f"{path.name}: expected a PEM certificate") from error
    return int(certificate.not_valid_after_utc.timestamp() * 1000)
