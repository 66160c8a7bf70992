"""The authority's files: made once, and made anew from the root after a loss."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from fleet_server.enrollment.authority import ISSUING_LIFE, Authority, Root, is_issued_by, is_list_due
from fleet_server.enrollment.errors import DataFolderUnusable
from fleet_server.issuer.folder import (
    AuthorityPlaces,
    ensure_authority,
    load_authority,
    load_previous,
    new_issuing,
    renew_root,
)
from fleet_server.issuer.service import Issuer, alone

NOW = datetime(2026, 11, 28, 9, 0, tzinfo=UTC)
LINK = "d-0123456789abcdef"


@pytest.fixture
def places(tmp_path: Path) -> AuthorityPlaces:
    places = AuthorityPlaces(tmp_path / "keys", tmp_path / "issuer")
    places.keys_dir.mkdir(mode=0o700)
    ensure_authority(places, NOW)
    return places


def _same(now: datetime) -> datetime:
    return now


def root_of(places: AuthorityPlaces) -> Root:
    return Root.from_pem(places.root_certificate.read_bytes(), places.root_key.read_bytes())


def test_an_authority_is_made_once_for_its_owner_alone(places: AuthorityPlaces) -> None:
    before = places.chain.read_bytes()
    ensure_authority(places, NOW + timedelta(days=1))
    assert places.chain.read_bytes() == before
    for path in (places.root_key, places.key, places.chain):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(places.issuer_dir.stat().st_mode) == 0o700
    issuing = load_authority(places).certificate
    assert issuing.not_valid_after_utc <= NOW + ISSUING_LIFE


def test_without_the_roots_key_it_goes_on_signing(places: AuthorityPlaces) -> None:
    places.root_key.unlink()
    ensure_authority(places, NOW)
    assert not places.root_key.exists()
    made = load_authority(places).issue_link(LINK, NOW)
    assert is_issued_by(made.certificate_pem, load_authority(places))


def test_an_authority_without_a_root_above_it_is_none(places: AuthorityPlaces) -> None:
    places.chain.write_bytes(load_authority(places).issuing_pem)
    with pytest.raises(DataFolderUnusable, match="the root's behind it, came 1"):
        load_authority(places)


def test_a_planned_change_keeps_what_the_one_before_has_signed(places: AuthorityPlaces) -> None:
    old = load_authority(places)
    made = new_issuing(places, root_of(places), NOW, is_lost=False)
    assert [one.certificate for one in load_previous(places)] == [old.certificate]
    assert load_authority(places).certificate == made.certificate
    lists = _lists(places)
    assert not is_list_due(lists, old.certificate, (), NOW)
    assert not is_list_due(lists, made.certificate, (), NOW)


def test_a_former_issuing_one_signs_its_list_until_it_has_ended_itself(places: AuthorityPlaces) -> None:
    end = load_authority(places).certificate.not_valid_after_utc
    new_issuing(places, root_of(places), NOW + timedelta(days=300), is_lost=False)
    for now, lists in ((end - timedelta(seconds=1), 2), (end, 1)):
        issuer = Issuer(places, partial(_same, now))
        try:
            answer = issuer.answer(b'{"ask":"lists","serials":[]}')
        finally:
            issuer.close()
        assert answer.count(b"BEGIN X509 CRL") == lists


def test_after_a_loss_nothing_of_the_one_before_is_believed(places: AuthorityPlaces) -> None:
    old = load_authority(places)
    new_issuing(places, root_of(places), NOW, is_lost=False)
    lost = load_authority(places)
    made = new_issuing(places, root_of(places), NOW, is_lost=True)
    lists = _lists(places)
    # A broker refuses a certificate without a list of whoever issued it.
    for gone in (old, lost):
        assert is_list_due(lists, gone.certificate, (), NOW)
    assert not is_list_due(lists, made.certificate, (), NOW)


def test_a_process_that_runs_notices_the_change(places: AuthorityPlaces) -> None:
    issuer = Issuer(places, lambda: NOW)
    try:
        before = issuer.answer(b'{"ask":"describe"}')
        new_issuing(places, root_of(places), NOW, is_lost=True)
        assert issuer.answer(b'{"ask":"describe"}') != before
    finally:
        issuer.close()


def test_another_authoritys_root_is_refused(places: AuthorityPlaces) -> None:
    with pytest.raises(DataFolderUnusable, match="another authority's"):
        new_issuing(places, Root.make(NOW), NOW, is_lost=True)
    with pytest.raises(ValueError, match="came another"):
        Root.from_pem(places.root_certificate.read_bytes(), Authority.make(NOW).key_pem)


def test_two_processes_never_have_the_book_at_once(places: AuthorityPlaces) -> None:
    with alone(places), pytest.raises(DataFolderUnusable, match="another issuer is at work"), alone(places):
        pass
    with alone(places):
        pass


def _lists(places: AuthorityPlaces) -> bytes:
    import msgspec

    from fleet_server.issuer.messages import Answer

    issuer = Issuer(places, lambda: NOW)
    try:
        return msgspec.json.decode(issuer.answer(b'{"ask":"lists"}'), type=Answer).pem.encode()
    finally:
        issuer.close()


def test_a_renewed_root_has_an_issuing_one_below_it_and_the_one_before_goes_on_being_listed(
    places: AuthorityPlaces,
) -> None:
    old, root = load_authority(places), root_of(places)
    later = NOW + timedelta(days=300)
    made = renew_root(places, root, later)
    assert places.root_certificate.read_bytes() == made.certificate_pem != root.certificate_pem
    assert load_authority(places).chain_pem == made.chain_pem
    assert [one.certificate for one in load_previous(places)] == [old.certificate]
    with pytest.raises(DataFolderUnusable, match="another authority's"):
        renew_root(places, Root.make(NOW), later)
