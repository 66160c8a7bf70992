from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from fleet_server.enrollment.authority import CRL_LIFE, ISSUING_LIFE, LEAF_LIFE
from fleet_server.enrollment.ends import ends_in_s
from fleet_server.enrollment.tls_files import (
    REVOCATION_LIST,
    addresses_of,
    renew_own_certificates,
    renew_revocation_list,
)
from fleet_server.kit.times import utc_now
from tests.fleet_server.factories import settings
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
    assert set(ends) == {*wanted, "console"}
    for what, days in wanted.items():
        assert abs(ends[what] / 86400 - days) < 1, what
    later = ends_in_s(made, now + CRL_LIFE + timedelta(days=1))
    assert later["revocation_list"] < 0


def test_a_list_that_cannot_be_read_counts_as_lapsed(tmp_path: Path) -> None:
    made = settings(tmp_path)
    prepare_installation(made)
    (made.tls_dir / REVOCATION_LIST).write_text("damaged")
    assert ends_in_s(made, utc_now())["revocation_list"] == 0.0
