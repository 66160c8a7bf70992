"""What may stand in fleet.toml about an OpenID provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet_server.enrollment.settings_file import Wishes, ensure_settings
from fleet_server.errors import SettingsInvalid
from fleet_server.settings import load_settings

MAPPED = {"oidc_tenant_claim": "org", "oidc_tenants": "acme=north, https://sts.example/a=b/=south"}
RIGHT = {"oidc_issuer": "https://sso.example", "oidc_client_id": "tillmedic"}


def written(data: Path, **values: str) -> Path:
    ensure_settings(data, Wishes())
    path = data / "server" / "fleet.toml"
    kept = [line for line in path.read_text("utf-8").splitlines() if line.partition(" ")[0] not in values]
    path.write_text("\n".join([*kept, *(f'{name} = "{value}"' for name, value in values.items())]), "utf-8")
    return data


@pytest.mark.parametrize(
    "more", [{}, {"oidc_new_people_role": "viewer"}, {"oidc_issuer": "http://127.0.0.1:9000"}, MAPPED]
)
def test_a_provider_is_taken(tmp_path: Path, more: dict[str, str]) -> None:
    wanted = RIGHT | more
    settings = load_settings(written(tmp_path, **wanted))
    assert {name: getattr(settings, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"oidc_issuer": "http://sso.example"}, "oidc_issuer: expected an address that begins with https://"),
        ({"oidc_issuer": "sso.example"}, "oidc_issuer"),
        ({"oidc_issuer": "https://"}, "oidc_issuer"),
        ({"oidc_client_id": ""}, "oidc_client_id"),
        ({"oidc_new_people_role": "operator"}, "oidc_new_people_role"),
        ({"oidc_new_people_role": "approver"}, "oidc_new_people_role"),
        ({"oidc_new_people_role": "tenant_admin"}, "oidc_new_people_role"),
        ({"oidc_tenant_claim": "org"}, "both oidc_tenant_claim and oidc_tenants"),
        ({"oidc_tenants": "acme=north"}, "both oidc_tenant_claim and oidc_tenants"),
        (MAPPED | {"oidc_tenants": "acme"}, "oidc_tenants: expected VALUE=TENANT"),
        (MAPPED | {"oidc_tenants": "acme="}, "oidc_tenants: expected VALUE=TENANT"),
        (MAPPED | {"oidc_tenants": "=north"}, "oidc_tenants: expected VALUE=TENANT"),
        (MAPPED | {"oidc_tenants": "acme=north, acme=south"}, "each value once"),
    ],
)
def test_a_provider_that_would_let_too_many_in_stops_the_start(
    tmp_path: Path, more: dict[str, str], named: str
) -> None:
    with pytest.raises(SettingsInvalid, match=named):
        load_settings(written(tmp_path, **RIGHT | more))


def test_what_the_claim_says_may_hold_an_equals_sign_and_names_one_tenant(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, **RIGHT, **MAPPED))
    assert settings.oidc_tenant_of == {"acme": "north", "https://sts.example/a=b/": "south"}
