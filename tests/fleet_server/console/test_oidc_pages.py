"""Signing in by an OpenID provider: a certified one, and one that breaks its rules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from fleet_server.audit.models import AuditAside, AuditEntry
from fleet_server.auth.models import OidcQuestion, User
from fleet_server.auth.people import People
from fleet_server.auth.roles import Role
from fleet_server.db import reading, transaction
from fleet_server.kit.times import utc_now
from fleet_server.tenants.repository import ensure_tenant
from tests.fleet_server.auth.people import SYSTEM
from tests.fleet_server.console.conftest import Browser
from tests.fleet_server.factories import TENANT
from tests.support.evil_oidc import EvilProvider, evil_provider
from tests.support.oidc_provider import CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, RealProvider, real_provider


@pytest.fixture(scope="module")
def certified() -> Iterator[RealProvider]:
    with real_provider() as one:
        yield one


@pytest.fixture
def evil() -> Iterator[EvilProvider]:
    with evil_provider() as one:
        yield one


def use(app: FastAPI, issuer: str, **more: Any) -> None:
    wanted = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, "oidc_name": "Example SSO"} | more
    app.state.settings = replace(app.state.settings, oidc_issuer=issuer, **wanted)


def link(engine: Engine, issuer: str, subject: str, name: str = "support") -> None:
    with transaction(engine) as session:
        people = People(session, SYSTEM, utc_now())
        people.link(people.id_of(name), issuer, subject)


def begin(client: TestClient, wanted: str = "/audit") -> dict[str, str]:
    """What the browser takes to the provider."""
    answer = client.get("/sign-in/oidc", params={"next": wanted})
    assert answer.status_code == 303, answer.text
    return {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()} | {
        "address": answer.headers["location"]
    }


def come_back(client: TestClient, address: str) -> tuple[int, str]:
    answer = client.get(address.removeprefix("http://127.0.0.1:1"))
    return answer.status_code, answer.text


def back(state: str, code: str = "code", **more: str) -> str:
    return f"{REDIRECT_URI}?{urlencode({'state': state, 'code': code} | more)}"


def is_in(client: TestClient) -> bool:
    return client.get("/account").status_code == 200


def test_a_linked_person_is_let_in_by_a_certified_provider(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    use(console_app, certified.issuer)
    link(console_engine, certified.issuer, "li.wei@sso")
    client = browser(language="en")
    assert "Example SSO" in client.get("/sign-in").text
    status, text = come_back(client, certified.sign_in(begin(client)["address"], "li.wei@sso"))
    assert status == 200
    assert 'content="0; url=/audit"' in text
    assert client.get("/audit").status_code == 200
    assert "support" in client.get("/account").text


def test_whoever_is_not_linked_is_refused_and_the_subject_is_written_down(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    """Also when the provider calls somebody like a person here."""
    use(console_app, certified.issuer)
    client = browser(language="en")
    status, text = come_back(client, certified.sign_in(begin(client)["address"], "operator"))
    assert status == 403
    assert "oidc_not_linked" in text
    assert not is_in(client)
    with reading(console_engine) as session:
        (entry,) = session.exec(select(AuditEntry).where(AuditEntry.action == "oidc_refused")).all()
        beside = session.get_one(AuditAside, (entry.tenant_id, entry.seq)).document
    assert entry.data == {}
    assert beside["subject"] == "operator"


def test_people_are_made_on_the_fly_only_where_a_role_is_named_and_never_as_somebody_else(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    use(console_app, certified.issuer, oidc_new_people_role="viewer")
    for name in ("operator", "new.person"):
        client = browser(language="en")
        assert come_back(client, certified.sign_in(begin(client)["address"], name))[0] == 200
        assert is_in(client)
        assert client.get("/people").status_code == 403
    with reading(console_engine) as session:
        rows = {one.name: one.role for one in session.exec(select(User)).all()}
    assert rows["operator"] == Role.OPERATOR
    assert rows["new.person"] == Role.VIEWER
    assert [role for name, role in rows.items() if name.startswith("oidc-")] == [Role.VIEWER]


TENANTS = {"oidc_tenant_claim": "org", "oidc_tenants": "acme=north, contoso=south, gone=nowhere"}


@pytest.fixture
def tenants(console_engine: Engine) -> None:
    with transaction(console_engine) as session:
        for tenant in ("north", "south", TENANT):
            ensure_tenant(session, tenant, utc_now())


@pytest.mark.usefixtures("tenants")
def test_the_providers_claim_says_of_which_tenant_a_person_is_made(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    use(console_app, certified.issuer, oidc_new_people_role="viewer", **TENANTS)
    for name in ("lin@acme", "wang@contoso"):
        client = browser(language="en")
        assert come_back(client, certified.sign_in(begin(client)["address"], name))[0] == 200
        assert "T63-2204" not in client.get("/").text, "terminals of the installation's own tenant"
        assert is_in(client)
    with reading(console_engine) as session:
        rows = {one.name: (one.tenant_id, one.role) for one in session.exec(select(User)).all()}
    assert (rows["lin"], rows["wang"]) == (("north", Role.VIEWER), ("south", Role.VIEWER))


@pytest.mark.usefixtures("tenants")
@pytest.mark.parametrize("name", ["lin", "lin@another", "lin@acme+contoso", "lin@gone", "lin@default"])
def test_whoever_is_of_no_tenant_here_or_of_two_is_refused_and_made_nowhere(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider, name: str
) -> None:
    use(console_app, certified.issuer, oidc_new_people_role="viewer", **TENANTS)
    client = browser(language="en")
    status, text = come_back(client, certified.sign_in(begin(client)["address"], name))
    assert (status, "oidc_not_linked" in text, is_in(client)) == (403, True, False)
    with reading(console_engine) as session:
        assert session.exec(select(User).where(User.name == "lin")).all() == []


@pytest.mark.usefixtures("tenants")
def test_a_link_lets_nobody_into_a_tenant_that_the_claim_does_not_name(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    use(console_app, certified.issuer, **TENANTS)
    link(console_engine, certified.issuer, "support@acme")
    client = browser(language="en")
    assert come_back(client, certified.sign_in(begin(client)["address"], "support@acme"))[0] == 403
    assert not is_in(client)
    own = {**TENANTS, "oidc_tenants": f"acme={TENANT}"}
    use(console_app, certified.issuer, **own)
    assert come_back(client, certified.sign_in(begin(client)["address"], "support@acme"))[0] == 200
    assert is_in(client)


def test_the_provider_stands_in_for_the_password_and_not_for_the_second_factor(
    browser: Browser, console_app: FastAPI, console_engine: Engine, certified: RealProvider
) -> None:
    use(console_app, certified.issuer, sign_in_without_second_factor=False)
    link(console_engine, certified.issuer, "s-2")
    client = browser()
    status, text = come_back(client, certified.sign_in(begin(client)["address"], "s-2"))
    assert status == 200
    assert 'url=/second-factor?next=/audit"' in text
    assert not is_in(client)


def test_a_disabled_person_is_not_let_in_by_the_provider(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    with transaction(console_engine) as session:
        session.exec(select(User).where(User.name == "support")).one().disabled_at = utc_now()
    client = browser()
    question = begin(client)
    evil.says(nonce=question["nonce"])
    assert come_back(client, back(question["state"]))[0] == 403
    assert not is_in(client)


def test_a_code_that_somebody_else_fetched_signs_no_browser_in(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider
) -> None:
    """Login CSRF: the attacker's own way back, opened in the victim's browser."""
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    attacker, victim = browser(), browser()
    question = begin(attacker)
    evil.says(nonce=question["nonce"])
    assert come_back(victim, back(question["state"]))[0] == 403
    begin(victim)
    assert come_back(victim, back(question["state"]))[0] == 403
    assert not is_in(victim)
    assert evil.exchanged == []


def test_a_way_back_is_good_once(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    client = browser()
    question = begin(client)
    kept = dict(client.cookies)
    evil.says(nonce=question["nonce"])
    assert come_back(client, back(question["state"]))[0] == 200
    client.cookies.clear()
    client.cookies.update(kept)
    assert come_back(client, back(question["state"]))[0] == 403
    assert not is_in(client)


def test_a_wrong_state_uses_the_question_up(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    client = browser()
    question = begin(client)
    evil.says(nonce=question["nonce"])
    assert come_back(client, back("guessed"))[0] == 403
    assert come_back(client, back(question["state"]))[0] == 403


@pytest.mark.parametrize(
    ("changes", "more"),
    [
        ({"nonce": "of another question"}, {}),
        ({"aud": "another-client"}, {}),
        ({}, {"iss": "https://another.example"}),
        ({}, {"error": "access_denied"}),
        ({}, {"code": ""}),
    ],
    ids=str,
)
def test_a_mixed_up_answer_lets_nobody_in(
    browser: Browser,
    console_app: FastAPI,
    console_engine: Engine,
    evil: EvilProvider,
    changes: dict[str, Any],
    more: dict[str, str],
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    client = browser(language="en")
    question = begin(client)
    changes = {"nonce": question["nonce"]} | changes
    evil.says(**changes)
    status, text = come_back(client, back(question["state"], **more))
    assert status == 403
    assert "oidc_refused" in text
    assert not is_in(client)


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1"])
def test_the_provider_leads_to_no_other_site_in_the_end(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider, target: str
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    client = browser()
    question = begin(client, target)
    evil.says(nonce=question["nonce"])
    text = come_back(client, back(question["state"]))[1]
    assert re.findall(r'url=([^"]*)"', text) == ["/"]


def test_a_planted_session_ends_with_the_sign_in(
    browser: Browser, console_app: FastAPI, console_engine: Engine, evil: EvilProvider
) -> None:
    use(console_app, evil.issuer)
    link(console_engine, evil.issuer, "s-1")
    client, other = browser("viewer"), browser()
    planted = client.cookies["tillmedic"]
    question = begin(client)
    evil.says(nonce=question["nonce"])
    assert come_back(client, back(question["state"]))[0] == 200
    assert client.cookies["tillmedic"] != planted
    other.cookies.set("tillmedic", planted)
    assert not is_in(other)


def test_a_provider_that_is_away_is_told_and_nothing_is_kept(
    browser: Browser, console_app: FastAPI, console_engine: Engine
) -> None:
    use(console_app, "http://127.0.0.1:9")
    client = browser(language="en")
    answer = client.get("/sign-in/oidc")
    assert answer.status_code == 503
    assert "oidc_unavailable" in answer.text
    with reading(console_engine) as session:
        assert session.exec(select(OidcQuestion)).all() == []


def test_without_a_provider_there_is_neither_button_nor_door(browser: Browser) -> None:
    client = browser()
    assert "/sign-in/oidc" not in client.get("/sign-in").text
    assert client.get("/sign-in/oidc").status_code == 404
    assert client.get("/sign-in/oidc/back", params={"state": "x", "code": "y"}).status_code == 404
