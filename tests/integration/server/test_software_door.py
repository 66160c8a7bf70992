"""An agent's own client at the real door of software: HTTP on a socket, a certificate, ranges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from device_agent.adapters.software_door import SoftwareDoor
from device_agent.software.errors import BudgetSpent, SoftwareUnreachable
from device_agent.software.keeper import Bounds, SoftwareKeeper
from device_agent.software.parts import SYNC_BYTES, Answer
from fleet_server.artifacts.store import Store
from fleet_server.db import transaction
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.kit.times import to_ms, utc_now
from tests.device_agent.software.rig import DICE
from tests.integration.server.conftest import Server
from tests.support.enrolling import prepare_installation
from tests.support.issuer import local_issuer
from tests.support.software import APP, TENANT, Software

pytestmark = pytest.mark.integration
CONTENT = bytes(range(256)) * (3 * SYNC_BYTES // 256)


@dataclass
class Noted:
    """The door, and from where on it was asked."""

    door: SoftwareDoor
    offsets: list[int] = field(default_factory=list)

    @contextmanager
    def fetch(self, path: str, offset: int) -> Iterator[Answer]:
        with self.door.fetch(path, offset) as answer:
            if "/targets/" in path:
                self.offsets.append(answer.offset)
            yield answer


@pytest.fixture
def noted(server: Server, tmp_path: Path) -> Iterator[Noted]:
    prepare_installation(server.settings)
    issuer = local_issuer(server.settings, utc_now)
    link, now = server.fleet.gateway, utc_now()
    made = issuer.issue_link(link, now)
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "client.crt").write_bytes(made.certificate_pem)
    (bundle / "client.key").write_bytes(made.key_pem)
    (bundle / "ca.crt").write_bytes((server.settings.keys_dir / "ca.crt").read_bytes())
    with transaction(server.engine) as session:
        session.add(
            IssuedCertificate(
                serial=made.serial, tenant_id=TENANT, link_id=link, issued_at=now, not_after=made.not_after
            )
        )
    yield Noted(SoftwareDoor(server.url, bundle, tmp_path / "state", link, lambda: to_ms(utc_now())))
    issuer.close()


def keeper(noted: Noted, software: Software, folder: Path, daily: int = 0) -> SoftwareKeeper:
    bounds = Bounds(100_000_000, daily)
    return SoftwareKeeper(
        folder / "software", folder / "guard", noted, lambda: software.pin, lambda: to_ms(utc_now()), DICE, bounds
    )


def test_software_comes_over_the_wire_and_goes_on_where_it_was_cut(
    server: Server, noted: Noted, tmp_path: Path
) -> None:
    software = Software(tmp_path / "published", utc_now())
    software.store = Store.of(server.settings, TENANT)
    software.release(CONTENT)
    stingy = keeper(noted, software, tmp_path, daily=2 * SYNC_BYTES)
    stingy._begin = lambda: None  # type: ignore[method-assign]  # looks are the test's own
    stingy.want(APP)
    with pytest.raises(BudgetSpent):
        stingy.look()
    generous = keeper(noted, software, tmp_path)
    generous.look()
    assert generous.file(APP).read_bytes() == CONTENT
    assert noted.offsets[0] == 0
    assert SYNC_BYTES <= noted.offsets[1] < 2 * SYNC_BYTES


def test_a_server_that_is_not_there_is_said(noted: Noted, tmp_path: Path) -> None:
    away = SoftwareDoor("http://127.0.0.1:9", noted.door.bundle, tmp_path, noted.door.link, noted.door.now_ms)
    with (
        pytest.raises(SoftwareUnreachable, match="not reached"),
        away.fetch("/artifacts/v1/metadata/timestamp.json", 0),
    ):
        pass
