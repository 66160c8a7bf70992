"""How much is signed in an hour: for one tenant, and for all together."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from fleet_server.kit.times import to_ms
from fleet_server.signer.errors import AuthorisationRefused, SigningCapReached
from fleet_server.signer.service import Caps
from fleet_server.signer.settings import SignerSettings
from fleet_server.signer.state import SignerState
from tests.fleet_server.factories import NOON
from tests.fleet_server.signer.test_service import (
    APPROVAL,
    BO,
    MEI,
    ORDER,
    PERMIT,
    READ,
    a_signer,
    allowed,
    numbered,
    software,
)


def test_commands_are_capped_in_an_hour_by_class() -> None:
    signer = a_signer(changes_per_hour=3)
    for _ in range(3):
        signer.sign(allowed(), NOON)
    with pytest.raises(SigningCapReached):
        signer.sign(allowed(), NOON + timedelta(minutes=59))
    signer.sign(READ, NOON)
    late = replace(APPROVAL, not_after_ms=to_ms(NOON + timedelta(hours=2)))
    signer.sign(allowed(ORDER, late), NOON + timedelta(minutes=61))


def test_devices_are_capped_in_an_hour_by_class() -> None:
    signer = a_signer(reads_devices_per_hour=2)
    for device in (0, 1, 0, 1, 1):
        signer.sign(numbered(READ, device, device), NOON)
    with pytest.raises(SigningCapReached, match="2 devices"):
        signer.sign(numbered(READ, 2, 2), NOON)
    signer.sign(numbered(READ, 2, 2), NOON + timedelta(minutes=61))


@pytest.mark.parametrize("cap", ["tenant_reads_per_hour", "tenant_reads_devices_per_hour"])
def test_no_tenant_uses_up_what_another_has(cap: str) -> None:
    signer = a_signer(None, **{cap: 3})
    other = replace(READ, tenant_id="another")
    for number in range(3):
        signer.sign(numbered(READ, number, number), NOON)
    with pytest.raises(SigningCapReached, match="of this tenant"):
        signer.sign(numbered(READ, 3, 3), NOON)
    for number in range(3):
        signer.sign(numbered(other, number, number), NOON)
    with pytest.raises(SigningCapReached, match="of this tenant"):
        signer.sign(numbered(other, 3, 3), NOON)
    later = NOON + timedelta(minutes=61)
    signer.sign(numbered(READ, 3, 3), later)


@pytest.mark.parametrize("kind", ["changes", "software"])
@pytest.mark.parametrize("what", ["", "devices_"])
def test_changes_and_software_have_caps_of_a_tenant_too(kind: str, what: str) -> None:
    signer = a_signer(None, **{f"tenant_{kind}_{what}per_hour": 0})
    order = allowed() if kind == "changes" else software(MEI, BO)
    with pytest.raises(SigningCapReached, match="of this tenant"):
        signer.sign(order, NOON)
    signer.sign(software(MEI, BO) if kind == "changes" else allowed(), NOON)


def test_all_tenants_together_have_a_cap_as_well() -> None:
    signer = a_signer(reads_per_hour=4, tenant_reads_per_hour=3)
    for number in range(4):
        signer.sign(numbered(replace(READ, tenant_id=f"tenant-{number % 2}"), number), NOON)
    with pytest.raises(SigningCapReached, match="of all tenants"):
        signer.sign(numbered(replace(READ, tenant_id="tenant-3"), 9), NOON)


def test_what_a_tenant_has_used_outlives_a_restart(tmp_path: Path) -> None:
    for tenant in ("default", "another"):
        state = SignerState(tmp_path / "signer.db", to_ms(NOON))
        signer = a_signer(state, tenant_reads_per_hour=2)
        for number in range(2):
            signer.sign(numbered(replace(READ, tenant_id=tenant), number), NOON)
        state.close()
    state = SignerState(tmp_path / "signer.db", to_ms(NOON))
    signer = a_signer(state, tenant_reads_per_hour=2)
    for tenant in ("default", "another"):
        with pytest.raises(SigningCapReached, match="of this tenant"):
            signer.sign(numbered(replace(READ, tenant_id=tenant), 9), NOON)
    signer.sign(numbered(replace(READ, tenant_id="a-third"), 9), NOON)
    assert signer.standing(NOON).used == {"0": 5}
    state.close()


def test_one_tenant_leaves_another_something_by_default() -> None:
    caps = Caps.of(SignerSettings(Path(), ""))
    for danger_class, of_all in caps.of_all.items():
        of_tenant = caps.of_tenant[danger_class]
        assert of_all.commands >= 2 * of_tenant.commands > 0
        assert of_all.devices >= 2 * of_tenant.devices > 0


def test_a_permit_is_used_on_one_device_as_often_as_it_says_for_each() -> None:
    devices = [numbered(ORDER, 0, device).device_id for device in (0, 1)]
    permit = replace(PERMIT, targets=devices, max_count=5, max_per_device=2)
    orders = [allowed(numbered(ORDER, n, device), permit) for n, device in enumerate((0, 0, 0, 1))]
    signer = a_signer()
    for order in (orders[0], orders[1], orders[1]):
        signer.sign(order, NOON)
    with pytest.raises(AuthorisationRefused, match="2 on each device"):
        signer.sign(orders[2], NOON)
    signer.sign(orders[3], NOON)
