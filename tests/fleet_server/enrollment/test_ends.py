from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from fleet_server.db import transaction
from fleet_server.devices.models import Device
from fleet_server.enrollment.authority import CRL_LIFE, ISSUING_LIFE, LEAF_LIFE, Authority
from fleet_server.enrollment.ends import SOON, EndsWatch, ends_in_s
from fleet_server.enrollment.identity_counts import links_past_their_end
from fleet_server.enrollment.models import IssuedCertificate
from fleet_server.enrollment.tls_files import (
    REVOCATION_LIST,
    addresses_of,
    renew_own_certificates,
    renew_revocation_list,
)
from fleet_server.kit.times import utc_now
from tests.fleet_server.factories import add_fleet, settings
from tests.support.enrolling import prepare_installation
from tests.support.issuer import local_issuer


def test_the_ends_of_all_that_people_are_let_in_by_are_known(tmp_path: Path) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    now = utc_now()
    issuer = local_issuer(made, lambda: now)
    renew_own_certificates(issuer, made.tls_dir, addresses_of(made), now)
    renew_revocation_list(issuer, made.tls_dir, (), now)
    issuer.close()
    ends = ends_in_s(made, now)
    wanted = {"root": 3650.0, "issuing": ISSUING_LIFE.days, "broker": LEAF_LIFE.days, "revocation_list": CRL_LIFE.days}
    assert set(ends) == {*wanted, "console", "services"} == set(SOON)
    for what, days in wanted.items():
        assert abs(ends[what] / 86400 - days) < 1, what
    later = ends_in_s(made, now + CRL_LIFE + timedelta(days=1))
    assert later["revocation_list"] < 0


def test_a_list_that_cannot_be_read_counts_as_lapsed(tmp_path: Path) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    (made.tls_dir / REVOCATION_LIST).write_text("damaged")
    assert ends_in_s(made, utc_now())["revocation_list"] < 0


@pytest.mark.parametrize(
    ("what", "life", "before"),
    [
        ("root", timedelta(days=3650), timedelta(days=365)),
        ("issuing", ISSUING_LIFE, timedelta(days=60)),
        ("revocation_list", CRL_LIFE, timedelta(days=14)),
        ("broker", LEAF_LIFE, timedelta(days=14)),
        ("console", LEAF_LIFE, timedelta(days=14)),
        ("services", LEAF_LIFE, timedelta(days=14)),
    ],
)
def test_each_is_warned_of_long_before_it_ends(tmp_path: Path, what: str, life: timedelta, before: timedelta) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    now = utc_now()
    issuer = local_issuer(made, lambda: now)
    renew_own_certificates(issuer, made.tls_dir, addresses_of(made), now)
    renew_revocation_list(issuer, made.tls_dir, (), now)
    issuer.close()
    watch, day = EndsWatch(made), timedelta(days=1)
    assert what not in {one.what for one in watch.soon(now + life - before - day)}
    assert what in {one.what for one in watch.soon(now + life - before + day)}
    assert watch.soon(now) == []


def test_the_first_service_that_ends_counts(tmp_path: Path) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    now = utc_now()
    issuer = local_issuer(made, lambda: now)
    renew_own_certificates(issuer, made.tls_dir, addresses_of(made), now)
    (made.tls_dir / "svc-api-2.crt").unlink()
    renew_own_certificates(issuer, made.tls_dir, addresses_of(made), now)
    early = Authority.make(now - timedelta(days=30)).issue_service("svc-api-2", now - timedelta(days=30))
    (made.tls_dir / "svc-api-2.crt").write_bytes(early.certificate_pem)
    issuer.close()
    assert abs(ends_in_s(made, now)["services"] / 86400 - (LEAF_LIFE.days - 30)) < 1


def test_devices_whose_newest_certificate_has_ended_are_counted(engine: Engine) -> None:
    now = utc_now()
    with transaction(engine) as session:
        fleet = add_fleet(session)
        for serial, link, days in (("1", fleet.gateway, -30), ("2", fleet.gateway, 5), ("3", "d-gone000000", -1)):
            end = now + timedelta(days=days)
            row = IssuedCertificate(serial=serial, tenant_id="default", link_id=link, issued_at=now, not_after=end)
            session.add(row)
    with transaction(engine) as session:
        assert links_past_their_end(session, now) == 0
        assert links_past_their_end(session, now + timedelta(days=6)) == 1
        gateway = session.get(Device, fleet.gateway)
        assert gateway is not None
        gateway.retired_at = now
        session.add(gateway)
        session.flush()
        assert links_past_their_end(session, now + timedelta(days=6)) == 0
